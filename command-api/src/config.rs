//! The settings of the command API, and of the append that it runs.

use std::net::SocketAddr;
use std::time::Duration;

use event_store::relay::RelaySettings;
use platform::config::{
    AuthArgs, AuthSettings, DatabaseArgs, DatabaseSettings, HttpArgs, HttpSettings, KafkaArgs,
    KafkaSettings, Problems, ProcessArgs, ProcessSettings, SecretArgs, SecretSettings,
    ShutdownArgs, ShutdownSettings,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Part of the memory limit that cached aggregates may take: a tenth.
const CACHE_PART: u64 = 10;

/// A shorter lease could run out between two renewals of a busy process.
const RELAY_LEASE_MIN: Duration = Duration::from_millis(500);

/// The settings that only this API has.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Commands")]
pub struct CommandArgs {
    /// Where commands are accepted
    #[arg(long, env = "COMMAND_LISTEN", default_value = "127.0.0.1:8080")]
    pub command_listen: String,
    /// How long a client waits for a command before it is answered 503 outcome_unknown
    #[arg(long, env = "COMMAND_DEADLINE", default_value = "20s")]
    pub command_deadline: String,
    /// How many commands may wait for one stream
    #[arg(long, env = "STREAM_MAILBOX_MAX", default_value = "64")]
    pub stream_mailbox_max: String,
    /// Memory for recently used aggregates; default: 10 % of the memory limit
    #[arg(long, env = "AGGREGATE_CACHE_MAX")]
    pub aggregate_cache_max: Option<String>,
    /// How long the answers of idempotency keys are kept; at least 24h
    #[arg(long, env = "OUTCOME_RETENTION", default_value = "24h")]
    pub outcome_retention: String,
    /// Append lanes; each has a connection and a thread of its own
    #[arg(long, env = "APPEND_LANES", default_value = "2")]
    pub append_lanes: String,
    /// How many commands may wait for a lane
    #[arg(long, env = "APPEND_QUEUE_MAX", default_value = "4096")]
    pub append_queue_max: String,
    /// How many commands are appended in one transaction
    #[arg(long, env = "APPEND_BATCH_MAX", default_value = "512")]
    pub append_batch_max: String,
    /// How many recently changed streams a lane remembers for each partition
    #[arg(long, env = "APPEND_WINDOW_STREAMS", default_value = "65536")]
    pub append_window_streams: String,
    /// The longest tail of foreign events that a lane reads before it begins its window anew
    #[arg(long, env = "APPEND_TAIL_MAX", default_value = "10000")]
    pub append_tail_max: String,
    /// How long a partition's relay to Kafka stays with a process that does not answer any more
    #[arg(long, env = "RELAY_LEASE", default_value = "10s")]
    pub relay_lease: String,
    /// How many records of one partition may be on their way to Kafka without an acknowledgement
    #[arg(long, env = "RELAY_IN_FLIGHT_MAX", default_value = "1000")]
    pub relay_in_flight_max: String,
}

/// Validated [`CommandArgs`].
#[derive(Debug, Clone)]
pub struct CommandSettings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// How long a client waits.
    pub deadline: Duration,
    /// Commands that may wait for one stream.
    pub mailbox_max: usize,
    /// Bytes of cached aggregates.
    pub aggregate_cache_max: u64,
    /// How long outcomes are kept.
    pub outcome_retention: Duration,
    /// Append lanes.
    pub append_lanes: u16,
    /// Commands that may wait for a lane.
    pub append_queue_max: usize,
    /// Commands of one transaction.
    pub append_batch_max: usize,
    /// Streams that a lane remembers for each partition.
    pub append_window_streams: usize,
    /// Events of the longest tail that a lane reads.
    pub append_tail_max: i64,
    /// Bounds of the relay; without Kafka there is none.
    pub relay: RelaySettings,
}

impl CommandArgs {
    /// Parses and checks the group.
    pub fn validate(&self, process: &ProcessSettings, problems: &mut Problems) -> CommandSettings {
        let mut count = |name, text: &str| problems.number(name, text, 1..=1_000_000);
        let mailbox_max = count("STREAM_MAILBOX_MAX", &self.stream_mailbox_max);
        let append_queue_max = count("APPEND_QUEUE_MAX", &self.append_queue_max);
        let append_window_streams = count("APPEND_WINDOW_STREAMS", &self.append_window_streams);
        let cache = self.aggregate_cache_max.as_deref();
        CommandSettings {
            listen: problems.listen("COMMAND_LISTEN", &self.command_listen),
            deadline: problems.duration(
                "COMMAND_DEADLINE",
                &self.command_deadline,
                Duration::from_millis(1)..=HOUR,
            ),
            mailbox_max,
            aggregate_cache_max: match cache {
                Some(text) => problems.size("AGGREGATE_CACHE_MAX", text, 0..=u64::MAX),
                None => process.memory_limit / CACHE_PART,
            },
            outcome_retention: problems.duration(
                "OUTCOME_RETENTION",
                &self.outcome_retention,
                24 * HOUR..=24 * 366 * HOUR,
            ),
            append_lanes: problems.number("APPEND_LANES", &self.append_lanes, 1..=64),
            append_queue_max,
            append_batch_max: problems.number(
                "APPEND_BATCH_MAX",
                &self.append_batch_max,
                1..=10_000,
            ),
            append_window_streams,
            append_tail_max: problems.number(
                "APPEND_TAIL_MAX",
                &self.append_tail_max,
                1..=1_000_000,
            ),
            relay: self.relay(problems),
        }
    }

    fn relay(&self, problems: &mut Problems) -> RelaySettings {
        let (lease, in_flight) = (&self.relay_lease, &self.relay_in_flight_max);
        RelaySettings {
            lease: problems.duration("RELAY_LEASE", lease, RELAY_LEASE_MIN..=HOUR),
            in_flight_max: problems.number("RELAY_IN_FLIGHT_MAX", in_flight, 1..=10_000),
            ..RelaySettings::default()
        }
    }
}

/// Every group that a command API needs; `runnel up` flattens the same groups once for all
/// services.
#[derive(Debug, Clone, clap::Args)]
pub struct ServiceArgs {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap shows the text of a flattened field as help"
    )]
    pub command: CommandArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub http: HttpArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub auth: AuthArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub secret: SecretArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub database: DatabaseArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub kafka: KafkaArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub process: ProcessArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub shutdown: ShutdownArgs,
}

/// Everything that [`crate::Application::build`] needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The API's own settings.
    pub command: CommandSettings,
    /// Limits of the data port.
    pub http: HttpSettings,
    /// Whose tokens are believed.
    pub auth: AuthSettings,
    /// The secret.
    pub secret: SecretSettings,
    /// The database.
    pub database: DatabaseSettings,
    /// Where events are relayed to; nothing is a process without a relay.
    pub kafka: Option<KafkaSettings>,
    /// Mode, memory and threads.
    pub process: ProcessSettings,
    /// How to stop.
    pub shutdown: ShutdownSettings,
}

impl ServiceArgs {
    /// Parses and checks every group.
    pub fn validate(&self, problems: &mut Problems) -> Config {
        let process = self.process.validate(problems);
        Config {
            command: self.command.validate(&process, problems),
            http: self.http.validate(problems),
            auth: self.auth.validate(problems),
            secret: self.secret.validate(process.mode, problems),
            database: self.database.validate(problems),
            kafka: self.kafka.validate(problems),
            shutdown: self.shutdown.validate("3s", problems),
            process,
        }
    }
}
