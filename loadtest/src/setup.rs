//! Registers the population before the load, and waits until all of it can be read: only then can
//! a missing account be called a violation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{Answer, NoAnswer};
use crate::crowd::VirtualUser;
use crate::operations::read_own::own;
use crate::operations::register::registration;
use crate::operations::{Begun, Fault};
use crate::run::World;

/// How long one account is tried for.
const EACH_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// Why the population is not there.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The server is not there, or says no.
    #[error("registering the population: {what} ({action} of {id})")]
    Refused {
        /// What was done.
        action: &'static str,
        /// For whom.
        id: String,
        /// What came back.
        what: String,
    },
    /// Nobody is there.
    #[error(
        "{url} cannot be reached; does a Runnel run there? --command-url and --query-url say where"
    )]
    Unreachable {
        /// The address that was tried.
        url: String,
        /// Why.
        #[source]
        source: NoAnswer,
    },
    /// Something else is there.
    #[error(
        "there is no {action} at {url} (404 {code}); --command-url and --query-url say where the \
         APIs are"
    )]
    Elsewhere {
        /// What was tried.
        action: &'static str,
        /// The address.
        url: String,
        /// The problem's code, if it is one.
        code: String,
    },
    /// Ctrl-C.
    #[error("interrupted while the population was registered")]
    Interrupted,
}

/// Registers everybody, `at_once` at the same time.
///
/// # Errors
/// [`SetupError`].
pub async fn run(world: &Arc<World>, at_once: usize) -> Result<(), SetupError> {
    let (slots, mut tasks) = (Arc::new(Semaphore::new(at_once)), JoinSet::new());
    for user in world.crowd.users() {
        let (world, user, slots) = (Arc::clone(world), Arc::clone(user), Arc::clone(&slots));
        tasks.spawn(async move {
            // A semaphore that nobody closes.
            let _slot = slots.acquire().await;
            settle(&world, &user).await
        });
    }
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            ended.expect("a task that nobody aborts and that does not panic")?;
        }
        Ok(())
    };
    tokio::select! {
        result = all => result,
        () = world.interrupt.cancelled() => Err(SetupError::Interrupted),
    }
}

/// Registers one, and reads it with the token of its registration. A user of an earlier load is
/// there already; it is read as it is.
async fn settle(world: &World, user: &Arc<VirtualUser>) -> Result<(), SetupError> {
    attempt(
        world,
        user,
        "registration",
        || registration(&world.crowd, user),
        &[409],
    )
    .await?;
    attempt(world, user, "reading", || own(&world.crowd, user), &[]).await
}

/// Tries until it is done; what passes by itself (not projected yet, rate limits, 503) is waited
/// for, and what does not is an error.
async fn attempt(
    world: &World,
    user: &VirtualUser,
    action: &'static str,
    begin: impl Fn() -> Begun,
    also: &[u16],
) -> Result<(), SetupError> {
    let deadline = Instant::now() + EACH_WITHIN;
    loop {
        let begun = begin();
        let answer = world.client.send(&begun.request).await.answer;
        let url = || world.client.base(begun.request.api).to_owned();
        if let Err(source @ NoAnswer::Connect(_)) = answer {
            return Err(SetupError::Unreachable { url: url(), source });
        }
        if let Some(code) = foreign_404(&answer) {
            let url = url();
            return Err(SetupError::Elsewhere { action, url, code });
        }
        let what = match &answer {
            Ok(answer) if also.contains(&answer.status) => return Ok(()),
            Ok(answer) => match (begun.judge)(answer) {
                Ok(_) => return Ok(()),
                Err(fault) => words(fault),
            },
            Err(no_answer) => no_answer.to_string(),
        };
        if !passes(&answer) || Instant::now() > deadline {
            let id = user.id.clone();
            return Err(SetupError::Refused { action, id, what });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether it is worth trying again.
fn passes(answer: &Result<Answer, NoAnswer>) -> bool {
    match answer {
        // 404: registered by an earlier load, and not projected yet.
        Ok(answer) => matches!(answer.status, 404 | 429 | 503),
        Err(NoAnswer::Timeout | NoAnswer::Broken(_)) => true,
        Err(_) => false,
    }
}

/// The code of a 404 that does not speak of users: it is of a wrong address.
fn foreign_404(answer: &Result<Answer, NoAnswer>) -> Option<String> {
    let answer = answer.as_ref().ok().filter(|answer| answer.status == 404)?;
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or("without a code");
    (code != "user_not_found").then(|| code.to_owned())
}

fn words(fault: Fault) -> String {
    match fault {
        Fault::Error { kind, example } => format!("{kind}: {example}"),
        Fault::Violation { rule, example } => format!("{rule}: {example}"),
    }
}
