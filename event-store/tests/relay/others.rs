//! What others write into the topic: transactions, whose markers have offsets and are no records,
//! and records that are nobody's events.

use std::time::{Duration, Instant};

use event_store::relay::{Outcome, RelaySettings};
use events::record;
use events::{Partition, RecordedEvent};
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use testkit::TestTopic;
use uuid::Uuid;

use crate::stage::{Stage, relay_all, settings};

const PATIENCE: Duration = Duration::from_secs(20);
/// Several looks at the topic; one takes up to a tenth of a second.
const COMPARED_FOR: Duration = Duration::from_millis(1_500);

fn producer(topic: &TestTopic, transactional: bool) -> FutureProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", topic.brokers());
    if transactional {
        config.set("transactional.id", topic.name());
    }
    config.create().expect("a producer")
}

/// A producer whose transaction is begun, and holds a second copy of this event.
async fn begun(stage: &Stage, event: &RecordedEvent) -> FutureProducer {
    let producer = producer(&stage.topic, true);
    let transaction = producer.clone();
    let begun = tokio::task::spawn_blocking(move || {
        transaction.init_transactions(PATIENCE)?;
        transaction.begin_transaction()
    });
    begun.await.expect("no panic").expect("a transaction");
    let mut headers = OwnedHeaders::new();
    for (key, value) in record::headers(stage.store.store_id(), 1, event) {
        let value = Some(value.as_str());
        headers = headers.insert(Header { key, value });
    }
    let key = record::key(event);
    let copy = FutureRecord::to(stage.topic.name())
        .partition(event.address.partition.as_i32())
        .key(&key)
        .payload(event.payload.get())
        .headers(headers);
    producer.send(copy, PATIENCE).await.expect("a delivery");
    producer
}

async fn commit(producer: FutureProducer) {
    let committed = tokio::task::spawn_blocking(move || producer.commit_transaction(PATIENCE));
    committed.await.expect("no panic").expect("a commit");
}

/// A stage whose first partition is relayed, by a process that is gone; and its first event.
async fn relayed(count: usize) -> (Stage, RecordedEvent) {
    let stage = Stage::create().await;
    stage.append_to(stage.user_in(0), count, "").await;
    let relay = stage.relay();
    relay_all(&relay).await;
    relay.leave().await;
    let reader = stage.store.partition_reader();
    let mut events = reader.read_range(Partition(0), 0, 1).await.expect("a read");
    let event = events.pop().expect("an event");
    (stage, event)
}

#[tokio::test]
async fn a_transactions_marker_at_the_topics_end_is_passed() {
    let (stage, event) = relayed(5).await;
    commit(begun(&stage, &event).await).await;
    let relay = stage.relay();
    relay.tend().await.expect("the leases");
    let outcome = relay.step(Partition(0)).await;
    assert_eq!(outcome, Outcome::Resumed { after: 5 });
    append_more(&stage, 3).await;
    relay_all(&relay).await;
    assert_eq!(stage.assert_relayed().await, 1, "the copy");
    relay.leave().await;
}

#[tokio::test]
async fn a_transaction_that_stays_open_holds_nothing_up() {
    let (stage, event) = relayed(5).await;
    let open = begun(&stage, &event).await;
    let relay = stage.relay_with(
        RelaySettings {
            compare_interval: Duration::ZERO,
            ..settings()
        },
        None,
    );
    relay.tend().await.expect("the leases");
    let outcome = relay.step(Partition(0)).await;
    assert_eq!(outcome, Outcome::Resumed { after: 5 });
    append_more(&stage, 8).await;
    // One comparison after the other goes on beside the steps, and finds what was acknowledged.
    let begun = Instant::now();
    let mut outcome = Outcome::Waiting;
    while outcome != Outcome::Idle || begun.elapsed() < COMPARED_FOR {
        outcome = relay.step(Partition(0)).await;
        assert_ne!(outcome, Outcome::Trouble);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    commit(open).await;
    append_more(&stage, 1).await;
    relay_all(&relay).await;
    assert_eq!(stage.assert_relayed().await, 1, "the copy");
    relay.leave().await;
}

#[tokio::test]
async fn behind_many_records_of_others_it_goes_on_after_its_own_last_one() {
    let (stage, _) = relayed(30).await;
    let others = producer(&stage.topic, false);
    let few = RelaySettings {
        in_flight_max: 10,
        ..settings()
    };
    // As many as the first look reads, and more than the second one reads.
    for count in [20, 150] {
        for number in 0..count {
            let payload = number.to_string();
            let record = FutureRecord::<(), _>::to(stage.topic.name())
                .partition(0)
                .payload(&payload);
            drop(others.send_result(record).expect("room in the queue"));
        }
        others.flush(PATIENCE).expect("the deliveries");
        let relay = stage.relay_with(few, None);
        relay.tend().await.expect("the leases");
        let outcome = relay.step(Partition(0)).await;
        assert_eq!(outcome, Outcome::Resumed { after: 30 });
        relay.leave().await;
    }
}

/// Appends to new streams of the first partition.
async fn append_more(stage: &Stage, count: usize) {
    let tenant = events::TenantId::parse("acme").expect("a tenant");
    let home = |user: &Uuid| {
        let stream = events::StreamId::user(&tenant, *user);
        stream.partition(stage.store.partitions()) == Partition(0)
    };
    let users = std::iter::repeat_with(Uuid::new_v4).filter(home);
    for user in users.take(count) {
        stage.append_to(user, 1, "").await;
    }
}
