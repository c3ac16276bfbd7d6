//! Tells poison, which parks its key, from trouble that passes, and finds the poison in a batch.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;

use events::{RecordedEvent, TenantId};
use futures_util::FutureExt;
use read_model::projection::{ApplyError, Effects, Projection, Target};
use sqlx::{Executor as _, PgConnection};

use super::parked::{ParkedEvent, Reason};

/// The unit of order, and of parking.
pub(crate) type Key = (TenantId, String);

/// The key that an event is ordered by.
pub(crate) fn key_of(event: &RecordedEvent) -> Key {
    (event.tenant.clone(), event.routing_key.clone())
}

/// Why a batch was not applied.
#[derive(Debug)]
pub(crate) enum ApplyFailure {
    /// An event of the batch can never be applied as it is.
    Poison { reason: Reason, detail: String },
    /// The database is in trouble; the same batch is tried again.
    Passing(sqlx::Error),
}

/// Applies a batch; a panic is caught here and is poison.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    target: Target,
    events: &[RecordedEvent],
) -> Result<Effects, ApplyFailure> {
    if events.is_empty() {
        return Ok(Effects::default());
    }
    let applying = AssertUnwindSafe(projection.apply(connection, target, events));
    match applying.catch_unwind().await {
        Ok(Ok(effects)) => Ok(effects),
        Ok(Err(error)) => Err(classify(error)),
        // The panic's own text may quote the event, so it is left to the panic hook.
        Err(_) => Err(ApplyFailure::Poison {
            reason: Reason::Panic,
            detail: "apply panicked".to_owned(),
        }),
    }
}

fn classify(error: ApplyError) -> ApplyFailure {
    match error {
        ApplyError::Decode { source, .. } => ApplyFailure::Poison {
            reason: if source.is_unknown_version() {
                Reason::UnknownVersion
            } else {
                Reason::Malformed
            },
            detail: source.to_string(),
        },
        ApplyError::Fold { reason, .. } => ApplyFailure::Poison {
            reason: Reason::Fold,
            detail: reason.to_owned(),
        },
        ApplyError::Database(error) => match poisonous(&error) {
            Some(detail) => ApplyFailure::Poison {
                reason: Reason::Database,
                detail,
            },
            None => ApplyFailure::Passing(error),
        },
    }
}

/// What a data exception (22), an integrity violation (23) or a program limit (54) says about
/// itself, without its message, which quotes values. Nothing for every other error.
fn poisonous(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?;
    let code = error.code()?;
    let poison = ["22", "23", "54"]
        .iter()
        .any(|class| code.starts_with(class));
    poison.then(|| {
        let place = [error.table(), error.constraint()].into_iter().flatten();
        let place: Vec<_> = place.collect();
        format!("SQLSTATE {code} {}", place.join(" "))
            .trim_end()
            .to_owned()
    })
}

/// What a batch with poison in it came to.
#[derive(Debug, Default)]
pub(crate) struct Sifted {
    pub(crate) effects: Effects,
    /// The poison and what waits behind it, by position.
    pub(crate) parked: Vec<ParkedEvent>,
}

/// Applies what can be applied and finds what cannot, by halving: first by key, then within a key.
/// Each attempt runs in a savepoint of the caller's transaction, so that what was applied stays and
/// the order within a key is kept.
pub(crate) async fn sift(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    target: Target,
    events: &[RecordedEvent],
) -> Result<Sifted, sqlx::Error> {
    let mut sifted = Sifted::default();
    let mut poisoned: BTreeSet<Key> = BTreeSet::new();
    let mut todo = vec![events.to_vec()];
    run(connection, "set constraints all immediate").await?;
    while let Some(events) = todo.pop() {
        let (behind, events): (Vec<_>, Vec<_>) = events
            .into_iter()
            .partition(|event| poisoned.contains(&key_of(event)));
        sifted.parked.extend(behind.iter().map(ParkedEvent::behind));
        run(connection, "savepoint attempt").await?;
        match apply(connection, projection, target, &events).await {
            Ok(effects) => {
                run(connection, "release savepoint attempt").await?;
                sifted.effects.rows += effects.rows;
                sifted.effects.touched.extend(effects.touched);
                sifted.effects.written.extend(effects.written);
            }
            Err(ApplyFailure::Passing(error)) => return Err(error),
            Err(ApplyFailure::Poison { reason, detail }) => {
                run(connection, "rollback to savepoint attempt").await?;
                run(connection, "release savepoint attempt").await?;
                if let [event] = events.as_slice() {
                    poisoned.insert(key_of(event));
                    sifted
                        .parked
                        .push(ParkedEvent::poison(event, reason, detail));
                } else {
                    let (first, second) = halve(events);
                    todo.push(second);
                    todo.push(first);
                }
            }
        }
    }
    sifted.parked.sort_by_key(|parked| parked.position);
    Ok(sifted)
}

async fn run(connection: &mut PgConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    connection.execute(statement).await?;
    Ok(())
}

/// Two halves by key, or by position when there is one key only; neither is empty.
fn halve(events: Vec<RecordedEvent>) -> (Vec<RecordedEvent>, Vec<RecordedEvent>) {
    let keys: BTreeSet<Key> = events.iter().map(key_of).collect();
    if keys.len() == 1 {
        let mut first = events;
        let second = first.split_off(first.len() / 2);
        return (first, second);
    }
    let first_keys: BTreeSet<Key> = keys.iter().take(keys.len() / 2).cloned().collect();
    events
        .into_iter()
        .partition(|event| first_keys.contains(&key_of(event)))
}
