//! The database roles of the services: `runnel migrate` makes them and says what each may do, so
//! that a service which is broken into, or broken, cannot do another's work.
//!
//! | role | may |
//! |---|---|
//! | the owner | everything: `runnel migrate`, `projector rebuild`, `rollback`, `gc`, `store fork` |
//! | `<prefix>_command` | read and append to the event store; never change an event |
//! | `<prefix>_projector` | read the event store; write cursors and read models, and make their tables |
//! | `<prefix>_query` | read the read models, the cursors, the heads, the incarnations, the store's id |
//!
//! Roles belong to the whole cluster and grants to one database: several databases can share the
//! roles, or have a prefix each.

use anyhow::{Context as _, bail};
use platform::config::Problems;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::grants;

/// With the role's suffix it fits in a name of PostgreSQL, 63 bytes.
const PREFIX_BYTES_MAX: usize = 40;

/// Roles are rows that all databases of a cluster share; two migrations that make the same ones at
/// once meet there, and one of them begins again.
const ATTEMPTS_MAX: u32 = 10;

/// `duplicate_object`, `unique_violation`, `deadlock_detected`, and the internal error "tuple
/// concurrently updated", which has no code of its own.
const MET_ANOTHER: [&str; 4] = ["42710", "23505", "40P01", "XX000"];
const MAY_NOT: &str = "42501";

const EXISTS: &str = "select exists (select from pg_catalog.pg_roles where rolname = $1)";
const CREATE: &str = "select format('create role %I login password %L', $1, $2)";
const SET_PASSWORD: &str = "select format('alter role %I login password %L', $1, $2)";

/// The owner acts for the projector: it replaces the projector's views and drops its tables.
const ACTS_FOR: &str = "select pg_catalog.pg_has_role(current_user, $1, 'usage')";

/// Which roles there are to be.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Database roles")]
pub struct RoleArgs {
    /// Make the services' roles `<this>_command`, `<this>_projector` and `<this>_query`, and grant
    /// them what they need; when empty, every service is to use the owner
    #[arg(long, env = "DB_ROLES")]
    pub db_roles: Option<String>,
    /// The password of the role of command-api; needed to make it, and set when given
    #[arg(long, env = "DB_PASSWORD_COMMAND", hide_env_values = true)]
    pub db_password_command: Option<String>,
    /// A file that holds DB_PASSWORD_COMMAND
    #[arg(long, env = "DB_PASSWORD_COMMAND_FILE")]
    pub db_password_command_file: Option<String>,
    /// The password of the role of the projector
    #[arg(long, env = "DB_PASSWORD_PROJECTOR", hide_env_values = true)]
    pub db_password_projector: Option<String>,
    /// A file that holds DB_PASSWORD_PROJECTOR
    #[arg(long, env = "DB_PASSWORD_PROJECTOR_FILE")]
    pub db_password_projector_file: Option<String>,
    /// The password of the role of query-api
    #[arg(long, env = "DB_PASSWORD_QUERY", hide_env_values = true)]
    pub db_password_query: Option<String>,
    /// A file that holds DB_PASSWORD_QUERY
    #[arg(long, env = "DB_PASSWORD_QUERY_FILE")]
    pub db_password_query_file: Option<String>,
}

/// A service's role.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name; a plain word, which needs no quotes in SQL.
    pub name: String,
    password: Option<SecretString>,
}

/// The roles of the services.
#[derive(Debug, Clone)]
pub struct Roles {
    /// Of command-api.
    pub command: Role,
    /// Of the projector.
    pub projector: Role,
    /// Of query-api.
    pub query: Role,
}

