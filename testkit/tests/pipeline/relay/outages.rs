//! The broker away: commands are taken all the same, and the topic catches up by itself.

use std::time::Duration;

use testkit::pipeline::{Client, Ledger, Pipeline};
use testkit::{Scripted, TestTopic};

use super::{relayed, start};
use crate::scene::{Load, admin, at_random, register};

const OUTAGE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_catches_up_after_its_broker_was_down_and_no_command_noticed() {
    let seconds = std::env::var("RUNNEL_OUTAGE_SECONDS").ok();
    let outage = seconds.map_or(OUTAGE, |seconds| {
        Duration::from_secs(seconds.parse().expect("a number of seconds"))
    });
    let pipeline = Pipeline::create().await;
    let broker = Scripted::start_apart("kafka").expect("a broker");
    let topic = TestTopic::named(broker.address());
    make(&pipeline, &topic).await;
    let mut node = start(&pipeline, &topic, "2s").await;
    let (nodes, ledger) = (vec![node.url()], Ledger::default());
    let writer = admin(&pipeline, &ledger);
    let users = register(&writer, &nodes, 20).await;
    let load = Load::start(8, &writer, &users, &at_random(nodes));
    load.more(100).await;
    broker.stop().expect("it stops");
    let before = ledger.done();
    load.more(100).await;
    tokio::time::sleep(outage).await;
    assert!(ledger.done() > before, "commands are taken without Kafka");
    let ready = Client::new()
        .get(&format!("{}/readyz", node.admin_url()))
        .await;
    assert_eq!(ready.expect("an answer").status, 200, "degraded is ready");
    broker.start_again().expect("it is back");
    load.more(50).await;
    load.stop().await;
    relayed(&pipeline, &topic).await;
    pipeline.event_log().await.assert_sound();
    node.stop().await;
}

/// By the operator's verb; made once, it is only checked the second time, and a topic with other
/// settings is named.
async fn make(pipeline: &Pipeline, topic: &TestTopic) {
    let arguments = |verb| {
        let brokers = ["topics", verb, "--kafka-brokers", topic.brokers()];
        [&brokers[..], &["--kafka-topic", topic.name()]].concat()
    };
    let missing = pipeline.try_run("projector", &arguments("check")).await;
    assert!(!missing.status.success(), "there is no topic yet");
    for _ in 0..2 {
        pipeline.run("projector", &arguments("create")).await;
    }
    topic.limit_records("5000").await;
    let wrong = pipeline.try_run("projector", &arguments("check")).await;
    assert_eq!(wrong.status.code(), Some(1));
    let told = String::from_utf8_lossy(&wrong.stdout).into_owned();
    assert!(told.contains("max.message.bytes is 5000"), "{told}");
    topic.limit_records(testkit::topic::RECORD_BYTES_MAX).await;
    pipeline.run("projector", &arguments("check")).await;
}
