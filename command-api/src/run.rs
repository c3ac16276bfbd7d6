//! How a command runs: to its end, in a task of its own, whatever becomes of the request that
//! brought it.
//!
//! actix-web drops a running handler when the client resets its connection. So the handler only
//! waits for the task; the task holds the idempotency key, decides, appends and counts. Shutting
//! down waits for the tasks.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{Command, Decision};
use event_store::aggregates::{Executed, Presence, Ruling, Seen, Target};
use event_store::entry::{Answer, Claim, KeyedOutcome, OutcomeKey, StoredOutcome};
use events::user_fields::EmailKey;
use events::{Metadata, Scope};
use platform::http::{IfMatch, Problem, ProblemCode};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::code::CommandCode;
use crate::failure::Failure;
use crate::metrics::{self, Ending};
use crate::reply::Reply;
use crate::service::{Hosted, Service};

/// The kind of the claim on an e-mail address.
const EMAIL: &str = "email";

/// When to come back after a 503.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A command that was parsed and allowed.
pub(crate) struct Invocation<C> {
    pub(crate) scope: Scope,
    pub(crate) id: Uuid,
    pub(crate) presence: Presence,
    pub(crate) command: C,
    pub(crate) if_match: Option<IfMatch>,
    pub(crate) metadata: Metadata,
    pub(crate) key: Option<Key>,
    /// The status of success.
    pub(crate) success: u16,
}

/// An idempotency key, and the fingerprint of the request that carries it.
pub(crate) struct Key {
    pub(crate) key: OutcomeKey,
    pub(crate) fingerprint: [u8; 32],
}

/// Runs a command in a task of its own and waits for it until the deadline.
pub(crate) async fn run<A, C>(
    service: &Service,
    invocation: Invocation<C>,
) -> Result<Reply, Problem>
where
    A: Hosted,
    C: Command<State = A, Event = A::Event> + Send + Sync + 'static,
{
    let task = to_the_end::<A, C>(service.clone(), invocation).in_current_span();
    let task = service.tasks().spawn_on(task, service.runtime());
    match tokio::time::timeout(service.deadline(), task).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(failed)) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        // The time is up, or the runtime is going down and has dropped the task.
        Ok(Err(_)) | Err(_) => {
            Err(Problem::new(CommandCode::OutcomeUnknown).retry_after(RETRY_AFTER))
        }
    }
}

async fn to_the_end<A, C>(service: Service, invocation: Invocation<C>) -> Result<Reply, Problem>
where
    A: Hosted,
    C: Command<State = A, Event = A::Event> + Send + Sync,
{
    let (answer, ending) = match on_a_live_session::<A, C>(&service, &invocation).await {
        Ok((reply, ending)) => (Ok(reply), ending),
        Err(failure) => (Err(failure.tell(C::NAME)), failure.ending()),
    };
    metrics::count(C::NAME, ending);
    answer
}

type Ended = Result<(Reply, Ending), Failure>;

/// After PostgreSQL was restarted the first statement on each idle session fails. Each attempt uses
/// up one of them, so as many as the pool holds are enough.
async fn on_a_live_session<A, C>(service: &Service, invocation: &Invocation<C>) -> Ended
where
    A: Hosted,
    C: Command<State = A, Event = A::Event> + Send + Sync,
{
    let sessions_max = service.store().pool().options().get_max_connections();
    for _ in 0..sessions_max {
        match under_its_key::<A, C>(service, invocation).await {
            Err(failure) if failure.met_an_ended_session() => {}
            ended => return ended,
        }
    }
    under_its_key::<A, C>(service, invocation).await
}

/// Looks the key up before deciding; the append does so again under its lock.
async fn under_its_key<A, C>(service: &Service, invocation: &Invocation<C>) -> Ended
where
    A: Hosted,
    C: Command<State = A, Event = A::Event> + Send + Sync,
{
    let Some(Key { key, fingerprint }) = &invocation.key else {
        return decided::<A, C>(service, invocation).await;
    };
    let Some(_in_flight) = service.in_flight().begin(&invocation.scope.tenant, key) else {
        let reply = Reply::refused(CommandCode::RequestInFlight);
        return Ok((reply, Ending::KeyConflict));
    };
    match service.store().find_outcome(&invocation.scope, key).await? {
        None => decided::<A, C>(service, invocation).await,
        Some((known, outcome)) if known == *fingerprint => replayed(&outcome),
        Some(_) => Ok((Reply::refused(CommandCode::KeyReused), Ending::KeyConflict)),
    }
}

