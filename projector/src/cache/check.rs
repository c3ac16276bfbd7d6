//! `projector cache check`: every value in Redis against its row. A value that is behind, as it may
//! be for a moment, is looked at again; a value that is older than what `applied` vouches for, or
//! another's, or just different, is wrong.

use std::collections::HashMap;
use std::time::Duration;

use events::{Partition, PartitionCount};
use platform::redis_client::Answer;
use read_model::cache::commands::{self, LookedUp};
use read_model::cache::{CachedRow, Mark, Opened, ValueKey, envelope};
use read_model::checkpoint::Standing;
use read_model::projection::Touched;
use serde::Serialize;

use super::tools::{Current, ToolError, Tools, believed};

/// Values that are compared at once.
const PAGE: usize = 200;
/// How often a value that is behind is looked at again.
const LOOKS_MAX: u32 = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Wrong values that are named; all are counted.
const NAMED_MAX: usize = 100;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Values that equal their rows.
    pub right: u64,
    /// Values that nobody is shown, because nothing vouches for them.
    pub cold: u64,
    /// Values that left while they were looked at.
    pub gone: u64,
    /// Values that stayed behind, as `applied` says, too: the writer is slow, not wrong.
    pub behind: u64,
    /// Values that are wrong.
    pub wrong: u64,
    /// The first of them.
    pub named: Vec<Wrong>,
}

/// A wrong value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// Its key.
    pub key: String,
    /// What is wrong.
    pub why: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    Cold,
    Gone,
    Behind,
    Wrong(&'static str),
}

type Item = (ValueKey, Touched);

/// Compares all values, or at least `sample` of them, with their rows.
///
/// # Errors
/// [`ToolError`].
pub async fn check(tools: &Tools, sample: Option<u64>) -> Result<Checked, ToolError> {
    let mut checked = Checked::default();
    for current in tools.current().await? {
        let mut looked_at: u64 = 0;
        let mut cursor = 0;
        loop {
            let (next, found) = tools.walk(cursor, None).await?;
            let items: Vec<Item> = found
                .iter()
                .filter_map(|text| item(tools, &current, text))
                .collect();
            for items in items.chunks(PAGE) {
                looked_at += items.len() as u64;
                compare(tools, &current, items.to_vec(), &mut checked).await?;
            }
            cursor = next;
            if cursor == 0 || sample.is_some_and(|sample| looked_at >= sample) {
                break;
            }
        }
    }
    Ok(checked)
}

/// A key that readers of this view would ask for now.
fn item(tools: &Tools, current: &Current, text: &str) -> Option<Item> {
    let (key, parts) = ValueKey::parse(&tools.target.namespace, text)?;
    let is_current = key == current.keys.value(&parts.tenant, &parts.owner, &parts.id)
        && parts.view == current.projection.name();
    is_current.then_some((
        key,
        Touched {
            tenant: parts.tenant,
            id: parts.id,
        },
    ))
}