impl RoleArgs {
    /// Parses and checks the group; none when no roles are asked for.
    pub fn validate(&self, problems: &mut Problems) -> Option<Roles> {
        let prefix = self.db_roles.as_deref().unwrap_or_default().trim();
        if prefix.is_empty() {
            return None;
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        problems.require(
            prefix.len() <= PREFIX_BYTES_MAX
                && prefix.bytes().all(plain)
                && prefix.starts_with(|first: char| first.is_ascii_lowercase()),
            "DB_ROLES",
            format_args!("must be a word of a-z, 0-9 and _ with at most {PREFIX_BYTES_MAX} bytes"),
        );
        let mut role = |service: &str, value: &Option<String>, file: &Option<String>| {
            let setting = format!("DB_PASSWORD_{}", service.to_uppercase());
            Role {
                name: format!("{prefix}_{service}"),
                password: problems.secret(&setting, value.as_deref(), file.as_deref()),
            }
        };
        Some(Roles {
            command: role(
                "command",
                &self.db_password_command,
                &self.db_password_command_file,
            ),
            projector: role(
                "projector",
                &self.db_password_projector,
                &self.db_password_projector_file,
            ),
            query: role(
                "query",
                &self.db_password_query,
                &self.db_password_query_file,
            ),
        })
    }
}

/// Makes the roles that are absent, sets the passwords that are given, and grants each role what
/// this version's services need; all of it or nothing, and repeating it changes nothing.
///
/// # Errors
/// When the owner may not do it; the message says what somebody else has to.
pub async fn establish(pool: &PgPool, roles: &Roles) -> anyhow::Result<()> {
    let mut connection = pool.acquire().await?;
    let mut attempt = 1;
    loop {
        match try_establish(&mut connection, roles).await {
            Err(error) if attempt < ATTEMPTS_MAX && has_met_another(&error) => attempt += 1,
            result => return result,
        }
    }
}

async fn try_establish(connection: &mut PgConnection, roles: &Roles) -> anyhow::Result<()> {
    let mut transaction = connection.begin().await?;
    for role in [&roles.command, &roles.projector, &roles.query] {
        ensure(&mut transaction, role).await?;
    }
    act_for(&mut transaction, &roles.projector).await?;
    sqlx::raw_sql(&grants::statements(roles))
        .execute(&mut *transaction)
        .await
        .context("the grants failed; the database's owner must run this")?;
    transaction.commit().await?;
    Ok(())
}

async fn ensure(connection: &mut PgConnection, role: &Role) -> anyhow::Result<()> {
    let name = &role.name;
    let exists: bool = sqlx::query_scalar(EXISTS)
        .bind(name)
        .fetch_one(&mut *connection)
        .await?;
    let (template, hint) = match (exists, &role.password) {
        (true, None) => return Ok(()),
        (true, Some(_)) => (
            SET_PASSWORD,
            format!("{name} exists: leave its password unset to keep the one that it has"),
        ),
        (false, Some(_)) => (
            CREATE,
            format!("have somebody who may run `create role {name} login password '…'` first"),
        ),
        (false, None) => bail!("the role {name} does not exist, and no password is set for it"),
    };
    let password = role.password.as_ref().map(|text| text.expose_secret());
    // The server quotes; and an error of the statement does not show it.
    let statement: String = sqlx::query_scalar(template)
        .bind(name)
        .bind(password)
        .fetch_one(&mut *connection)
        .await?;
    refused(sqlx::raw_sql(&statement).execute(connection).await, || hint)
}

async fn act_for(connection: &mut PgConnection, role: &Role) -> anyhow::Result<()> {
    let name = &role.name;
    let acts: bool = sqlx::query_scalar(ACTS_FOR)
        .bind(name)
        .fetch_one(&mut *connection)
        .await?;
    if acts {
        return Ok(());
    }
    let owner: String = sqlx::query_scalar("select format('%I', current_user)")
        .fetch_one(&mut *connection)
        .await?;
    let statement = format!("grant {name} to {owner}");
    refused(sqlx::raw_sql(&statement).execute(connection).await, || {
        format!("have somebody who may run `{statement}` first")
    })
}

/// What the owner may not do somebody else must; a hosted PostgreSQL is often like that.
fn refused<T>(result: Result<T, sqlx::Error>, hint: impl FnOnce() -> String) -> anyhow::Result<()> {
    let Err(error) = result else { return Ok(()) };
    if code(&error).as_deref() == Some(MAY_NOT) {
        return Err(anyhow::Error::new(error).context(format!(
            "this database user may not manage roles: {}",
            hint()
        )));
    }
    Err(anyhow::Error::new(error).context("a role could not be made"))
}

fn has_met_another(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    causes.any(|cause: &sqlx::Error| {
        code(cause).is_some_and(|code| MET_ANOTHER.contains(&code.as_str()))
    })
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
