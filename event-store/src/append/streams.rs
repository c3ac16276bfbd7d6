//! The true versions of a batch's streams: from the window when it has them, else from what the
//! decider saw, and only for an entry older than the window's beginning, or a stream whose number
//! nobody here knows, by a read under the lock.

use events::{Partition, StreamId};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::candidate::{Candidate, KeyMap};
use super::columns::Columns;
use super::connection::LaneConnection;
use super::failure::Failure;
use super::judge::StreamState;
use super::window::{Change, Window};
use crate::key_hash::StreamKey;
use crate::known_streams::{KnownStream, KnownStreams};

/// The tails that other nodes wrote: their events, and the names of the streams they created (a
/// stream's number is the position of its first event, so a range of positions is also a range of
/// its primary key).
const READ_TAILS: &str = "
select moved.partition, tail.position, tail.stream_no, tail.sequence, tail.aggregate_type, tail.name
from unnest($1, $2, $3) as moved(partition, after, upto)
cross join lateral (
    select event.position, event.stream_no, event.sequence,
        null::text as aggregate_type, null::text as name
    from event_store.event
    where event.partition = moved.partition
        and event.position > moved.after and event.position <= moved.upto
    union all
    select stream.stream_no, stream.stream_no, 0, stream.aggregate_type, stream.name
    from event_store.stream
    where stream.partition = moved.partition
        and stream.stream_no > moved.after and stream.stream_no <= moved.upto
) as tail
order by moved.partition, tail.position, tail.sequence desc";

const LOOK_UP_STREAMS: &str = "
select asked.number, stream.stream_no, last.sequence, last.position
from unnest($1, $2, $3, $4) as asked(number, partition, aggregate_type, name)
join event_store.stream
    on stream.partition = asked.partition and stream.aggregate_type = asked.aggregate_type
    and stream.name = asked.name
cross join lateral (
    select event.sequence, event.position
    from event_store.event
    where event.partition = stream.partition and event.stream_no = stream.stream_no
    order by event.sequence desc
    limit 1
) as last";

/// A tail that a window misses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) partition: Partition,
    pub(super) after: i64,
    pub(super) upto: i64,
}

/// Brings the windows to the heads: one round trip. The positions are committed, so it may run
/// outside the lock, too.
pub(super) async fn read_tails(
    connection: &mut LaneConnection,
    windows: &mut [Option<Window>],
    tails: &[Tail],
) -> Result<(), Failure> {
    let arguments = Columns::of(tails)
        .int4(|tail| tail.partition.as_i32())?
        .int8(|tail| tail.after)?
        .int8(|tail| tail.upto)?
        .arguments();
    let rows = connection.rows(READ_TAILS, arguments).await?;
    for row in &rows {
        record(windows, row)?;
    }
    for tail in tails {
        let reached = windows[tail.partition.index()].as_ref().map(Window::end);
        if reached != Some(tail.upto) {
            return Err(Failure::Nonsense("a tail with a hole"));
        }
    }
    Ok(())
}

/// A creation comes right after its stream's first event: same position, lower sequence.
fn record(windows: &mut [Option<Window>], row: &PgRow) -> Result<(), Failure> {
    let partition: i32 = row.try_get(0)?;
    let window = usize::try_from(partition)
        .ok()
        .and_then(|index| windows.get_mut(index)?.as_mut());
    let window = window.ok_or(Failure::Nonsense("a tail of another partition"))?;
    let number = row.try_get(2)?;
    if let Some(aggregate_type) = row.try_get::<Option<&str>, _>(4)? {
        let home = Partition::try_from(partition).map_err(|_| Failure::Nonsense("a partition"))?;
        window.name(
            number,
            StreamKey::of_row(home, aggregate_type, row.try_get(5)?),
        );
    } else {
        let change = Change {
            version: row.try_get(3)?,
            position: row.try_get(1)?,
        };
        if change.position != window.end() + 1 {
            return Err(Failure::Nonsense("a tail with a hole"));
        }
        window.record(number, change, None);
    }
    Ok(())
}

/// What memory knows about the streams of a batch.
#[derive(Debug)]
pub(super) struct Memory<'a> {
    pub(super) incarnation: i32,
    pub(super) windows: &'a [Option<Window>],
    pub(super) known: &'a KnownStreams,
}

/// One stream as one entry mentions it.
#[derive(Clone, Copy, Debug)]
struct Mention<'a> {
    partition: Partition,
    stream: &'a StreamId,
    key: StreamKey,
    /// The version that the decider saw.
    seen: i64,
    /// The head at which it saw it.
    head: i64,
    /// Whether the answer needs the position of the stream's last event.
    answers: bool,
}

/// How surely a version is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    /// The window has it.
    Changed(StreamState),
    /// The decider saw it, and nothing has changed since.
    Seen(StreamState),
    /// Only the store knows.
    Ask,
}

