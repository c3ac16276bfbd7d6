//! A panic is logged once, where it happens, with its backtrace, and counted.
//!
//! The HTTP stack turns a handler's panic into a 500 (bare actix-web gives an empty reply).

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;
use std::sync::Once;

use crate::metrics;

static INSTALLED: Once = Once::new();

/// Makes every panic of the process one log line and one count.
pub fn install_hook() {
    INSTALLED.call_once(|| std::panic::set_hook(Box::new(report)));
}

fn report(panic: &PanicHookInfo<'_>) {
    metrics::PANICS.inc();
    let location = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("(no message)");
    let backtrace = Backtrace::force_capture().to_string();
    tracing::error!(target: "panic", location, backtrace, "panicked: {message}");
}
