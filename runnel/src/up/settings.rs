//! All settings of `runnel up`: each group once, shared by the three services.

use std::collections::BTreeMap;
use std::path::PathBuf;

use event_store::PartitionCount;
use platform::auth::{DEV_AUDIENCE, DEV_ISSUER, DevKeys};
use platform::config::{
    AdminArgs, AdminSettings, AuthArgs, DatabaseArgs, HttpArgs, KafkaArgs, Mode, Problems,
    ProcessArgs, RedisArgs, SecretArgs, ShutdownArgs, ShutdownSettings, TelemetryArgs,
    TelemetrySettings,
};
use secrecy::SecretString;

use super::ports;
use crate::home::Home;
use crate::keys;
use crate::migrate::StoreArgs;

/// Stands in for DATABASE_URL while the private cluster does not run yet. Valid, so that the
/// other settings are judged all the same; nothing listens on port 1.
const OWN_DATABASE: &str = "postgres://runnel@127.0.0.1:1/runnel";

const ADMIN_LISTEN: &str = "127.0.0.1:9080";

/// No balancer stands before one process, so nobody has to notice that it drains.
const SHUTDOWN_WAIT: &str = "0s";

/// What `runnel up` can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct UpArgs {
    /// The folder of PostgreSQL's programs; default: the PATH, then /usr/lib/postgresql
    #[arg(long, env = "RUNNEL_POSTGRES_BIN", help_heading = "Private PostgreSQL")]
    pub runnel_postgres_bin: Option<PathBuf>,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap shows the text of a flattened field as help"
    )]
    pub process: ProcessArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub store: StoreArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub command: command_api::CommandArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub query: query_api::QueryArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub projection: projector::settings::ProjectionArgs,
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
    pub redis: RedisArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub kafka: KafkaArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub admin: AdminArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub telemetry: TelemetryArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub shutdown: ShutdownArgs,
}

/// The lowest value of DATABASE_URL: it means a private cluster.
#[must_use]
pub fn own_database_mark() -> BTreeMap<String, String> {
    BTreeMap::from([("DATABASE_URL".to_owned(), OWN_DATABASE.to_owned())])
}

/// Everything valid.
pub(super) struct UpSettings {
    pub(super) programs: Option<PathBuf>,
    /// False when DATABASE_URL was set.
    pub(super) own_database: bool,
    /// The keys to sign a ready-made token with; none when JWKS was set to another file.
    pub(super) dev_keys: Option<DevKeys>,
    /// What other processes need to know of tokens and secrets, by name.
    pub(super) told: Vec<(&'static str, String)>,
    pub(super) partitions: PartitionCount,
    pub(super) command: command_api::Config,
    pub(super) query: query_api::Config,
    pub(super) projector: projector::ProjectorSettings,
    pub(super) admin: AdminSettings,
    pub(super) telemetry: TelemetrySettings,
    pub(super) shutdown: ShutdownSettings,
}

impl UpSettings {
    /// Says by name which port is taken, before anything is started.
    ///
    /// # Errors
    /// When one is.
    pub(super) fn check_ports(&self) -> anyhow::Result<()> {
        ports::check(&[
            ("COMMAND_LISTEN", self.command.command.listen),
            ("QUERY_LISTEN", self.query.query.listen),
            ("ADMIN_LISTEN", self.admin.listen),
        ])
    }

    /// Gives every service the private cluster's URL.
    pub(super) fn use_database(&mut self, url: &SecretString) {
        for database in [
            &mut self.command.database,
            &mut self.query.database,
            &mut self.projector.database,
        ] {
            database.url = url.clone();
        }
    }
}

impl UpArgs {
    /// Fills in what a home gives, and validates everything; wrong settings end the process
    /// with 64, all of them listed.
    ///
    /// # Errors
    /// When the development keys cannot be made.
    pub(super) fn settle(mut self, home: &Home) -> anyhow::Result<UpSettings> {
        let mut problems = Problems::default();
        let process = self.process.validate(&mut problems);
        let own_database = self.own_database();
        let keys = match process.mode {
            Mode::Development => Some(keys::ensure(home)?),
            Mode::Production => None,
        };
        let dev_keys = keys.filter(|keys| self.use_keys(keys));
        let http = self.http.validate(&mut problems);
        let auth = self.auth.validate(&mut problems);
        let secret = self.secret.validate(process.mode, &mut problems);
        let database = self.database.validate(&mut problems);
        let redis = self.redis.validate(&mut problems);
        let kafka = self.kafka.validate(&mut problems);
        let shutdown = self.shutdown.validate(SHUTDOWN_WAIT, &mut problems);
        let settings = UpSettings {
            programs: self.runnel_postgres_bin.clone(),
            own_database,
            dev_keys,
            told: self.told(),
            partitions: self.store.validate(&mut problems),
            command: command_api::Config {
                command: self.command.validate(&process, &mut problems),
                http: http.clone(),
                auth: auth.clone(),
                secret: secret.clone(),
                database: database.clone(),
                kafka: kafka.clone(),
                process: process.clone(),
                shutdown,
            },
            query: query_api::Config {
                query: self.query.validate(&process, &mut problems),
                http,
                auth,
                secret,
                database: database.clone(),
                redis: redis.clone(),
                process,
                shutdown,
            },
            projector: projector::ProjectorSettings {
                engine: self.projection.validate(&mut problems),
                cache: self.projection.cache(redis, &mut problems),
                kafka,
                database,
            },
            admin: self.admin.validate(ADMIN_LISTEN, &mut problems),
            telemetry: self.telemetry.validate(&mut problems),
            shutdown,
        };
        problems.check_or_exit();
        Ok(settings)
    }

    /// Whether the mark is still there. A file that names a database outranks the mark, too.
    fn own_database(&mut self) -> bool {
        let marked = self.database.database_url.as_deref() == Some(OWN_DATABASE);
        if marked && self.database.database_url_file.is_some() {
            self.database.database_url = None;
            return false;
        }
        marked
    }

    /// Uses the home's keys for what was not set. Whether tokens signed with them are believed.
    fn use_keys(&mut self, keys: &DevKeys) -> bool {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let own = self.auth.jwks.get_or_insert_with(|| path(&keys.jwks)) == &path(&keys.jwks);
        self.auth
            .jwt_issuer
            .get_or_insert_with(|| DEV_ISSUER.to_owned());
        self.auth
            .jwt_audience
            .get_or_insert_with(|| DEV_AUDIENCE.to_owned());
        if self.secret.secret_key.is_none() {
            self.secret
                .secret_key_file
                .get_or_insert_with(|| path(&keys.secret_key));
        }
        own
    }

    /// For RUNNEL_HOME/env. A secret that was given as a value is not written to disk.
    fn told(&self) -> Vec<(&'static str, String)> {
        let values = [
            ("JWKS", &self.auth.jwks),
            ("JWT_ISSUER", &self.auth.jwt_issuer),
            ("JWT_AUDIENCE", &self.auth.jwt_audience),
            ("SECRET_KEY_FILE", &self.secret.secret_key_file),
        ];
        values
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect()
    }
}
