//! A flow from its first operation to its last: each is sent, judged and recorded. It ends early
//! when an operation fails, because the next ones mean nothing then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1};

use crate::client::Exchange;
use crate::crowd::VirtualUser;
use crate::operations::{Begun, Effect, Fault, Operation, Turn};
use crate::recorder::{GIVEN_UP, Record, Status};
use crate::run::{Choice, Running};

/// Runs it; its first operation was to start at `intended`. Each later one is due when the one
/// before is answered and the user has thought.
pub(crate) async fn run(running: &Arc<Running>, choice: Choice, intended: Instant) {
    let mut random = ChaCha8Rng::seed_from_u64(choice.seed);
    let (mut user, mut intended) = (choice.user, intended);
    let flow = &running.world.scenario.flows[choice.flow];
    for (index, step) in flow.steps.iter().enumerate() {
        if index > 0 {
            intended += pause(flow.think_time, &mut random);
            if running.ended(intended) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(intended.into()) => {}
                () = running.world.interrupt.cancelled() => return,
            }
        }
        let lateness = Instant::now().saturating_duration_since(intended);
        let late_after = running.plan.late_after;
        running.recorder.begun(intended, lateness, late_after);
        let begun = begin(running, *step, &mut user, &mut random);
        match exchange(running, *step, begun, intended).await {
            Some(done) => intended = done,
            None => return,
        }
    }
}

/// The pause of somebody who reads and thinks.
fn pause(mean: Duration, random: &mut ChaCha8Rng) -> Duration {
    let factor: f64 = Exp1.sample(random);
    mean.mul_f64(factor)
}

fn begin(
    running: &Running,
    step: &dyn Operation,
    user: &mut Arc<VirtualUser>,
    random: &mut ChaCha8Rng,
) -> Begun {
    let scenario = &running.world.scenario;
    let mut turn = Turn {
        crowd: &running.world.crowd,
        user: Arc::clone(user),
        keys: scenario.population.keys,
        idempotency_keys: scenario.idempotency_keys,
        random,
    };
    let begun = step.begin(&mut turn);
    *user = turn.user;
    begun
}

/// Sends, judges and records; when it was done, or nothing when the flow cannot go on.
async fn exchange(
    running: &Arc<Running>,
    step: &dyn Operation,
    begun: Begun,
    intended: Instant,
) -> Option<Instant> {
    let sent = tokio::select! {
        exchange = running.world.client.send(&begun.request) => Some(exchange),
        () = running.give_up.cancelled() => None,
    };
    let Some(Exchange {
        answer,
        waited,
        done,
    }) = sent
    else {
        let fault = error(GIVEN_UP, "was not answered before the end of the run");
        running.ended_with(step, intended, true, Status::None(GIVEN_UP), Some(fault));
        return None;
    };
    let (status, fault) = match answer {
        Ok(answer) => {
            let judged = (begun.judge)(&answer);
            if let Ok(Effect::Written(user, version)) = &judged
                && running.recorder.phase().contains(done)
            {
                running.watcher.follow(running, user, *version, done);
            }
            (Status::Http(answer.status), judged.err())
        }
        Err(no_answer) => {
            let example = chain(&no_answer);
            let status = Status::None(no_answer.kind());
            (status, Some(error(no_answer.kind(), &example)))
        }
    };
    let goes_on = fault.is_none().then_some(done);
    running.recorder.record(Record {
        operation: running.index_of(step),
        intended,
        done,
        waited,
        status,
        fault,
    });
    goes_on
}

/// A flow that was not even begun, because too many are waiting.
pub(crate) fn not_begun(running: &Running, choice: &Choice, intended: Instant) {
    let step = running.world.scenario.flows[choice.flow].steps[0];
    let fault = error(
        "not_sent",
        "too many requests were waiting for their answers",
    );
    running.ended_with(step, intended, true, Status::None("not_sent"), Some(fault));
}

impl Running {
    fn ended_with(
        &self,
        step: &dyn Operation,
        intended: Instant,
        waited: bool,
        status: Status,
        fault: Option<Fault>,
    ) {
        self.recorder.record(Record {
            operation: self.index_of(step),
            intended,
            done: Instant::now(),
            waited,
            status,
            fault,
        });
    }

    fn index_of(&self, step: &dyn Operation) -> usize {
        let index = self.names.iter().position(|known| *known == step.name());
        index.expect("a step is one of its scenario's operations")
    }
}

fn error(kind: &str, example: &str) -> Fault {
    Fault::Error {
        kind: kind.to_owned(),
        example: example.to_owned(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
