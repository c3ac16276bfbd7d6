//! Reading partitions: dense, or an error that says why.

use event_store::store_info::{check, info};
use event_store::{EventStore, ReadError};
use events::{Partition, StreamId};
use uuid::Uuid;

use crate::support::{Fixture, count, routed, scope, user};

async fn filled(fixture: &Fixture) -> (EventStore, Partition) {
    let node = fixture.node().await;
    let stream = routed("stream", "route");
    node.grow(&stream, 10).await;
    (node.store, stream.partition(count()))
}

async fn execute(fixture: &Fixture, statement: &str, partition: Partition) {
    let pool = fixture.database.pool();
    sqlx::query(statement)
        .bind(partition.as_i32())
        .execute(&pool)
        .await
        .expect("a statement");
}

#[tokio::test]
async fn a_range_is_read_whole_and_in_order() {
    let fixture = Fixture::create().await;
    let (store, partition) = filled(&fixture).await;
    let reader = store.partition_reader();
    let batch = reader.read(partition, 2, 5).await.expect("a batch");
    let positions: Vec<_> = batch
        .events
        .iter()
        .map(|event| event.address.position)
        .collect();
    assert_eq!(positions, [3, 4, 5, 6, 7]);
    assert_eq!(batch.head.position, 10);
    let first = &batch.events[0];
    assert_eq!(
        (first.sequence, first.stream_no, first.event_type.as_str()),
        (3, 1, "Happened")
    );
    assert_eq!(first.tenant, scope("acme").tenant);
    assert!(
        reader
            .read(partition, 10, 5)
            .await
            .expect("a batch")
            .events
            .is_empty()
    );
    assert_eq!(
        reader
            .read_range(partition, 0, 10)
            .await
            .expect("a range")
            .len(),
        10
    );
}

#[tokio::test]
async fn a_missing_event_is_a_hole_and_never_skipped() {
    let fixture = Fixture::create().await;
    let (store, partition) = filled(&fixture).await;
    execute(
        &fixture,
        "delete from event_store.event where partition = $1 and position = 5",
        partition,
    )
    .await;
    let read = store.partition_reader().read(partition, 0, 100).await;
    assert!(
        matches!(read, Err(ReadError::Hole { position: 5, .. })),
        "{read:?}"
    );
    let found = check(&fixture.database.pool()).await.expect("a check");
    let found = &found[partition.index()];
    assert!(!found.is_sound() && found.hole == Some(5), "{found:?}");
}

#[tokio::test]
async fn below_the_floor_is_the_archive() {
    let fixture = Fixture::create().await;
    let (store, partition) = filled(&fixture).await;
    execute(
        &fixture,
        "delete from event_store.event where partition = $1 and position <= 4",
        partition,
    )
    .await;
    execute(
        &fixture,
        "update event_store.partition_head set floor = 4 where partition = $1",
        partition,
    )
    .await;
    let reader = store.partition_reader();
    let read = reader.read(partition, 3, 100).await;
    assert!(
        matches!(read, Err(ReadError::Archived { floor: 4 })),
        "{read:?}"
    );
    let read = reader.read_range(partition, 0, 10).await;
    assert!(
        matches!(read, Err(ReadError::Archived { floor: 4 })),
        "{read:?}"
    );
    assert_eq!(
        reader
            .read(partition, 4, 100)
            .await
            .expect("a batch")
            .events
            .len(),
        6
    );
}

#[tokio::test]
async fn a_log_that_was_touched_shows_in_its_digest() {
    let fixture = Fixture::create().await;
    let (_, partition) = filled(&fixture).await;
    let pool = fixture.database.pool();
    assert!(
        check(&pool)
            .await
            .expect("a check")
            .iter()
            .all(|found| found.is_sound())
    );
    let touch = "update event_store.event set payload = '{}' where partition = $1 and position = 5";
    execute(&fixture, touch, partition).await;
    let found = check(&pool).await.expect("a check");
    for (number, found) in found.iter().enumerate() {
        assert_eq!(found.is_sound(), number != partition.index(), "{found:?}");
    }
}

#[tokio::test]
async fn a_store_says_what_it_is() {
    let fixture = Fixture::create().await;
    let (store, partition) = filled(&fixture).await;
    let info = info(&fixture.database.pool()).await.expect("info");
    assert_eq!(
        (info.store_id, info.partitions, info.format),
        (store.store_id(), 4, 1)
    );
    assert_eq!(info.incarnations.len(), 1);
    assert_eq!(info.heads[partition.index()].position, 10);
}

#[tokio::test]
async fn creating_a_store_again_checks_that_it_is_the_same() {
    let fixture = Fixture::create().await;
    let pool = fixture.database.pool();
    EventStore::create(&pool, count(), "fingerprint")
        .await
        .expect("the same store");
    let other = EventStore::create(&pool, count(), "another secret").await;
    assert!(matches!(other, Err(event_store::CreateError::OtherSecret)));
    let more = events::PartitionCount::new(8).expect("a count");
    let other = EventStore::create(&pool, more, "fingerprint").await;
    let found = event_store::CreateError::OtherPartitions { found: 4, asked: 8 };
    assert_eq!(
        other.expect_err("another store").to_string(),
        found.to_string()
    );
}

#[tokio::test]
async fn a_scope_reads_its_own_tenant_only() {
    let fixture = Fixture::create().await;
    let node = fixture.node().await;
    node.grow(&user(1), 1).await;
    let foreign = node.store.load(&scope("globex"), &user(1), 0).await;
    assert!(matches!(foreign, Err(ReadError::ForeignTenant)));
    let same_id = StreamId::user(&scope("globex").tenant, Uuid::from_u128(1));
    let loaded = node
        .store
        .load(&scope("globex"), &same_id, 0)
        .await
        .expect("a load");
    assert!(loaded.events.is_empty());
}