/// Decides and appends.
async fn decided<A, C>(service: &Service, invocation: &Invocation<C>) -> Ended
where
    A: Hosted,
    C: Command<State = A, Event = A::Event> + Send + Sync,
{
    let stream = A::stream(&invocation.scope.tenant, invocation.id);
    let target = Target {
        scope: &invocation.scope,
        stream: &stream,
        presence: invocation.presence,
    };
    let executed = A::aggregates(service)
        .execute(target, &invocation.metadata, |seen, now| {
            rule(invocation, seen, now)
        })
        .await?;
    Ok(match executed {
        Executed::Taken {
            answer: Ruled::Refused(code),
            version,
            token,
        } => (
            Reply::refused_at(code, version).with_token(token.to_string()),
            Ending::Refused,
        ),
        Executed::Taken {
            answer: Ruled::Done { changed },
            version,
            token,
        } => {
            let ending = if changed {
                Ending::Appended
            } else {
                Ending::Unchanged
            };
            let id = invocation.id.to_string();
            (
                Reply::done(invocation.success, id, version, token.to_string()),
                ending,
            )
        }
        Executed::Duplicate(outcome) => return replayed(&outcome),
        Executed::KeyReused => (Reply::refused(CommandCode::KeyReused), Ending::KeyConflict),
        Executed::ClaimTaken { kind: EMAIL } => {
            (Reply::refused(CommandCode::EmailTaken), Ending::Refused)
        }
        Executed::ClaimTaken { kind } => return Err(Failure::UnknownClaim(kind)),
        Executed::IdTaken => (Reply::refused(CommandCode::IdTaken), Ending::Refused),
    })
}

fn replayed(outcome: &StoredOutcome) -> Ended {
    Ok((
        Reply::replayed(outcome).ok_or(Failure::UnknownOutcome)?,
        Ending::Replayed,
    ))
}

/// What a ruling means to the client, once it is taken.
enum Ruled {
    Done { changed: bool },
    Refused(CommandCode),
}

/// The decision on one state: the command's own rule first, then the client's condition (RFC 9110,
/// 13.2.1: a precondition counts only where the request would have succeeded without it).
fn rule<A, C>(
    invocation: &Invocation<C>,
    seen: Seen<'_, A>,
    now: DateTime<Utc>,
) -> Ruling<C::Event, Ruled>
where
    C: Command<State = A>,
{
    let decision = match invocation.command.decide(seen.state, now) {
        Ok(decision) if is_met(invocation.if_match, &seen) => Ok(decision),
        Ok(_) => Err(CommandCode::VersionMismatch),
        Err(refusal) => Err(CommandCode::from(refusal)),
    };
    match decision {
        Ok(Decision {
            events,
            take,
            release,
        }) => Ruling {
            answer: Ruled::Done {
                changed: !events.is_empty(),
            },
            events,
            take: claims(invocation, take),
            release: claims(invocation, release),
            outcome: outcome(invocation, None),
        },
        Err(code) => Ruling {
            answer: Ruled::Refused(code),
            events: vec![],
            take: vec![],
            release: vec![],
            outcome: outcome(invocation, Some(code)),
        },
    }
}

/// A tag is of the history that its incarnation had. That version is still the one that is there
/// when no later incarnation wrote it: then both histories share it. An incarnation that never was
/// has no history.
fn is_met<A>(condition: Option<IfMatch>, seen: &Seen<'_, A>) -> bool {
    match condition {
        None => true,
        Some(IfMatch::Any) => seen.version > 0,
        Some(IfMatch::Version {
            version,
            incarnation,
        }) => {
            let shared = (seen.written_in..=seen.incarnation).contains(&incarnation);
            seen.version > 0 && seen.version == version && shared
        }
    }
}

fn claims<C>(invocation: &Invocation<C>, keys: Vec<EmailKey>) -> Vec<Claim> {
    let claim = |EmailKey { hash, key_version }| Claim {
        kind: EMAIL,
        key_hash: hash,
        key_version,
        owner: invocation.id.to_string(),
    };
    keys.into_iter().map(claim).collect()
}

fn outcome<C>(invocation: &Invocation<C>, refused: Option<CommandCode>) -> Option<KeyedOutcome> {
    let Key { key, fingerprint } = invocation.key.as_ref()?;
    let done = || Answer {
        status: invocation.success,
        code: None,
        id: Some(invocation.id.to_string()),
    };
    Some(KeyedOutcome {
        key: key.clone(),
        fingerprint: *fingerprint,
        decided: refused.map_or_else(done, refusal),
        claim_taken: refusal(CommandCode::EmailTaken),
        id_taken: refusal(CommandCode::IdTaken),
    })
}

fn refusal(code: CommandCode) -> Answer {
    Answer {
        status: code.status().as_u16(),
        code: Some(code.code()),
        id: None,
    }
}
