//! What is in Redis, read by the documents of the cache's contract: a value is a line of five words
//! (layout, epoch, `as_of`, revision, key) and the row; `applied` is epoch, position and run.

use std::collections::BTreeSet;

use anyhow::Context as _;
use chaos::history::CachedLine;
use events::ConsistencyToken;
use redis::AsyncCommands as _;

const VIEW: &str = ":user_view:";
const APPLIED: &str = ":applied:user_view:";
const LEASE: &str = ":lease";

/// FLUSHALL.
///
/// # Panics
/// When Redis does not answer.
pub(super) async fn flush(url: &str) {
    let client = redis::Client::open(url).expect("the script's URL");
    let connection = client.get_multiplexed_async_connection().await;
    let mut connection = connection.expect("a running Redis");
    let flushed: redis::RedisResult<()> = connection.flushall().await;
    flushed.expect("a flushed Redis");
}

/// Every value of a user.
pub(super) async fn dump(url: &str) -> anyhow::Result<Vec<CachedLine>> {
    let mut connection = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    let keys: Vec<String> = connection.keys("runnel:*").await?;
    let mut epochs = BTreeSet::new();
    for key in keys.iter().filter(|key| key.contains(APPLIED)) {
        let mark: Option<String> = connection.get(key).await?;
        let (_, rest) = key.split_once(APPLIED).context("an applied key")?;
        let partition = rest.split(':').next().unwrap_or_default().to_owned();
        let epoch = mark.and_then(|mark| mark.split(' ').next().map(str::to_owned));
        epochs.extend(epoch.map(|epoch| (partition, epoch)));
    }
    let mut lines = vec![];
    let is_value = |key: &&String| key.contains("}:user_view:") && !key.ends_with(LEASE);
    for key in keys.iter().filter(is_value) {
        let value: Option<Vec<u8>> = connection.get(key).await?;
        // It may have expired since the keys were listed.
        if let Some(value) = value {
            let line = line(key, &value, &epochs);
            lines.push(line.with_context(|| format!("the value of {key} cannot be read"))?);
        }
    }
    Ok(lines)
}

fn line(key: &str, value: &[u8], epochs: &BTreeSet<(String, String)>) -> Option<CachedLine> {
    let (_, rest) = key.split_once('{')?;
    let (tag, rest) = rest.split_once('}')?;
    let id = rest.strip_prefix(VIEW)?.split(':').next()?.to_owned();
    let end = value.iter().position(|byte| *byte == b'\n')?;
    let mut words = std::str::from_utf8(&value[..end]).ok()?.split(' ').skip(1);
    let (epoch, as_of) = (words.next()?, words.next()?);
    let token: ConsistencyToken = as_of.parse().ok()?;
    let mut entries = token.entries().iter();
    let is_live = entries.any(|entry| {
        let partition = entry.address.partition.to_string();
        epochs.contains(&(partition, epoch.to_owned()))
    });
    Some(CachedLine {
        key: key.to_owned(),
        tenant: tag.split_once(':')?.0.to_owned(),
        id,
        as_of: as_of.to_owned(),
        is_live,
        body: serde_json::from_slice(&value[end + 1..]).ok()?,
    })
}
