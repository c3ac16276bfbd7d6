//! A PostgreSQL database of its own for each test, cloned from a migrated template.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool};

use crate::servers::{postgres_url, workspace_root};

/// How many partitions the stores of tests have.
pub const TEST_PARTITIONS: u16 = 4;

/// A migrated database without a store in it; dropped at the end of the test.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    admin: PgConnectOptions,
    pool: PgPool,
}

impl TestDatabase {
    /// Clones the template, which the first test of a run makes.
    ///
    /// # Panics
    /// When the test server cannot be reached or a migration fails: the test cannot run.
    pub async fn create() -> Self {
        Self::try_create().await.expect("a database for the test")
    }

    async fn try_create() -> anyhow::Result<Self> {
        let admin = PgConnectOptions::from_str(&postgres_url())?.disable_statement_logging();
        let template = ensure_template(&admin).await?;
        let name = fresh_name();
        let mut connection = connect(&admin).await?;
        let statement = format!("create database {name} template {template}");
        connection
            .execute(statement.as_str())
            .await
            .context("cloning the template")?;
        connection.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .connect_lazy_with(admin.clone().database(&name));
        Ok(Self { name, admin, pool })
    }

    /// How to connect to it.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        self.admin.clone().database(&self.name)
    }

    /// Its URL, for another process.
    #[must_use]
    pub fn url(&self) -> String {
        self.options().to_url_lossy().to_string()
    }

    /// A small pool on it.
    #[must_use]
    pub fn pool(&self) -> PgPool {
        self.pool.clone()
    }
}

/// How long the end of a test waits for its database to be dropped. A connection of the test that
/// is being opened just then holds the drop up, because its task cannot go on while this thread
/// waits.
const DROP_WAIT: Duration = Duration::from_secs(2);

impl Drop for TestDatabase {
    /// Drops the database on a thread of its own, because a test's runtime may be ending.
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        let (done, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut connection = connect(&admin).await?;
                let statement = format!("drop database if exists {name} with (force)");
                connection.execute(statement.as_str()).await?;
                anyhow::Ok(())
            })?;
            let _ = done.send(());
            anyhow::Ok(())
        });
        // A database that is left behind harms no other test; the test's own result is what counts.
        let _ = wait.recv_timeout(DROP_WAIT);
    }
}

async fn connect(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    options
        .connect()
        .await
        .context("reaching the test PostgreSQL; is it up (`make services`)?")
}

fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(
        "runnel_test_{}_{number}_{}",
        std::process::id(),
        uuid::Uuid::new_v4().simple()
    )
}

/// Makes the template for the present migrations, unless another test has; an advisory lock lets
/// one of them do it.
async fn ensure_template(admin: &PgConnectOptions) -> anyhow::Result<String> {
    const LOCK: &str = "select pg_advisory_lock(724001)";
    const EXISTS: &str = "select exists (select from pg_database where datname = $1)";
    let name = format!("runnel_template_{}", &migrations_digest()?[..16]);
    let mut connection = connect(admin).await?;
    if sqlx::query_scalar(EXISTS)
        .bind(&name)
        .fetch_one(&mut connection)
        .await?
    {
        return Ok(name);
    }
    connection.execute(LOCK).await?;
    if !sqlx::query_scalar::<_, bool>(EXISTS)
        .bind(&name)
        .fetch_one(&mut connection)
        .await?
    {
        let draft = format!("{name}_draft");
        let drop_draft = format!("drop database if exists {draft} with (force)");
        connection.execute(drop_draft.as_str()).await?;
        connection
            .execute(format!("create database {draft}").as_str())
            .await?;
        let mut migrated = connect(&admin.clone().database(&draft)).await?;
        Migrator::new(migrations_folder())
            .await?
            .run(&mut migrated)
            .await
            .context("migrating")?;
        migrated.close().await?;
        let rename = format!("alter database {draft} rename to {name}");
        connection.execute(rename.as_str()).await?;
    }
    connection.close().await?;
    Ok(name)
}

/// The folder of the workspace's migrations.
#[must_use]
pub fn migrations_folder() -> PathBuf {
    workspace_root().join("migrations")
}

fn migrations_digest() -> anyhow::Result<String> {
    let mut files: Vec<_> =
        std::fs::read_dir(migrations_folder())?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    let mut hasher = blake3::Hasher::new();
    for file in files {
        hasher.update(file.file_name().as_encoded_bytes());
        hasher.update(&std::fs::read(file.path())?);
    }
    Ok(hasher.finalize().to_hex().to_string())
}
