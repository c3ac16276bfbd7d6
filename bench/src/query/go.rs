//! The Go yardstick of reads, from each of its layers. It reads a table of its own, which holds
//! what our view holds, and must answer with the same body, byte for byte.

use std::sync::Arc;

use anyhow::ensure;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use uuid::Uuid;

use super::QueryArgs;
use super::contender::{Contender, FRESH};
use super::gets;
use super::stage::Stage;
use crate::http;
use crate::services::Setting;

pub(super) const GO_HIT: &str = "Go, hit in the process";
pub(super) const GO_REDIS: &str = "Go, hit in Redis";
pub(super) const GO_POSTGRES: &str = "Go, read of PostgreSQL";

/// The yardstick makes the table when it starts.
const FILL: &str = "
    insert into yardstick.users
        (tenant, id, version, status, email, name, region, bio, display_name, avatar_url,
         created_at, last_active)
    select tenant, id, version, case status when 1 then 'active' else 'deactivated' end, email,
           name, region, bio, display_name, avatar_url, created_at, last_active
    from read_model.user_view
    on conflict do nothing";

/// Starts all three. `ours` answers from the process, and says who is hot.
///
/// # Errors
/// When one does not start, or does not answer as ours does.
pub(super) async fn all(
    stage: &Stage,
    args: &QueryArgs,
    ours: &Contender,
) -> anyhow::Result<Vec<Contender>> {
    let url = ("REDIS_URL", stage.redis.address().to_owned());
    let (hot, all) = (&ours.users, &stage.users);
    let memory = started(stage, GO_HIT, "memory", &[], hot).await?;
    fill(stage).await?;
    let mut redis = started(stage, GO_REDIS, "redis", &[url], all).await?;
    redis.beside = vec![stage.redis_pid()?];
    let postgres = started(stage, GO_POSTGRES, "postgres", &[], all).await?;
    let contenders = vec![memory, redis, postgres];
    for go in &contenders {
        check_body(stage, go, ours).await?;
        go.warm(stage, args).await?;
    }
    Ok(contenders)
}

async fn started(
    stage: &Stage,
    name: &'static str,
    read: &str,
    settings: &[Setting],
    users: &Arc<[Uuid]>,
) -> anyhow::Result<Contender> {
    let arguments = ["-read", read, "-fresh", FRESH];
    let service = stage.deployment.go(&arguments, settings)?;
    Ok(Contender {
        name,
        service: service.listening().await?,
        beside: vec![],
        users: Arc::clone(users),
        layer: None,
    })
}

async fn fill(stage: &Stage) -> anyhow::Result<()> {
    let mut connection = stage.database.connect().await?;
    connection.execute(FILL).await?;
    connection
        .execute("vacuum (analyze) yardstick.users")
        .await?;
    Ok(connection.close().await?)
}

async fn check_body(stage: &Stage, go: &Contender, ours: &Contender) -> anyhow::Result<()> {
    let (token, id) = (&stage.tokens[0], ours.users[0]);
    let ask = async |of: &Contender| {
        let address = of.service.data;
        http::fetch(address, &gets::request(address, token, id)).await
    };
    let (theirs, ours) = (ask(go).await?, ask(ours).await?);
    ensure!(
        theirs.status == 200 && theirs.body == ours.body,
        "{} answers {} with another body:\n{}\n{}",
        go.name,
        theirs.status,
        String::from_utf8_lossy(&theirs.body),
        String::from_utf8_lossy(&ours.body)
    );
    Ok(())
}
