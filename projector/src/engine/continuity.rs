//! Makes a source's stretch continue a cursor: `position == last + 1`, always. What is lower is a
//! duplicate and is dropped; what is higher leaves a hole, which is filled from the store.

use events::{Partition, RecordedEvent};

use super::source::{Ask, Source, SourceError};

/// A dense run of events from a cursor on, and what it took to get it.
#[derive(Debug, Default)]
pub(crate) struct Continued {
    /// Events at `after + 1`, `after + 2` …
    pub(crate) events: Vec<RecordedEvent>,
    pub(crate) duplicates_dropped: u64,
    pub(crate) holes_filled: u64,
}

/// Why a stretch could not be made dense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContinuityError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "the store has no event at {partition}:{position}, which the source has already passed"
    )]
    NotInStore { partition: Partition, position: i64 },
    #[error("the source gave an event of partition {foreign} for partition {partition}")]
    Foreign {
        partition: Partition,
        foreign: Partition,
    },
}

/// The part of `yielded` that continues the cursor, holes filled from `store`.
pub(crate) async fn continue_from(
    ask: &Ask,
    yielded: Vec<RecordedEvent>,
    store: &dyn Source,
) -> Result<Continued, ContinuityError> {
    let mut continued = Continued::default();
    let (partition, mut last) = (ask.partition, ask.after);
    for event in yielded {
        let address = event.address;
        if address.partition != partition {
            return Err(ContinuityError::Foreign {
                partition,
                foreign: address.partition,
            });
        }
        if address.position <= last {
            continued.duplicates_dropped += 1;
            continue;
        }
        if address.position > last + 1 {
            let filling = fill(ask, last, address.position, store).await?;
            continued.events.extend(filling);
            continued.holes_filled += 1;
        }
        last = address.position;
        continued.events.push(event);
    }
    Ok(continued)
}

/// The events between `last` and `next`, both exclusive.
async fn fill(
    ask: &Ask,
    last: i64,
    next: i64,
    store: &dyn Source,
) -> Result<Vec<RecordedEvent>, ContinuityError> {
    let partition = ask.partition;
    let mut filling: Vec<RecordedEvent> = Vec::new();
    let mut at = last;
    while at + 1 < next {
        let missing = Ask {
            after: at,
            limit: usize::try_from(next - at - 1).unwrap_or(usize::MAX),
            ..ask.clone()
        };
        let stretch = store.read(missing).await?;
        let absent = ContinuityError::NotInStore {
            partition,
            position: at + 1,
        };
        let before = at;
        for event in stretch.events {
            let position = event.address.position;
            if position >= next {
                break;
            }
            if position != at + 1 {
                return Err(absent);
            }
            at = position;
            filling.push(event);
        }
        if at == before {
            return Err(absent);
        }
    }
    Ok(filling)
}
