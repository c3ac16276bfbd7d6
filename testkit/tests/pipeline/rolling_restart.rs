//! I13: each process is stopped by SIGTERM and started again under load, one after the other. The
//! clients stand behind a balancer, as a deployment has it: it asks `/readyz` every few
//! milliseconds and sends nothing new to a node that says no. So every single request must be
//! answered: a refused or broken connection counts as a loss. A 503 that says when to come back is
//! an answer, of a node whose connections are not open yet; there are few of them, and the log
//! shows that none had an effect. What the process held of leases is another's within seconds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use testkit::pipeline::ledger::{Line, Outcome};
use testkit::pipeline::view::assert_equals_fold;
use testkit::pipeline::{Client, Ledger, Node, Pipeline, Service, Session, Who};
use testkit::{OwnRedis, TestTopic};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::leases::Leases;
use crate::relay::relayed;
use crate::scene::{APPLIED_WITHIN, Dice, Load, NOBODY_PAUSE, Route, TENANT, admin, ask, register};
use crate::served::{equals_postgres, redis_serves};

const USERS: usize = 40;
const WRITERS: usize = 8;
const READERS: usize = 4;
/// Longer than the balancer needs to notice.
const SHUTDOWN_WAIT: &str = "2s";
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A node that does not answer the balancer within this is not ready.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// At most one request in so many is told to come back.
const LATER_RARITY: usize = 20;

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
        // All at once: one that is slow to answer must not hide that another goes away.
        let looks = known.iter().map(|(url, admin)| {
            let (client, path) = (&client, format!("{admin}/readyz"));
            async move {
                let answer = tokio::time::timeout(LOOK_MAX, client.get(&path)).await;
                let is_ready = matches!(answer, Ok(Ok(answer)) if answer.status == 200);
                is_ready.then(|| url.clone())
            }
        });
        let now = join_all(looks).await.into_iter().flatten().collect();
        *ready.lock().expect("no panic") = now;
    }
}

/// Longer than the test: only a hand-over moves a lease.
const LEASE: &str = "10m";

/// Two of each.
struct Everything {
    pipeline: Pipeline,
    commands: [Node; 2],
    queries: [Node; 2],
    projectors: [Node; 2],
}

impl Everything {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let pipeline = Pipeline::create().await;
        let mut all = vec![("SHUTDOWN_WAIT", SHUTDOWN_WAIT), ("PROJECTOR_LEASE", LEASE)];
        all.extend(settings);
        let start = |service| pipeline.start_with(service, &all);
        let two = async |service| [start(service).await, start(service).await];
        let commands = two(Service::CommandApi).await;
        let queries = two(Service::QueryApi).await;
        let projectors = two(Service::Projector).await;
        Self {
            pipeline,
            commands,
            queries,
            projectors,
        }
    }

    async fn restart_each(&mut self, load: &Load, relays: bool) {
        let feeding = Leases::of_projector(&self.pipeline);
        let relaying = relays.then(|| Leases::of_relay(&self.pipeline));
        for node in &mut self.commands {
            restart(node, load, relaying.as_ref()).await;
        }
        for node in &mut self.queries {
            restart(node, load, None).await;
        }
        for node in &mut self.projectors {
            restart(node, load, Some(&feeding)).await;
        }
    }
}