/// The streams of a batch, resolved from memory; what only the store knows is asked in one round
/// trip.
pub(super) async fn resolve(
    connection: &mut LaneConnection,
    memory: &Memory<'_>,
    candidates: &[&Candidate],
) -> Result<KeyMap<StreamKey, StreamState>, Failure> {
    let mut truths: KeyMap<StreamKey, (Mention<'_>, Truth)> = KeyMap::default();
    for candidate in candidates {
        for mention in mentions(candidate) {
            let truth = memory.truth(&mention);
            let (_, known) = truths.entry(mention.key).or_insert((mention, truth));
            *known = known.agree(truth);
        }
    }
    let mut asked = Vec::new();
    let mut streams = KeyMap::default();
    streams.reserve(truths.len());
    for (key, (mention, truth)) in truths {
        match truth {
            Truth::Changed(state) | Truth::Seen(state) => drop(streams.insert(key, state)),
            Truth::Ask => asked.push(mention),
        }
    }
    if !asked.is_empty() {
        look_up(connection, memory, &asked, &mut streams).await?;
    }
    Ok(streams)
}

fn mentions(candidate: &Candidate) -> impl Iterator<Item = Mention<'_>> {
    let entry = &candidate.entry;
    let conditions = entry.conditions.iter();
    let conditions = conditions.map(|condition| (&condition.stream, condition.version));
    let writes = entry
        .writes
        .iter()
        .map(|write| (&write.stream, write.expected));
    let seen = candidate
        .streams
        .iter()
        .zip(conditions.chain(writes))
        .enumerate();
    seen.map(move |(index, (&key, (stream, seen)))| Mention {
        partition: entry.partition,
        stream,
        key,
        seen,
        head: entry.mark.head,
        answers: index == 0 && entry.writes.is_empty(),
    })
}

impl Truth {
    /// Two entries that saw different versions cannot both be right: the store decides.
    fn agree(self, other: Self) -> Self {
        match (self, other) {
            (Self::Changed(state), _) | (_, Self::Changed(state)) => Self::Changed(state),
            (Self::Seen(one), Self::Seen(two)) if one.version == two.version => {
                if one.position == 0 {
                    Self::Seen(two)
                } else {
                    Self::Seen(one)
                }
            }
            _ => Self::Ask,
        }
    }
}

impl Memory<'_> {
    fn truth(&self, mention: &Mention) -> Truth {
        let Some(window) = &self.windows[mention.partition.index()] else {
            return Truth::Ask;
        };
        let fresh = mention.head >= window.begin() && mention.head <= window.end();
        let known = self.known.get(self.incarnation, mention.key);
        let number = window
            .number(mention.key)
            .or(known.map(|known| known.number));
        let Some(number) = number else {
            let absent = fresh && mention.seen == 0;
            return if absent {
                Truth::Seen(StreamState::default())
            } else {
                Truth::Ask
            };
        };
        if let Some(Change { version, position }) = window.change(number) {
            return Truth::Changed(StreamState {
                number,
                version,
                position,
            });
        }
        let version = mention.seen;
        let at_version = known.filter(|known| known.version == version);
        let position = at_version.map_or(0, |known| known.position);
        if !fresh || version == 0 || (mention.answers && position == 0) {
            return Truth::Ask;
        }
        Truth::Seen(StreamState {
            number,
            version,
            position,
        })
    }
}

/// Reads what memory does not know. Under the lock this is the truth, and it is remembered: rows do
/// not lie.
async fn look_up(
    connection: &mut LaneConnection,
    memory: &Memory<'_>,
    asked: &[Mention<'_>],
    streams: &mut KeyMap<StreamKey, StreamState>,
) -> Result<(), Failure> {
    let numbered: Vec<_> = (0_i64..).zip(asked).collect();
    let arguments = Columns::of(&numbered)
        .int8(|(number, _)| *number)?
        .int4(|(_, mention)| mention.partition.as_i32())?
        .text(|(_, mention)| mention.stream.aggregate_type)?
        .name(|(_, mention)| mention.stream)?
        .arguments();
    streams.extend(
        asked
            .iter()
            .map(|mention| (mention.key, StreamState::default())),
    );
    for row in connection.rows(LOOK_UP_STREAMS, arguments).await? {
        let index = usize::try_from(row.try_get::<i64, _>(0)?);
        let mention = index.ok().and_then(|index| asked.get(index));
        let key = mention
            .ok_or(Failure::Nonsense("a stream that nobody asked for"))?
            .key;
        let (number, version, position) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        memory.known.learn(
            memory.incarnation,
            key,
            KnownStream {
                number,
                version,
                position,
            },
        );
        streams.insert(
            key,
            StreamState {
                number,
                version,
                position,
            },
        );
    }
    Ok(())
}
