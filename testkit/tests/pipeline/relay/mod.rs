//! I4: Kafka read from its beginning holds every event, in order per partition, whatever was
//! killed, deleted or away meanwhile.

mod outages;
mod python;

use std::time::Duration;

use testkit::pipeline::{Ledger, Node, Pipeline, Service};
use testkit::{TestTopic, eventually, topic_log};

use crate::leases::Leases;
use crate::scene::{Load, admin, at_random, register};

/// How long the relay may take to come up to the head, on a busy machine and not optimised.
pub(crate) const RELAYED_WITHIN: Duration = Duration::from_secs(120);

const USERS: usize = 30;
const WRITERS: usize = 16;

/// Kills in CI; `RUNNEL_KILLS` asks for more.
const KILLS: usize = 3;

/// A command API that relays to this topic.
pub(crate) async fn start(pipeline: &Pipeline, topic: &TestTopic, lease: &str) -> Node {
    let settings = [
        ("KAFKA_BROKERS", topic.brokers()),
        ("KAFKA_TOPIC", topic.name()),
        ("RELAY_LEASE", lease),
    ];
    pipeline.start_with(Service::CommandApi, &settings).await
}

/// The topic comes to hold what the store holds; says how many duplicates are in it.
pub(crate) async fn relayed(pipeline: &Pipeline, topic: &TestTopic) -> usize {
    let pool = pipeline.pool();
    eventually(RELAYED_WITHIN, || topic_log::check(topic, &pool)).await
}

async fn killed_under_load(forget_bounds: bool) {
    let kills = std::env::var("RUNNEL_KILLS").ok();
    let kills = kills.map_or(KILLS, |kills| kills.parse().expect("a number of kills"));
    let pipeline = Pipeline::create().await;
    let topic = TestTopic::create().await;
    let mut node = start(&pipeline, &topic, "2s").await;
    let (nodes, ledger) = (vec![node.url()], Ledger::default());
    let writer = admin(&pipeline, &ledger);
    let users = register(&writer, &nodes, USERS).await;
    let load = Load::start(WRITERS, &writer, &users, &at_random(nodes));
    for _ in 0..kills {
        load.more(150).await;
        node.kill();
        if forget_bounds {
            let forget = "update event_store.relay_lease set relayed_position = 0";
            sqlx::query(forget)
                .execute(&pipeline.pool())
                .await
                .expect("an update");
        }
        node.start_again().await;
    }
    load.more(100).await;
    load.stop().await;
    relayed(&pipeline, &topic).await;
    pipeline.event_log().await.assert_sound();
    assert!(ledger.done() > 200, "{} done", ledger.done());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_equals_the_event_table_after_the_relays_process_was_killed_under_load() {
    killed_under_load(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_equals_the_event_table_also_when_the_lower_bounds_are_lost_with_the_process() {
    killed_under_load(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_the_relay_and_hand_it_over_on_sigterm() {
    let pipeline = Pipeline::create().await;
    let topic = TestTopic::create().await;
    // Longer than the test: only a hand-over moves a lease.
    let mut first = start(&pipeline, &topic, "10m").await;
    let mut second = start(&pipeline, &topic, "10m").await;
    let leases = Leases::of_relay(&pipeline);
    leases.are_shared([2, 2]).await;
    let ledger = Ledger::default();
    let writer = admin(&pipeline, &ledger);
    let nodes = vec![second.url()];
    let users = register(&writer, &nodes, USERS).await;
    let load = Load::start(WRITERS, &writer, &users, &at_random(nodes));
    load.more(100).await;
    first.stop().await;
    leases.are_shared([4]).await;
    load.more(100).await;
    load.stop().await;
    relayed(&pipeline, &topic).await;
    second.stop().await;
    // The last one gives them back, too.
    leases.are_shared([]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_deleted_and_made_again_under_load_is_filled_from_its_beginning() {
    let pipeline = Pipeline::create().await;
    let topic = TestTopic::create().await;
    let mut node = start(&pipeline, &topic, "2s").await;
    let (nodes, ledger) = (vec![node.url()], Ledger::default());
    let writer = admin(&pipeline, &ledger);
    let users = register(&writer, &nodes, USERS).await;
    let load = Load::start(WRITERS, &writer, &users, &at_random(nodes));
    load.more(150).await;
    topic.delete().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    topic.make().await;
    load.more(150).await;
    load.stop().await;
    relayed(&pipeline, &topic).await;
    node.stop().await;
}
