//! Kafka as a source: nobody can tell from the rows which source they came from, and whatever the
//! topic leaves out, repeats or makes up does not change them.

use std::sync::Arc;
use std::time::Duration;

use events::{Partition, RecordedEvent};
use platform::config::KafkaSettings;
use projector::engine::Engine;
use projector::engine::kafka::KafkaSource;
use testkit::{TestTopic, eventually};
use uuid::Uuid;

use crate::stage::{PATIENCE, Stage};
use crate::tally::Tally;
use crate::topic::{LONG_SILENCE, Topic, events_of, head_of};

/// Short enough for a test to wait for.
pub(crate) const SHORT_SILENCE: Duration = Duration::from_millis(50);

pub(crate) const FIRST: Partition = Partition(0);

/// A store, a topic, and an engine that reads it. Everything happens in the first partition.
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) topic: Topic,
    pub(crate) engine: Engine,
    keys: Vec<String>,
}

impl World {
    pub(crate) async fn new(silence_max: Duration) -> Self {
        let stage = Stage::new().await;
        let topic = Topic::new(&stage).await;
        let engine = engine_on(&stage, &topic.topic, silence_max).await;
        let keys = stage.keys_of_first_partition(5);
        Self {
            stage,
            topic,
            engine,
            keys,
        }
    }

    /// One whose first partition is read from Kafka and has no gap.
    pub(crate) async fn attached(silence_max: Duration) -> Self {
        let world = Self::new(silence_max).await;
        world.eventually_fed_by_kafka().await;
        world
    }

    pub(crate) async fn append(&self, count: usize) {
        for n in 0..count {
            let amount = i64::try_from(n).unwrap();
            self.stage
                .add(&self.keys[n % self.keys.len()], amount)
                .await;
        }
    }

    pub(crate) async fn head(&self) -> i64 {
        head_of(&self.stage, 0).await
    }

