//! What a process tells about itself, and to whom.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::Problems;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// The telemetry settings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryArgs {
    /// Which log lines are written, such as `info,sqlx=warn`
    #[arg(
        long,
        env = "RUST_LOG",
        default_value = "info,sqlx::postgres::notice=warn"
    )]
    pub rust_log: String,
    /// Where traces go by OTLP (http/protobuf), such as http://localhost:4318; unset = nowhere
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// Which part of the requests that no caller decided about is traced, 0 to 1
    #[arg(long, env = "TRACE_SAMPLE_RATIO", default_value = "0.1")]
    pub trace_sample_ratio: String,
    /// How many spans go in one export
    #[arg(long, env = "TRACE_BATCH_MAX", default_value = "512")]
    pub trace_batch_max: String,
    /// How long a span waits for others to go with it
    #[arg(long, env = "TRACE_BATCH_DELAY", default_value = "5s")]
    pub trace_batch_delay: String,
    /// How often a `runtime_stats` line is written
    #[arg(long, env = "RUNTIME_STATS_INTERVAL", default_value = "30s")]
    pub runtime_stats_interval: String,
}

/// Validated [`TelemetryArgs`].
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// The filter's directives.
    pub filter: String,
    /// OTLP collector; none exports nothing.
    pub otlp_endpoint: Option<url::Url>,
    /// Part of the root spans that is sampled.
    pub sample_ratio: f64,
    /// Spans an export.
    pub batch_max: usize,
    /// Longest wait of a span.
    pub batch_delay: Duration,
    /// Time between two `runtime_stats` lines.
    pub runtime_stats_interval: Duration,
}

impl TelemetryArgs {
    /// Parses and checks the group.
    pub fn validate(&self, problems: &mut Problems) -> TelemetrySettings {
        if let Err(error) = self.rust_log.parse::<EnvFilter>() {
            problems.add("RUST_LOG", error);
        }
        let endpoint = self
            .otel_exporter_otlp_endpoint
            .as_deref()
            .map(url::Url::parse);
        let otlp_endpoint = match endpoint.transpose() {
            Ok(endpoint) => endpoint,
            Err(error) => {
                problems.add(
                    "OTEL_EXPORTER_OTLP_ENDPOINT",
                    format_args!("is not a URL: {error}"),
                );
                None
            }
        };
        TelemetrySettings {
            filter: self.rust_log.clone(),
            otlp_endpoint,
            sample_ratio: problems.number(
                "TRACE_SAMPLE_RATIO",
                &self.trace_sample_ratio,
                0.0..=1.0,
            ),
            batch_max: problems.number("TRACE_BATCH_MAX", &self.trace_batch_max, 1..=100_000),
            batch_delay: problems.duration(
                "TRACE_BATCH_DELAY",
                &self.trace_batch_delay,
                Duration::from_millis(10)..=HOUR,
            ),
            runtime_stats_interval: problems.duration(
                "RUNTIME_STATS_INTERVAL",
                &self.runtime_stats_interval,
                SECOND..=HOUR,
            ),
        }
    }
}
