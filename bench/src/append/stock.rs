//! cqrs-es with postgres-es as their documents say: its own table, `PersistedEventStore` with the
//! events as the source of truth, and a pool of 16. It checks no claim and remembers no key.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use chrono::{SubsecRound as _, Utc};
use domain::User;
use domain::user::Now;
use postgres_es::{PostgresCqrs, postgres_cqrs};
use sqlx::postgres::PgPoolOptions;
use testkit::Cluster;

use super::AppendArgs;
use super::cell::{self, Batches, Cell, Contender};
use super::databases::{MEASURED, STOCK};
use crate::gauge::Gauge;
use crate::people::{Next, People};

const POOL: u32 = 16;

/// Measures it once.
///
/// # Errors
/// Of the server or of a command.
pub(super) async fn run(cluster: &Cluster, args: &AppendArgs, level: u16) -> anyhow::Result<Cell> {
    cluster.fresh(MEASURED, STOCK).await?;
    let pool = PgPoolOptions::new()
        .min_connections(POOL)
        .max_connections(POOL)
        .connect_with(cluster.options(MEASURED))
        .await?;
    let now = Now(Utc::now().trunc_subsecs(6));
    let cqrs: Arc<PostgresCqrs<User>> = Arc::new(postgres_cqrs(pool.clone(), vec![], now));
    let gauge = Gauge::new();
    let writers = (0..level).map(|number| write(number, Arc::clone(&cqrs), gauge.clone()));
    // One command, one transaction.
    let batches = || Batches {
        events: 1.0,
        transactions: 1.0,
    };
    let cell = cell::measure(
        cluster,
        args,
        (Contender::Stock, level),
        batches,
        writers,
        &gauge,
    )
    .await?;
    pool.close().await;
    Ok(Cell { batch: 1.0, ..cell })
}

async fn write(number: u16, cqrs: Arc<PostgresCqrs<User>>, gauge: Gauge) -> anyhow::Result<()> {
    let mut people = People::new(u64::from(number));
    let mut users: Vec<String> = Vec::new();
    let writer = usize::from(number);
    while gauge.runs() {
        let next = people.next();
        let begun = Instant::now();
        let (id, command) = match next {
            Next::Register(command) => {
                users.push(command.user_id.to_string());
                (&users[users.len() - 1], command.into())
            }
            Next::Update(user, command) => (&users[user], command.into()),
        };
        cqrs.execute_with_metadata(id, command, metadata()).await?;
        gauge.note(writer, begun, 1);
    }
    Ok(())
}

/// As long as what command-api writes.
fn metadata() -> HashMap<String, String> {
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    super::ours::METADATA.map(pair).into()
}
