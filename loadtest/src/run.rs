//! One run: warm-up, measured phase, drain. Open loop means that the generator's thread alone
//! decides when an operation begins; nothing that a server does can delay it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::arrivals::{Arrivals, Spacing};
use crate::client::Client;
use crate::crowd::{Crowd, VirtualUser};
use crate::figures::{self, Frame};
use crate::flow;
use crate::generator;
use crate::progress::Progress;
use crate::recorder::{Phase, Recorder};
use crate::report::Run;
use crate::scenario::Scenario;
use crate::servers::Scraper;
use crate::watcher::{SEEN_WITHIN, Watcher};

/// Between the decision to begin and the first arrival, so that the first one is not late.
const LEAD: Duration = Duration::from_millis(50);
/// How long the drain of an interrupted run may take.
const INTERRUPTED_DRAIN: Duration = Duration::from_secs(2);

/// What all runs of an invocation have in common.
#[derive(Debug)]
pub struct World {
    /// Sends requests.
    pub client: Client,
    /// Who sends them.
    pub crowd: Crowd,
    /// What they do.
    pub scenario: Scenario,
    /// The addresses of `/metrics` that are asked.
    pub metrics: Vec<String>,
    /// Ends everything early.
    pub interrupt: CancellationToken,
}

/// How much load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// So many requests a second, whether they are answered or not.
    Open {
        /// Requests a second, on average.
        rate: f64,
        /// The times between them.
        spacing: Spacing,
    },
    /// So many virtual users, each of which waits for its answers.
    Closed {
        /// How many.
        users: usize,
    },
}

/// A run's sizes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How much load.
    pub load: Load,
    /// What comes before the measured phase.
    pub warm_up: Duration,
    /// The measured phase.
    pub measured: Duration,
    /// How long answers are waited for afterwards.
    pub drain: Duration,
    /// An operation that begins later than this after its intended start is late.
    pub late_after: Duration,
    /// Flows that may be on their way or waiting for a connection.
    pub outstanding_max: usize,
    /// Writes a second that are followed until they are seen.
    pub followed_per_second: u32,
    /// Of the arrivals, the choices and the keys.
    pub seed: u64,
}

/// A run that is going on.
#[derive(Debug)]
pub struct Running {
    pub(crate) world: Arc<World>,
    pub(crate) plan: Plan,
    /// The operations' names; records have the index.
    pub(crate) names: Vec<&'static str>,
    pub(crate) recorder: Recorder,
    pub(crate) watcher: Watcher,
    pub(crate) tasks: TaskTracker,
    /// What is not answered by now is given up.
    pub(crate) give_up: CancellationToken,
}

/// A run's choices, one after the other.
#[derive(Debug)]
pub(crate) struct Choices {
    random: ChaCha8Rng,
}

/// A flow that somebody begins.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) flow: usize,
    pub(crate) user: Arc<VirtualUser>,
    pub(crate) seed: u64,
}

impl Choices {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    pub(crate) fn next(&mut self, world: &World) -> Choice {
        let users = world.crowd.users();
        let keys = world.scenario.population.keys;
        Choice {
            flow: world.scenario.draw(&mut self.random),
            user: Arc::clone(&users[keys.draw(users.len(), &mut self.random)]),
            seed: self.random.next_u64(),
        }
    }
}

/// Runs it to its end, or to the interrupt.
pub async fn run(world: &Arc<World>, plan: Plan, progress: &Progress) -> Run {
    let first = Instant::now() + LEAD;
    let phase = Phase {
        begin: first + plan.warm_up,
        length: plan.measured,
    };
    let started_at = chrono::Utc::now() + LEAD + plan.warm_up;
    let operations = world.scenario.operations();
    let names: Vec<_> = operations.iter().map(|known| known.name()).collect();
    let running = Arc::new(Running {
        world: Arc::clone(world),
        plan,
        names: names.clone(),
        recorder: Recorder::new(phase, names.len()),
        watcher: Watcher::new(plan.followed_per_second),
        tasks: TaskTracker::new(),
        give_up: CancellationToken::new(),
    });
    let scraper = Scraper::start(world.metrics.clone(), phase);
    let target_rate = match plan.load {
        Load::Open { rate, spacing } => {
            let flows = rate / world.scenario.requests_mean();
            generator::start(&running, first, Arrivals::new(flows, spacing));
            Some(rate)
        }
        Load::Closed { users } => {
            close_loop(&running, users);
            None
        }
    };
    let end = phase.begin + phase.length;
    let ended = tokio::select! {
        () = progress.follow(&running.recorder, target_rate) => end,
        () = world.interrupt.cancelled() => Instant::now().min(end),
    };
    drain(&running).await;
    let servers = scraper.stop().await;
    let seconds = ended.saturating_duration_since(phase.begin).as_secs_f64();
    let frame = Frame {
        seed: plan.seed,
        started_at,
        seconds,
        target_rate,
        names,
        servers,
    };
    figures::run(&running.recorder.measured(), frame)
}

fn close_loop(running: &Arc<Running>, users: usize) {
    let mut seeds = ChaCha8Rng::seed_from_u64(running.plan.seed);
    for _ in 0..users {
        let (running, mut choices) = (Arc::clone(running), Choices::new(seeds.next_u64()));
        let tasks = running.tasks.clone();
        tasks.spawn(async move {
            while !running.ended(Instant::now()) {
                let choice = choices.next(&running.world);
                flow::run(&running, choice, Instant::now()).await;
            }
        });
    }
}

async fn drain(running: &Running) {
    let interrupted = async {
        running.world.interrupt.cancelled().await;
        tokio::time::sleep(INTERRUPTED_DRAIN).await;
    };
    running.tasks.close();
    tokio::select! {
        () = running.tasks.wait() => return,
        () = tokio::time::sleep(running.plan.drain.max(SEEN_WITHIN)) => {}
        () = interrupted => {}
    }
    running.give_up.cancel();
    running.tasks.wait().await;
}

impl Running {
    /// Whether nothing begins any more at this moment.
    pub(crate) fn ended(&self, at: Instant) -> bool {
        let phase = self.recorder.phase();
        at >= phase.begin + phase.length || self.world.interrupt.is_cancelled()
    }
}
