//! I13: each process is stopped by SIGTERM and started again under load, one after the other. The
//! clients stand behind a balancer, as a deployment has it: it asks `/readyz` every few
//! milliseconds and sends nothing new to a node that says no. So every single request must be
//! answered, and none with 5xx: a refused or broken connection counts as a loss.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use testkit::pipeline::ledger::{Line, Outcome};
use testkit::pipeline::view::assert_equals_fold;
use testkit::pipeline::{Client, Ledger, Node, Pipeline, Service, Who};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::scene::{APPLIED_WITHIN, Dice, Load, Route, TENANT, admin, ask, register};

const USERS: usize = 40;
const WRITERS: usize = 8;
const READERS: usize = 4;
/// Longer than the balancer needs to notice.
const SHUTDOWN_WAIT: &str = "1s";
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Knows which nodes are ready; its looks end with the test.
struct Balancer {
    ready: Arc<Mutex<Vec<String>>>,
    looks: JoinHandle<()>,
}

impl Balancer {
    fn over(nodes: &[&Node]) -> Self {
        let known: Vec<_> = nodes
            .iter()
            .map(|node| (node.url(), node.admin_url()))
            .collect();
        let all = known.iter().map(|(url, _)| url.clone()).collect();
        let ready = Arc::new(Mutex::new(all));
        let looks = tokio::spawn(look(known, ready.clone()));
        Self { ready, looks }
    }

    fn route(&self) -> Route {
        let ready = self.ready.clone();
        Arc::new(move |number| {
            let ready = ready.lock().expect("no panic");
            (!ready.is_empty()).then(|| ready[number % ready.len()].clone())
        })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.looks.abort();
    }
}

async fn look(known: Vec<(String, String)>, ready: Arc<Mutex<Vec<String>>>) {
    let client = Client::new();
    let mut rhythm = tokio::time::interval(LOOK_EVERY);
    loop {
        rhythm.tick().await;
        let mut now = vec![];
        for (url, admin) in &known {
            let answer = client.get(&format!("{admin}/readyz")).await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                now.push(url.clone());
            }
        }
        *ready.lock().expect("no panic") = now;
    }
}

async fn restart(node: &mut Node, load: &Load) {
    load.more(40).await;
    node.stop().await;
    load.more(40).await;
    node.start_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_everything_loses_no_request_and_answers_none_with_5xx() {
    let pipeline = Pipeline::create().await;
    let wait = [("SHUTDOWN_WAIT", SHUTDOWN_WAIT)];
    let start = |service| pipeline.start_with(service, &wait);
    let (mut commands, mut queries, mut projectors) = (
        [
            start(Service::CommandApi).await,
            start(Service::CommandApi).await,
        ],
        [
            start(Service::QueryApi).await,
            start(Service::QueryApi).await,
        ],
        [
            start(Service::Projector).await,
            start(Service::Projector).await,
        ],
    );
    let ledger = Ledger::default();
    let writer = admin(&pipeline, &ledger);
    let urls = commands.each_ref().map(Node::url);
    let users = register(&writer, &urls, USERS).await;
    assert_equals_fold(&pipeline.pool(), APPLIED_WITHIN).await;

    let command_balancer = Balancer::over(&commands.each_ref());
    let query_balancer = Balancer::over(&queries.each_ref());
    let readers = Readers::start(&pipeline, &users, &query_balancer.route());
    let load = Load::start(WRITERS, &writer, &users, &command_balancer.route());
    for node in commands
        .iter_mut()
        .chain(&mut queries)
        .chain(&mut projectors)
    {
        restart(node, &load).await;
    }
    load.stop().await;
    let reads = readers.stop().await;
    assert!(reads > 100, "only {reads} reads");

    let lines = ledger.lines();
    let is_done = |line: &Line| matches!(line.outcome, Outcome::Done { .. });
    let not_done: Vec<_> = lines.iter().filter(|line| !is_done(line)).collect();
    assert!(not_done.is_empty(), "not done: {not_done:#?}");
    let log = pipeline.event_log().await;
    log.assert_sound();
    ledger.assert_true_of(&log);
    assert_equals_fold(&pipeline.pool(), APPLIED_WITHIN).await;
}

/// Reads that must all be answered 200 until they are stopped.
struct Readers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<usize>>,
}

impl Readers {
    fn start(pipeline: &Pipeline, users: &[Uuid], route: &Route) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..READERS).map(|number| {
            let (stop, route, users) = (stop.clone(), route.clone(), users.to_vec());
            let bearer = pipeline.tokens().sign(TENANT, Who::Operator);
            tokio::spawn(async move {
                let (client, mut dice) = (Client::new(), Dice::new(number));
                let mut reads = 0;
                while !stop.load(Ordering::Relaxed) {
                    let Some(node) = route(dice.roll(1 << 20)) else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    let user = users[dice.roll(users.len())];
                    let url = format!("{node}/v1/users/{user}");
                    let answer = ask(&client, url, &bearer, &[]).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    reads += 1;
                }
                reads
            })
        });
        let tasks = tasks.collect();
        Self { stop, tasks }
    }

    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut reads = 0;
        for task in self.tasks {
            reads += task.await.expect("every read was answered");
        }
        reads
    }
}
