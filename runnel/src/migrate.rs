//! Brings a database to this version's schema and makes the event store in it.

use anyhow::Context as _;
use event_store::{EventStore, PartitionCount};
use platform::config::{DatabaseArgs, DatabaseSettings, Problems, ProcessArgs, SecretArgs};
use platform::database::{PoolPlan, pool};
use platform::secret::SecretKey;
use sqlx::PgPool;
use sqlx::migrate::Migrator;

use crate::roles::{self, RoleArgs};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// The settings of a store that does not exist yet.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Event store")]
pub struct StoreArgs {
    /// Partitions of a new event store; fixed for ever, and checked at every start
    #[arg(long, env = "STORE_PARTITIONS", default_value = "16")]
    pub store_partitions: String,
}

impl StoreArgs {
    /// Parses and checks the group.
    ///
    /// # Panics
    /// Never: the range that is allowed here is within the one of a store.
    pub fn validate(&self, problems: &mut Problems) -> PartitionCount {
        let count = problems.number("STORE_PARTITIONS", &self.store_partitions, 1..=1024);
        PartitionCount::new(count).expect("1 to 1024 partitions are a store's")
    }
}

/// What `runnel migrate` needs.
#[derive(Debug, Clone, clap::Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap shows the text of a flattened field as help"
    )]
    pub store: StoreArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub database: DatabaseArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub roles: RoleArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub secret: SecretArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "see above")]
    pub process: ProcessArgs,
}

/// `runnel migrate`: with the owner's DATABASE_URL, before the services of a new version start.
///
/// # Errors
/// As [`migrate`].
pub async fn run(args: &MigrateArgs) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let process = args.process.validate(&mut problems);
    let partitions = args.store.validate(&mut problems);
    let secret = args.secret.validate(process.mode, &mut problems);
    let roles = args.roles.validate(&mut problems);
    let database = args.database.validate(&mut problems);
    problems.check_or_exit();
    migrate(&database, partitions, &secret.key).await?;
    let mut said = format!(
        "The database is at this version; {} partitions.\n",
        partitions.get()
    );
    if let Some(roles) = roles {
        let pool = pool(&database, PoolPlan::unhurried("migrate", 1))?;
        let established = roles::establish(&pool, &roles).await;
        pool.close().await;
        established.context("the services' roles are not as they should be")?;
        said.push_str(&format!(
            "The services' roles are {}, {} and {}.\n",
            roles.command.name, roles.projector.name, roles.query.name
        ));
    }
    Ok(platform::output::write(said.as_bytes())?)
}

/// Runs what has not run yet. Repeating it changes nothing; a second process waits for the first.
///
/// # Errors
/// When the database cannot be reached, was migrated by a newer version, or holds the store of
/// another secret or number of partitions.
pub async fn migrate(
    database: &DatabaseSettings,
    partitions: PartitionCount,
    secret: &SecretKey,
) -> anyhow::Result<()> {
    let pool = pool(database, PoolPlan::unhurried("migrate", 1))?;
    let result = migrate_with(&pool, partitions, secret).await;
    pool.close().await;
    result
}

async fn migrate_with(
    pool: &PgPool,
    partitions: PartitionCount,
    secret: &SecretKey,
) -> anyhow::Result<()> {
    MIGRATIONS
        .run(pool)
        .await
        .context("the migrations failed")?;
    EventStore::create(pool, partitions, &secret.fingerprint())
        .await
        .context("the event store cannot be used")?;
    Ok(())
}