async fn restart(node: &mut Node, load: &Load, leases: Option<&Leases>) {
    load.more(150).await;
    if let Some(leases) = leases {
        leases.are_shared([2, 2]).await;
    }
    node.stop().await;
    if let Some(leases) = leases {
        leases.are_shared([4]).await;
    }
    load.more(150).await;
    node.start_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_everything_answers_every_request_and_none_with_5xx_after_its_effect()
{
    let mut everything = Everything::start(&[]).await;
    answers_while_restarted(&mut everything, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_one_of_the_full_form_and_kafka_and_redis_agree_with_the_store_afterwards() {
    let (topic, redis) = (TestTopic::create().await, OwnRedis::start());
    let settings = [
        ("KAFKA_BROKERS", topic.brokers()),
        ("KAFKA_TOPIC", topic.name()),
        ("RELAY_LEASE", LEASE),
        ("REDIS_URL", redis.url()),
    ];
    let mut everything = Everything::start(&settings).await;
    let users = answers_while_restarted(&mut everything, true).await;
    let Everything {
        pipeline, queries, ..
    } = &everything;
    relayed(pipeline, &topic).await;
    equals_postgres(pipeline, &queries.each_ref(), &users).await;
    redis_serves(pipeline, &queries.each_ref(), &users).await;
}

/// The users that were written to meanwhile.
async fn answers_while_restarted(everything: &mut Everything, relays: bool) -> Vec<Uuid> {
    let ledger = Ledger::default();
    let writer = admin(&everything.pipeline, &ledger);
    let urls = everything.commands.each_ref().map(Node::url);
    let users = register(&writer, &urls, USERS).await;
    assert_equals_fold(&everything.pipeline.pool(), APPLIED_WITHIN).await;

    let command_balancer = Balancer::over(&everything.commands.each_ref());
    let query_balancer = Balancer::over(&everything.queries.each_ref());
    let readers = Readers::start(&everything.pipeline, &users, &query_balancer.route());
    let load = Load::start(WRITERS, &writer, &users, &command_balancer.route());
    everything.restart_each(&load, relays).await;
    load.stop().await;
    let (reads, later) = readers.stop().await;
    assert!(
        reads > 100 && later * LATER_RARITY < reads,
        "{later} of {reads} reads later"
    );
    every_command_was_answered(&ledger.lines());
    let log = everything.pipeline.event_log().await;
    log.assert_sound();
    ledger.assert_true_of(&log);
    assert_equals_fold(&everything.pipeline.pool(), APPLIED_WITHIN).await;
    users
}

fn every_command_was_answered(lines: &[Line]) {
    let is_later = |line: &Line| matches!(line.outcome, Outcome::Refused(503, _));
    let is_done = |line: &Line| matches!(line.outcome, Outcome::Done { .. });
    let later = lines.iter().filter(|line| is_later(line)).count();
    assert!(
        later * LATER_RARITY < lines.len(),
        "{later} of {} later",
        lines.len()
    );
    let lost = lines
        .iter()
        .filter(|line| !is_done(line) && !is_later(line));
    let lost: Vec<_> = lost.collect();
    assert!(lost.is_empty(), "lost: {lost:#?}");
}

/// Sessions whose reads must all be answered until they are stopped; each counts all and those told
/// to come back, and none is shown less than before, whatever node answers.
struct Readers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<(usize, usize)>>,
}

impl Readers {
    fn start(pipeline: &Pipeline, users: &[Uuid], route: &Route) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..READERS).map(|number| {
            let (stop, route, users) = (stop.clone(), route.clone(), users.to_vec());
            let bearer = pipeline.tokens().sign(TENANT, Who::Operator);
            tokio::spawn(async move {
                let (client, mut dice) = (Client::new(), Dice::new(number));
                let mut session = Session::default();
                let (mut reads, mut later) = (0, 0);
                while !stop.load(Ordering::Relaxed) {
                    let Some(node) = route(dice.roll(1 << 20)) else {
                        tokio::time::sleep(NOBODY_PAUSE).await;
                        continue;
                    };
                    let user = users[dice.roll(users.len())];
                    let url = format!("{node}/v1/users/{user}");
                    let token = [("consistency-token", session.token())];
                    let answer = ask(&client, url, &bearer, &token).await;
                    reads += 1;
                    if answer.status == 200 {
                        session.read(&answer);
                    } else {
                        assert!(answer.is_retry_later(), "{}", answer.text());
                        later += 1;
                    }
                }
                assert_eq!(session.findings, Vec::<String>::new());
                (reads, later)
            })
        });
        let tasks = tasks.collect();
        Self { stop, tasks }
    }

    async fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut reads, mut later) = (0, 0);
        for task in self.tasks {
            let counts = task.await.expect("every read was answered");
            reads += counts.0;
            later += counts.1;
        }
        (reads, later)
    }
}
