//! Logs and traces.

mod json_log;
mod line_writer;
mod otlp;

use std::error::Error;
use std::fmt;
use std::io::{IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::TelemetrySettings;
use json_log::JsonLog;
use line_writer::LineWriter;

pub use otlp::current_traceparent;
pub(crate) use otlp::{rename, set_parent, traceparent_of};

/// True once spans go to a collector: the HTTP stack fills in what only traces need.
static EXPORTING: AtomicBool = AtomicBool::new(false);

/// Holds what must be flushed when the process ends.
#[must_use = "dropping it early loses log lines and spans"]
pub struct TelemetryGuard {
    lines: Option<LineWriter>,
    provider: Option<SdkTracerProvider>,
}

/// Telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("RUST_LOG is not a filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// The exporter cannot be built.
    #[error("the OTLP exporter could not be built")]
    Exporter(#[source] Box<dyn Error + Send + Sync>),
    /// Somebody did it before.
    #[error("telemetry was started already")]
    Again(#[source] tracing_subscriber::util::TryInitError),
    /// No thread for the log.
    #[error("the log's thread could not be started")]
    Thread(#[source] std::io::Error),
}

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output: a service has nothing else to say there.
    Stdout,
    /// Standard error: standard output is for what the program tells a person.
    Stderr,
}

impl LogOutput {
    fn is_terminal(self) -> bool {
        match self {
            Self::Stdout => std::io::stdout().is_terminal(),
            Self::Stderr => std::io::stderr().is_terminal(),
        }
    }

    fn open(self) -> Box<dyn Write + Send> {
        match self {
            Self::Stdout => Box::new(std::io::stdout()),
            Self::Stderr => Box::new(std::io::stderr()),
        }
    }
}

/// Starts logs (JSON lines on standard output, readable ones on a terminal), traces (when there is
/// a collector) and the panic hook, for the whole process. Call it inside the tokio runtime.
///
/// # Errors
/// When it was done before or a part cannot start.
pub fn init(
    service: &'static str,
    settings: &TelemetrySettings,
) -> Result<TelemetryGuard, TelemetryError> {
    init_to(LogOutput::Stdout, service, settings)
}

/// [`init`] with the log elsewhere.
///
/// # Errors
/// As [`init`].
pub fn init_to(
    output: LogOutput,
    service: &'static str,
    settings: &TelemetrySettings,
) -> Result<TelemetryGuard, TelemetryError> {
    let filter = EnvFilter::try_new(&settings.filter).map_err(TelemetryError::Filter)?;
    let provider = otlp::provider(service, settings).map_err(TelemetryError::Exporter)?;
    let on_terminal = output.is_terminal();
    let lines = if on_terminal {
        None
    } else {
        Some(LineWriter::start(output.open()).map_err(TelemetryError::Thread)?)
    };
    let json = lines
        .as_ref()
        .map(|lines| JsonLog::new(service, lines.sink()));
    let readable = on_terminal.then(|| {
        tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_writer(move || output.open())
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(provider.as_ref().map(otlp::layer))
        .with(json)
        .with(readable.map(|layer| layer.boxed()))
        .try_init()
        .map_err(TelemetryError::Again)?;
    EXPORTING.store(provider.is_some(), Ordering::Relaxed);
    crate::panics::install_hook();
    crate::metrics::register();
    Ok(TelemetryGuard { lines, provider })
}

impl TelemetryGuard {
    /// Sends the last spans and writes the last lines.
    pub async fn flush(mut self) {
        if let Some(provider) = self.provider.take() {
            // Shutting down blocks until the exporter, which needs this runtime, has answered.
            let stopped = tokio::task::spawn_blocking(move || provider.shutdown()).await;
            if !matches!(stopped, Ok(Ok(()))) {
                tracing::warn!("the last spans were not exported");
            }
        }
        if let Some(lines) = self.lines.take() {
            lines.flush();
        }
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lines.flush();
        }
    }
}

/// True while spans are exported.
pub(crate) fn is_exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

/// An error with its causes on one line, for a log's `error` field.
#[must_use]
pub fn chain(error: &dyn Error) -> impl fmt::Display {
    Chain(error)
}

struct Chain<'e>(&'e dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
