//! Ports for servers of a test's own.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port that nothing listens on now, below those that the system gives out by itself. Numbers go
/// round, so that two servers of one test run never ask for the same one.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn spare_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 9_000;
    // Runs that begin together have ids that are near each other.
    const APART: u32 = 1_009;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(APART) % u32::from(COUNT);
    let start = u16::try_from(start).expect("below COUNT");
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a spare port")
}