    /// What Kafka's next record is, as the checkpoint says; none when the store gave the last
    /// batch.
    pub(crate) async fn kafka_offset(&self) -> Option<i64> {
        sqlx::query_scalar("select kafka_offset from projection.checkpoint where partition = 0")
            .fetch_one(&self.stage.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn position(&self) -> i64 {
        sqlx::query_scalar("select position from projection.checkpoint where partition = 0")
            .fetch_one(&self.stage.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn eventually_at_head(&self) {
        let head = self.head().await;
        eventually(PATIENCE, || async {
            self.engine.step().await;
            let position = self.position().await;
            if position == head {
                Ok(())
            } else {
                Err(position)
            }
        })
        .await;
        self.stage.assert_rows_are_the_fold(1).await;
    }

    /// Appends and relays one event after the other until Kafka feeds one.
    pub(crate) async fn eventually_fed_by_kafka(&self) {
        eventually(PATIENCE, || async {
            self.engine.step().await;
            let head = self.head().await;
            self.append(1).await;
            self.topic.relay(&self.stage, 0, head, head + 1).await;
            self.engine.step_partition(FIRST).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.engine.step_partition(FIRST).await;
            self.kafka_offset().await.ok_or(head)
        })
        .await;
        self.eventually_at_head().await;
    }

    /// Appends so many events and gives them to nobody.
    pub(crate) async fn unrelayed(&self, count: usize) -> Vec<RecordedEvent> {
        let head = self.head().await;
        self.append(count).await;
        events_of(&self.stage, 0, head, self.head().await).await
    }
}

pub(crate) async fn engine_on(stage: &Stage, topic: &TestTopic, silence: Duration) -> Engine {
    let kafka = KafkaSettings {
        brokers: topic.brokers().to_owned(),
        topic: topic.name().to_owned(),
    };
    let source = KafkaSource::open(&kafka, stage.pool.clone(), &stage.store, silence)
        .await
        .unwrap();
    stage.engine_on(Tally::leak(1, 1), Arc::new(source)).await
}

pub(crate) fn counter(name: &str, label: Option<&str>) -> f64 {
    let families = prometheus::gather();
    let family = families.iter().find(|family| family.name() == name);
    let metrics = family.iter().flat_map(|family| family.get_metric());
    metrics
        .filter(|metric| {
            let mut labels = metric.get_label().iter().map(|pair| pair.value());
            label.is_none_or(|label| labels.any(|value| value == label))
        })
        .map(|metric| metric.get_counter().get_value())
        .sum()
}

#[tokio::test]
async fn the_rows_from_kafka_are_the_rows_from_the_store() {
    let world = World::attached(LONG_SILENCE).await;
    let from_kafka = counter("projection_events_total", Some("kafka"));
    let before = world.head().await;
    world.append(180).await;
    world
        .topic
        .relay(&world.stage, 0, before, before + 180)
        .await;
    world.eventually_at_head().await;
    let offset = world.kafka_offset().await;
    assert!(
        offset.is_some(),
        "the store gave nothing within its silence"
    );
    assert!(counter("projection_events_total", Some("kafka")) >= from_kafka + 180.0);
    // The next engine knows where to go on.
    world.engine.leave().await;
    let next = engine_on(&world.stage, &world.topic.topic, LONG_SILENCE).await;
    let before = world.head().await;
    world.append(10).await;
    world
        .topic
        .relay(&world.stage, 0, before, before + 10)
        .await;
    eventually(PATIENCE, || async {
        next.step().await;
        let position = world.position().await;
        if position == before + 10 {
            Ok(())
        } else {
            Err(position)
        }
    })
    .await;
    world.stage.assert_rows_are_the_fold(1).await;
}

#[tokio::test]
async fn repeated_and_disordered_records_have_one_effect_each_in_their_order() {
    let world = World::attached(LONG_SILENCE).await;
    let duplicates = counter("duplicates_dropped_total", None);
    let events = world.unrelayed(8).await;
    let order = [0, 0, 1, 3, 2, 1, 4, 5, 5, 7, 6, 0];
    let disordered: Vec<_> = order.iter().map(|n| &events[*n]).collect();
    world.topic.writer.send(&disordered, 1).await;
    world.eventually_at_head().await;
    assert!(counter("duplicates_dropped_total", None) > duplicates);
}

#[tokio::test]
async fn a_missing_record_is_a_hole_that_the_store_fills() {
    let world = World::attached(LONG_SILENCE).await;
    let holes = counter("holes_filled_total", None);
    let events = world.unrelayed(9).await;
    let kept: Vec<_> = [0, 1, 4, 5, 8].map(|n| &events[n]).to_vec();
    world.topic.writer.send(&kept, 1).await;
    world.eventually_at_head().await;
    assert!(counter("holes_filled_total", None) >= holes + 2.0);
    assert!(
        world.kafka_offset().await.is_some(),
        "Kafka gave the last one"
    );
}

#[tokio::test]
async fn foreign_records_are_dropped_and_counted() {
    let world = World::attached(LONG_SILENCE).await;
    let foreign = counter("source_records_dropped_total", Some("foreign"));
    let events = world.unrelayed(4).await;
    let (topic, store) = (&world.topic.writer, world.topic.store_id());
    let headers = |event: &RecordedEvent| events::record::headers(store, 1, event);
    topic.send(&[&events[0]], 1).await;
    // Of another store, of another partition, and by nobody who knows the contract.
    let other = events::record::headers(Uuid::new_v4(), 1, &events[1]);
    topic
        .send_as(FIRST, &other, &events[1])
        .await
        .unwrap()
        .unwrap();
    let mut elsewhere = events[1].clone();
    elsewhere.address.partition = Partition(1);
    topic
        .send_as(FIRST, &headers(&elsewhere), &elsewhere)
        .await
        .unwrap()
        .unwrap();
    topic
        .send_as(FIRST, &[("hello", "world".to_owned())], &events[1])
        .await
        .unwrap()
        .unwrap();
    topic.send(&events[1..].iter().collect::<Vec<_>>(), 1).await;
    world.eventually_at_head().await;
    let dropped = counter("source_records_dropped_total", Some("foreign")) - foreign;
    assert!(dropped >= 3.0, "{dropped}");
    assert!(world.kafka_offset().await.is_some());
}

#[tokio::test]
async fn a_record_that_is_ahead_of_the_store_is_dropped_and_what_follows_is_read() {
    let world = World::attached(LONG_SILENCE).await;
    let ahead = counter("source_records_dropped_total", Some("ahead"));
    let events = world.unrelayed(3).await;
    let mut invented = events[2].clone();
    invented.address.position += 1_000_000;
    let sent = [&events[0], &invented, &events[1], &events[2]];
    world.topic.writer.send(&sent, 1).await;
    world.eventually_at_head().await;
    assert!(counter("source_records_dropped_total", Some("ahead")) > ahead);
    assert!(world.kafka_offset().await.is_some());
}

#[tokio::test]
async fn kafka_that_is_silent_is_replaced_by_the_store_and_used_again_when_it_continues() {
    let world = World::attached(SHORT_SILENCE).await;
    let silences = counter("source_silences_total", None);
    world.append(20).await;
    world.eventually_at_head().await;
    assert_eq!(world.kafka_offset().await, None, "the store gave them");
    assert!(counter("source_silences_total", None) > silences);
    // While nothing at all comes, the next ones are not waited for again.
    world.append(5).await;
    world.engine.step().await;
    assert_eq!(world.position().await, world.head().await);
    // What Kafka missed comes late and changes nothing; what follows is taken from it.
    let head = world.head().await;
    world.topic.relay(&world.stage, 0, head - 25, head).await;
    world.eventually_fed_by_kafka().await;
    // The offsets that were applied are the group's, so that ordinary tools show the lag.
    let offset = world.kafka_offset().await.unwrap();
    eventually(PATIENCE, || async {
        world.engine.step().await;
        let committed = world.topic.committed(FIRST);
        if committed >= Some(offset) {
            Ok(())
        } else {
            Err(committed)
        }
    })
    .await;
}

#[tokio::test]
async fn a_deleted_topic_and_an_empty_one_in_its_place_cost_nothing_but_time() {
    let world = World::attached(SHORT_SILENCE).await;
    world.topic.topic.delete().await;
    world.append(10).await;
    world.eventually_at_head().await;
    world.topic.topic.make().await;
    world.append(10).await;
    world.eventually_at_head().await;
    // The relay fills it from the beginning.
    world
        .topic
        .relay(&world.stage, 0, 0, world.head().await)
        .await;
    world.eventually_fed_by_kafka().await;
}

#[tokio::test]
async fn a_kafka_offset_that_lies_is_found_out() {
    let mut world = World::attached(LONG_SILENCE).await;
    let before = world.head().await;
    world.append(3000).await;
    world
        .topic
        .relay(&world.stage, 0, before, before + 3000)
        .await;
    world.eventually_at_head().await;
    let end = world.kafka_offset().await.unwrap();
    for lie in [
        Some(0),
        Some(end - 1),
        Some(end / 2),
        Some(end + 1000),
        Some(-5),
        None,
    ] {
        world.engine.leave().await;
        sqlx::query("update projection.checkpoint set kafka_offset = $1 where partition = 0")
            .bind(lie)
            .execute(&world.stage.pool)
            .await
            .unwrap();
        world.engine = engine_on(&world.stage, &world.topic.topic, SHORT_SILENCE).await;
        world.append(5).await;
        world.eventually_at_head().await;
        let head = world.head().await;
        world.topic.relay(&world.stage, 0, head - 5, head).await;
        world.eventually_fed_by_kafka().await;
    }
}

#[tokio::test]
async fn two_engines_that_trade_leases_over_kafka_apply_each_event_once() {
    let world = World::new(SHORT_SILENCE).await;
    let other = engine_on(&world.stage, &world.topic.topic, SHORT_SILENCE).await;
    let mut relayed = [0; 4];
    for round in 0..24 {
        for n in 0..8 {
            world.stage.add(&format!("key-{n}"), round).await;
        }
        if round % 5 != 4 {
            world.topic.relay_all(&world.stage, &mut relayed).await;
        }
        if round % 3 != 0 {
            world.engine.step().await;
        }
        if round % 3 != 1 {
            other.step().await;
        }
        if round % 8 == 7 {
            world
                .stage
                .execute("update projection.lease set expires_at = '-infinity'")
                .await;
        }
    }
    eventually(PATIENCE, || async {
        world.engine.step().await;
        other.step().await;
        let (rows, fold) = (world.stage.rows(1).await, world.stage.fold(1).await);
        let held = (
            world.engine.holds("tally").len(),
            other.holds("tally").len(),
        );
        if rows == fold && held == (2, 2) {
            Ok(())
        } else {
            Err((held, rows.len()))
        }
    })
    .await;
    assert!(world.stage.parked().await.is_empty());
}
