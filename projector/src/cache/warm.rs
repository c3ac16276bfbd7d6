//! `projector cache warm`: fills the users that were active last, under leases like any reader, so
//! that a cold cache does not send everybody to PostgreSQL at once.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use events::{ConsistencyToken, TenantId};
use platform::redis_client::Answer;
use read_model::cache::commands::{self, LookedUp, Sealed};
use read_model::cache::{CachedRow, Envelope, Mark, Opened, ValueKey, envelope, nonce};
use read_model::checkpoint::{self, ParkedSet, Standing};
use read_model::projection::Touched;
use serde::Serialize;
use tokio::time::Instant;

use super::check::home;
use super::tools::{Current, ToolError, Tools, believed};

/// Values that are filled at once.
const PAGE: usize = 100;

/// What to warm.
#[derive(Clone, Debug)]
pub struct WarmPlan {
    /// One tenant's users, or all.
    pub tenant: Option<TenantId>,
    /// At most so many.
    pub limit: u32,
    /// At most so many a second.
    pub per_second: u32,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Warmed {
    /// Values that were looked for.
    pub looked_at: u64,
    /// Of these, put there now.
    pub filled: u64,
}

/// Fills what is missing.
///
/// # Errors
/// [`ToolError`].
pub async fn warm(tools: &Tools, plan: &WarmPlan) -> Result<Warmed, ToolError> {
    let mut warmed = Warmed::default();
    for current in tools.current().await? {
        let mut connection = tools.pool.acquire().await?;
        let limit = i64::from(plan.limit);
        let tenant = plan.tenant.as_ref();
        let recent = current
            .cached
            .recent(&mut connection, tenant, limit)
            .await?;
        drop(connection);
        for page in recent.chunks(PAGE) {
            let begun = Instant::now();
            warmed.filled += fill(tools, &current, page).await?;
            warmed.looked_at += page.len() as u64;
            let seconds = page.len() as f64 / f64::from(plan.per_second.max(1));
            tokio::time::sleep_until(begun + Duration::from_secs_f64(seconds)).await;
        }
    }
    Ok(warmed)
}

/// A value that is missing, and the mark that was read before it.
struct Missing {
    key: ValueKey,
    touched: Touched,
    mark: Mark,
}

async fn fill(tools: &Tools, current: &Current, page: &[Touched]) -> Result<u64, ToolError> {
    let missing = missing(tools, current, page).await?;
    let nonce = nonce();
    let leased = lease(tools, missing, &nonce).await?;
    if leased.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Touched> = leased.iter().map(|one| one.touched.clone()).collect();
    let mut connection = tools.pool.acquire().await?;
    let reading = current.cached.read(&mut connection, &ids).await?;
    let Some((standing, rows)) = reading else {
        return Ok(0);
    };
    let mut parked = BTreeMap::new();
    for one in &standing.checkpoints {
        let (name, partition) = (current.projection.name(), one.partition);
        let set = checkpoint::parked(&mut connection, name, standing.generation, partition).await?;
        parked.insert(partition, set);
    }
    drop(connection);
    let rows: HashMap<_, _> = rows.into_iter().collect();
    let mut pipeline = redis::pipe();
    for one in &leased {
        let row = rows.get(&one.touched).map(AsRef::as_ref);
        let stamp = row.and_then(|row| stamp(current, &standing, &parked, one).zip(Some(row)));
        match stamp {
            Some((envelope, row)) => {
                let sealed = Sealed {
                    key: &one.key,
                    envelope: &envelope,
                    body: &CachedRow::body(row),
                    ttl: tools.target.ttl,
                };
                commands::fill(&mut pipeline, &nonce, sealed);
            }
            // Gives the lease back.
            None => commands::forget(&mut pipeline, &one.key),
        }
    }
    let answer: Answer<Vec<redis::Value>> = tools.call(&pipeline).await?;
    let set = redis::Value::BulkString(b"set".to_vec());
    Ok(answer.value.iter().filter(|one| **one == set).count() as u64)
}

async fn missing(
    tools: &Tools,
    current: &Current,
    page: &[Touched],
) -> Result<Vec<Missing>, ToolError> {
    let mut connection = tools.pool.acquire().await?;
    let Some((standing, _)) = current.cached.read(&mut connection, &[]).await? else {
        return Ok(Vec::new());
    };
    drop(connection);
    let applied: Vec<String> = standing
        .checkpoints
        .iter()
        .map(|one| current.keys.applied(one.partition))
        .collect();
    let key = |one: &Touched| current.keys.value(&one.tenant, &one.id, &one.id);
    let keys: Vec<ValueKey> = page.iter().map(key).collect();
    let answer: Answer<LookedUp> = tools.call(&commands::look_up(&applied, &keys)).await?;
    let (texts, values) = answer.value;
    let marks = believed(texts, &answer.run_id);
    let mut missing = Vec::new();
    for ((touched, key), value) in page.iter().zip(keys).zip(values) {
        let mark = home(&standing, touched).and_then(|at| marks.get(at)?.clone());
        let Some(mark) = mark else { continue };
        let opened = value
            .as_deref()
            .map(|one| envelope::open(&key, mark.epoch, one));
        if !matches!(opened, Some(Opened::Value(..))) {
            let touched = touched.clone();
            missing.push(Missing { key, touched, mark });
        }
    }
    Ok(missing)
}

async fn lease(
    tools: &Tools,
    missing: Vec<Missing>,
    nonce: &str,
) -> Result<Vec<Missing>, ToolError> {
    if missing.is_empty() {
        return Ok(missing);
    }
    let mut pipeline = redis::pipe();
    for one in &missing {
        commands::take_lease(&mut pipeline, &one.key, nonce);
    }
    let answer: Answer<Vec<Option<String>>> = tools.call(&pipeline).await?;
    let leased = missing.into_iter().zip(answer.value);
    Ok(leased.filter_map(|(one, ok)| ok.map(|_| one)).collect())
}

/// What the fill would say of itself; nothing when it must not be sent (rule 5 of the contract).
fn stamp(
    current: &Current,
    standing: &Standing,
    parked: &BTreeMap<events::Partition, ParkedSet>,
    one: &Missing,
) -> Option<Envelope> {
    let checkpoint = standing.checkpoints.get(home(standing, &one.touched)?)?;
    let set = parked.get(&checkpoint.partition)?;
    let is_parked = set.of_key(&one.touched.tenant, &one.touched.id).is_some();
    let same_parked = set.version == checkpoint.parked_version;
    let allowed = standing.generation == current.generation
        && same_parked
        && !is_parked
        && one.mark.may_fill(checkpoint.position);
    allowed.then(|| Envelope {
        epoch: one.mark.epoch,
        as_of: ConsistencyToken::of(checkpoint.incarnation, checkpoint.address()),
        revision: standing.revision,
    })
}
