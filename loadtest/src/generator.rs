//! The thread that begins operations at their times. It is a thread of its own because the
//! runtime's timer has a resolution of a millisecond, and because nothing but the clock may decide.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Handle;

use crate::arrivals::Arrivals;
use crate::flow;
use crate::run::{Choices, Running};

/// How long it sleeps at most before it looks at the interrupt.
const NAP_MAX: Duration = Duration::from_millis(100);
/// Makes the arrivals' random numbers others than the choices'.
const ARRIVALS: u64 = 0x6172_7269_7661_6c73;

/// Begins at `first`; the tasks are those of `running`, which hold its end open.
pub(crate) fn start(running: &Arc<Running>, first: Instant, mut arrivals: Arrivals) {
    let (running, runtime) = (Arc::clone(running), Handle::current());
    // The tracker stays open until the thread has begun everything.
    let open = running.tasks.token();
    let seed = running.plan.seed;
    let generate = move || {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ ARRIVALS);
        let mut choices = Choices::new(seed);
        loop {
            let intended = first + arrivals.next(&mut random);
            if !wait(&running, intended) {
                break;
            }
            let choice = choices.next(&running.world);
            let requests = running.world.scenario.flows[choice.flow].steps.len();
            running.recorder.due(intended, requests);
            if running.tasks.len() > running.plan.outstanding_max {
                flow::not_begun(&running, &choice, intended);
                continue;
            }
            let task = Arc::clone(&running);
            let begun = async move { flow::run(&task, choice, intended).await };
            running.tasks.spawn_on(begun, &runtime);
        }
        drop(open);
    };
    let thread = std::thread::Builder::new().name("arrivals".to_owned());
    thread
        .spawn(generate)
        .expect("a thread at the beginning of a run");
}

/// Sleeps until then; false when the run has ended.
fn wait(running: &Running, until: Instant) -> bool {
    loop {
        if running.ended(until) {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(NAP_MAX));
    }
}
