//! The daemon over Kafka, while a broker is there, is down, and is back.

use std::time::{Duration, Instant};

use event_store::EventStore;
use events::Partition;
use testkit::history::{active, registered};
use testkit::{Scripted, TestTopic, TopicWriter, eventually};
use uuid::Uuid;

use crate::world::{PATIENCE, World};
use crate::writer::Writer;

const ROUNDS: usize = 40;

/// One user's events, one after the other: appended, relayed by this test when `topic` is there,
/// and waited for.
struct Line<'w> {
    world: &'w World,
    writer: Writer,
    topic: TopicWriter,
    partition: Partition,
    /// How many were appended, and how many of them relayed.
    appended: i64,
    relayed: i64,
}

impl Line<'_> {
    async fn append(&mut self) {
        self.writer.append(&active(self.appended)).await;
        self.appended += 1;
    }

    /// Brings what is missing into the topic.
    async fn relay(&mut self) {
        let store = EventStore::open(self.world.pool.clone()).await.unwrap();
        let reader = store.partition_reader();
        let range = reader.read_range(self.partition, self.relayed, self.appended);
        let events = range.await.unwrap();
        self.topic.send(&events.iter().collect::<Vec<_>>(), 1).await;
        self.relayed = self.appended;
    }

    async fn applied(&self) {
        eventually(PATIENCE, || async {
            let progress = self.world.progress().await;
            if progress == self.appended {
                Ok(())
            } else {
                Err(progress)
            }
        })
        .await;
    }

    /// Who gave the last batch.
    async fn source(&self) -> String {
        let standings = projector::engine::standing::read(&self.world.pool, None)
            .await
            .unwrap();
        let here = |one: &&projector::engine::standing::Standing| one.partition == self.partition.0;
        standings.iter().find(here).unwrap().source.clone()
    }

    /// From append to visible, this many times; prints them and who fed the last.
    async fn rounds(&mut self, what: &str, relay: bool) -> String {
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            self.append().await;
            if relay {
                self.relay().await;
            }
            self.applied().await;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        let (half, most) = (took[ROUNDS / 2], took[ROUNDS - 1]);
        let source = self.source().await;
        #[expect(clippy::print_stderr, reason = "the lag of both paths is to be seen")]
        {
            eprintln!("{what}: fed by {source}, append to visible p50 {half:.1?}, max {most:.1?}");
        }
        source
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn visibility_goes_on_while_kafka_is_down_and_comes_through_kafka_again_when_it_is_back() {
    let broker = Scripted::start_apart("kafka").unwrap();
    let topic = TestTopic::named(broker.address());
    topic.make().await;
    let (world, id) = (World::new().await, Uuid::now_v7());
    let flags = [
        "--kafka-brokers",
        broker.address(),
        "--kafka-topic",
        topic.name(),
        // The store helps out when Kafka is away, not when this machine is slow; a Kafka that was
        // found silent is not waited for again, so it costs one round.
        "--source-silence-max",
        "5s",
    ];
    let daemon = world.start_with(&flags);
    let writer = Writer::start(&world, id).await;
    writer
        .append(&registered(id, "Ann", "eu-west", [1; 32]))
        .await;
    let store = EventStore::open(world.pool.clone()).await.unwrap();
    let mut line = Line {
        partition: store
            .partitions()
            .partition_of(&world.tenant, &id.to_string()),
        topic: TopicWriter::new(&topic, store.store_id()),
        world: &world,
        writer,
        appended: 1,
        relayed: 0,
    };
    eventually_from_kafka(&mut line).await;
    assert_eq!(line.rounds("Kafka is up", true).await, "kafka");
    broker.stop().unwrap();
    assert_eq!(line.rounds("Kafka is down", false).await, "postgres");
    broker.start_again().unwrap();
    eventually_from_kafka(&mut line).await;
    assert_eq!(line.rounds("Kafka is back", true).await, "kafka");
    assert_eq!(daemon.terminate().await, Some(0));
}

/// Appends and relays until an event comes through Kafka.
async fn eventually_from_kafka(line: &mut Line<'_>) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        line.append().await;
        line.relay().await;
        line.applied().await;
        if line.source().await == "kafka" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing came through Kafka within {PATIENCE:?}");
}
