//! The role and database that Runnel uses in its private cluster: not the superuser's.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::account::Account;
use super::initialise::{SUPERUSER, SUPERUSER_PASSWORD, random_password};

const OWNER_PASSWORD: &str = "owner.password";

const ROLE_EXISTS: &str =
    "select exists (select from pg_catalog.pg_roles where rolname = 'runnel')";
const DATABASE_EXISTS: &str =
    "select exists (select from pg_catalog.pg_database where datname = 'runnel')";
const CREATE_ROLE: &str = "create role runnel login";
const CREATE_DATABASE: &str = "create database runnel owner runnel template template0";

/// Makes what is absent. Each step looks first, so a start that was killed in between is
/// completed by the next one; the password is set each time, so that it is the stored one.
pub(super) async fn ensure(
    account: &Account,
    folder: &Path,
    port: u16,
) -> anyhow::Result<SecretString> {
    let superuser = password(folder, SUPERUSER_PASSWORD)?;
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(SUPERUSER)
        .password(&superuser)
        .database("postgres")
        .disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options)
        .await
        .context("the private PostgreSQL does not let its own superuser in")?;
    if !folder.join(OWNER_PASSWORD).exists() {
        account.write(&folder.join(OWNER_PASSWORD), random_password().as_bytes())?;
    }
    let password = password(folder, OWNER_PASSWORD)?;
    if !exists(&mut connection, ROLE_EXISTS).await? {
        sqlx::raw_sql(CREATE_ROLE).execute(&mut connection).await?;
    }
    // Utility statements take no parameters; the password is hex.
    let set_password = format!("alter role runnel password '{password}'");
    sqlx::raw_sql(&set_password)
        .execute(&mut connection)
        .await?;
    if !exists(&mut connection, DATABASE_EXISTS).await? {
        sqlx::raw_sql(CREATE_DATABASE)
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    Ok(SecretString::from(format!(
        "postgres://runnel:{password}@127.0.0.1:{port}/runnel"
    )))
}

async fn exists(connection: &mut PgConnection, question: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(question).fetch_one(connection).await
}

fn password(folder: &Path, file: &str) -> anyhow::Result<String> {
    let path = folder.join(file);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = text.trim();
    // It goes into a statement, and the folder is the server account's to change.
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure!(is_hex, "{} is not a password of ours", path.display());
    Ok(text.to_owned())
}
