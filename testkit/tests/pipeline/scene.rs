//! What the proofs share: a tenant, its staff, load that goes on while things are killed, and reads
//! with tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::{Answer, Client, Ledger, Pipeline, Unanswered, Who};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The tenant of most proofs.
pub(crate) const TENANT: &str = "acme";

/// How long a projection may take to come up to the head, on a busy machine and not optimised.
pub(crate) const APPLIED_WITHIN: Duration = Duration::from_secs(40);

/// How long a registration may be asked again.
const REGISTERED_WITHIN: Duration = Duration::from_secs(20);
/// How many registrations run at once.
const REGISTERING: usize = 32;

/// Writes as the tenant's admin.
pub(crate) fn admin(pipeline: &Pipeline, ledger: &Ledger) -> Writer {
    Writer::new(TENANT, pipeline.tokens().sign(TENANT, Who::Admin), ledger)
}

/// Registers users over the nodes in turn; a node that has no connection left is asked again.
pub(crate) async fn register(writer: &Writer, nodes: &[String], count: usize) -> Vec<Uuid> {
    let users: Vec<Uuid> = (0..count).map(|_| Uuid::new_v4()).collect();
    let registering = users.iter().zip(nodes.iter().cycle()).map(|(user, node)| {
        let command = Command::register(*user, &format!("{user}@example.org"), "Ada");
        testkit::eventually(REGISTERED_WITHIN, move || {
            let command = command.clone();
            async move {
                let answer = writer.send(node, command).await.expect("an answer");
                (answer.status == 201)
                    .then_some(())
                    .ok_or_else(|| answer.text())
            }
        })
    });
    futures_util::stream::iter(registering)
        .buffer_unordered(REGISTERING)
        .collect::<()>()
        .await;
    users
}

/// Sends a request and expects an answer.
pub(crate) async fn ask(
    client: &Client,
    url: String,
    bearer: &str,
    headers: &[(&'static str, &str)],
) -> Answer {
    let answer = client.read(url, bearer, headers).await;
    answer.unwrap_or_else(|silence: Unanswered| panic!("no answer: {silence:?}"))
}

/// Numbers without order; good enough to spread work.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: usize) -> Self {
        Self(seed as u64 ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("below sides")
    }
}

/// How long a client waits when there is no node to send to; spinning it would take the processor
/// from the nodes that are to become ready.
pub(crate) const NOBODY_PAUSE: Duration = Duration::from_millis(5);

/// Which node the next request goes to; none while there is no node to send it to.
pub(crate) type Route = Arc<dyn Fn(usize) -> Option<String> + Send + Sync>;

/// Sends to the nodes at random, whatever their state.
pub(crate) fn at_random(nodes: Vec<String>) -> Route {
    Arc::new(move |number| nodes.get(number % nodes.len()).cloned())
}

/// Writers that rename users until they are stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    writers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the writers.
    pub(crate) fn start(writers: usize, writer: &Writer, users: &[Uuid], route: &Route) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let writers = (0..writers)
            .map(|number| {
                let (writer, users, route) = (writer.clone(), users.to_vec(), route.clone());
                let (stop, sent) = (stop.clone(), sent.clone());
                tokio::spawn(async move {
                    let mut dice = Dice::new(number);
                    while !stop.load(Ordering::Relaxed) {
                        let user = users[dice.roll(users.len())];
                        // No two events have one name, so that what is shown can be traced.
                        let name = format!("name {number} {}", Uuid::new_v4());
                        let command = Command::rename(user, &name);
                        let Some(node) = route(dice.roll(1 << 20)) else {
                            tokio::time::sleep(NOBODY_PAUSE).await;
                            continue;
                        };
                        // What became of it stands in the ledger.
                        let answer = writer.send(&node, command).await;
                        sent.fetch_add(1, Ordering::Relaxed);
                        if answer.is_err() {
                            tokio::task::yield_now().await;
                        }
                    }
                })
            })
            .collect();
        Self {
            stop,
            sent,
            writers,
        }
    }

    /// How many requests were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until so many more were sent.
    pub(crate) async fn more(&self, count: u64) {
        let goal = self.sent() + count;
        testkit::eventually(Duration::from_secs(60), || async move {
            let sent = self.sent();
            (sent >= goal).then_some(()).ok_or(sent)
        })
        .await;
    }

    /// Stops the writers, each after its request.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.await.expect("no panic");
        }
    }
}