async fn compare(
    tools: &Tools,
    current: &Current,
    mut items: Vec<Item>,
    checked: &mut Checked,
) -> Result<(), ToolError> {
    for look in 1.. {
        let verdicts = judge_all(tools, current, &items).await?;
        let mut again = Vec::new();
        for (item, verdict) in items.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Right => checked.right += 1,
                Verdict::Cold => checked.cold += 1,
                Verdict::Gone => checked.gone += 1,
                Verdict::Behind if look < LOOKS_MAX => again.push(item),
                Verdict::Behind => checked.behind += 1,
                Verdict::Wrong(why) => {
                    checked.wrong += 1;
                    if checked.named.len() < NAMED_MAX {
                        let key = item.0.to_string();
                        checked.named.push(Wrong { key, why });
                    }
                }
            }
        }
        if again.is_empty() {
            return Ok(());
        }
        items = again;
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// The rows first, then `applied`, then the values: so what `applied` vouches for is in the values.
async fn judge_all(
    tools: &Tools,
    current: &Current,
    items: &[Item],
) -> Result<Vec<Verdict>, ToolError> {
    let ids: Vec<Touched> = items.iter().map(|(_, touched)| touched.clone()).collect();
    let mut connection = tools.pool.acquire().await?;
    let reading = current.cached.read(&mut connection, &ids).await?;
    drop(connection);
    let standing = reading.filter(|(standing, _)| standing.generation == current.generation);
    let Some((standing, rows)) = standing else {
        // Another generation is served meanwhile: these values are nobody's any more.
        return Ok(vec![Verdict::Gone; items.len()]);
    };
    let rows: HashMap<_, _> = rows.into_iter().collect();
    let partitions: Vec<Partition> = standing
        .checkpoints
        .iter()
        .map(|one| one.partition)
        .collect();
    let applied: Vec<String> = partitions
        .iter()
        .map(|one| current.keys.applied(*one))
        .collect();
    let keys: Vec<ValueKey> = items.iter().map(|(key, _)| key.clone()).collect();
    let answer: Answer<LookedUp> = tools.call(&commands::look_up(&applied, &keys)).await?;
    let (texts, values) = answer.value;
    let marks = believed(texts, &answer.run_id);
    let judged = items.iter().zip(values).map(|((key, touched), value)| {
        let at = home(&standing, touched);
        let mark = at.and_then(|at| marks.get(at)?.as_ref());
        let checkpoint = at.and_then(|at| standing.checkpoints.get(at));
        let checkpoint = checkpoint.map_or(0, |one| one.position);
        let row = rows.get(touched).map(AsRef::as_ref);
        judge(current, key, value.as_deref(), mark, row, checkpoint)
    });
    Ok(judged.collect())
}

/// The index of the partition that a row is homed in: its id is its routing key.
pub(super) fn home(standing: &Standing, touched: &Touched) -> Option<usize> {
    let count = u16::try_from(standing.checkpoints.len()).ok()?;
    let partition = PartitionCount::new(count)?.partition_of(&touched.tenant, &touched.id);
    standing
        .checkpoints
        .iter()
        .position(|one| one.partition == partition)
}

fn judge(
    current: &Current,
    key: &ValueKey,
    value: Option<&[u8]>,
    mark: Option<&Mark>,
    row: Option<&dyn CachedRow>,
    checkpoint: i64,
) -> Verdict {
    let Some(value) = value else {
        return Verdict::Gone;
    };
    match envelope::split(value) {
        None => return Verdict::Wrong("it is no value"),
        Some((_, of, _)) if of != key.as_str() => return Verdict::Wrong("it is another key's"),
        Some(_) => {}
    }
    let Some(mark) = mark else {
        return Verdict::Cold;
    };
    let (envelope, body) = match envelope::open(key, mark.epoch, value) {
        Opened::Value(envelope, body) => (envelope, body),
        Opened::Cold => return Verdict::Cold,
        Opened::Foreign => return Verdict::Wrong("it is foreign"),
    };
    let as_of = envelope.as_of.entries().iter();
    let is_above = as_of.map(|one| one.address.position).max() > Some(checkpoint);
    let Some(version) = current.cached.version_of(body) else {
        return Verdict::Wrong("its body cannot be read");
    };
    let Some(row) = row else {
        let excused = is_above || mark.position < checkpoint;
        return if excused {
            Verdict::Behind
        } else {
            Verdict::Wrong("there is no such row")
        };
    };
    if version == row.version() {
        return if body == row.body() {
            Verdict::Right
        } else {
            Verdict::Wrong("it differs from its row")
        };
    }
    if version > row.version() {
        // The row was read first and may have moved on.
        return if is_above {
            Verdict::Behind
        } else {
            Verdict::Wrong("it is ahead of its row")
        };
    }
    if mark.position < checkpoint {
        Verdict::Behind
    } else {
        Verdict::Wrong("it is older than `applied` says")
    }
}
