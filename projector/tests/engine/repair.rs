//! Retry drains a key in order, discard gives up its first event, and a newer binary helps itself.

use std::sync::atomic::Ordering;

use events::Address;
use projector::engine::Engine;
use projector::engine::repair::{Bench, RepairError, Retried};

use crate::stage::Stage;
use crate::tally::{FOLD, Tally};

struct Parked {
    stage: Stage,
    tally: &'static Tally,
    engine: Engine,
    key: String,
    first: Address,
}

/// A key with a poison and two events behind it.
async fn parked(version: i32, payload: &str) -> Parked {
    let stage = Stage::new().await;
    let tally = Tally::leak(1, 1);
    let engine = stage.engine(tally).await;
    stage.settle(&engine).await;
    let key = stage.keys_of_first_partition(1).remove(0);
    stage.add(&key, 1).await;
    let first = stage.append(&key, version, payload).await;
    stage.add(&key, 2).await;
    stage.add(&key, 3).await;
    stage.settle(&engine).await;
    assert_eq!(stage.parked().await.len(), 3);
    Parked {
        stage,
        tally,
        engine,
        key,
        first,
    }
}

impl Parked {
    async fn retry(&self, address: Address) -> Result<Retried, RepairError> {
        let reader = self.stage.store.partition_reader();
        self.bench(&reader).retry(address).await
    }

    async fn discard(&self, address: Address) -> Result<Retried, RepairError> {
        let reader = self.stage.store.partition_reader();
        self.bench(&reader).discard(address).await
    }

    fn bench<'a>(&'a self, reader: &'a event_store::PartitionReader) -> Bench<'a> {
        Bench {
            pool: &self.stage.pool,
            reader,
            projection: self.tally,
            generation: 1,
        }
    }
}

#[tokio::test]
async fn a_retry_after_the_cause_is_gone_drains_the_key_in_order() {
    let parked = parked(2, r#"{"add": 7}"#).await;
    let Parked {
        stage,
        tally,
        engine,
        key,
        first,
    } = &parked;
    let stuck = parked.retry(*first).await.unwrap();
    assert_eq!(
        stuck,
        Retried {
            applied: 0,
            stuck_at: Some(*first)
        }
    );
    tally.knows.store(2, Ordering::Relaxed);
    let drained = parked.retry(*first).await.unwrap();
    assert_eq!(
        drained,
        Retried {
            applied: 3,
            stuck_at: None
        }
    );
    assert!(stage.parked().await.is_empty());
    // The engine notices by its next fence, and later events of the key are applied at once.
    stage.add(key, 4).await;
    stage.settle(engine).await;
    assert!(stage.parked().await.is_empty());
    stage.assert_rows_are_the_fold(1).await;
    assert_eq!(stage.rows(1).await[key].events, 5);
}

#[tokio::test]
async fn a_discard_gives_up_the_first_event_only_and_applies_the_rest() {
    let parked = parked(1, FOLD).await;
    let Parked {
        stage,
        engine,
        key,
        first,
        ..
    } = &parked;
    let second = Address {
        position: first.position + 1,
        ..*first
    };
    let refused = parked.discard(second).await.unwrap_err();
    assert!(matches!(refused, RepairError::NotFirst { first: named, .. } if named == *first));
    let drained = parked.discard(*first).await.unwrap();
    assert_eq!(
        drained,
        Retried {
            applied: 2,
            stuck_at: None
        }
    );
    stage.add(key, 4).await;
    stage.settle(engine).await;
    assert!(stage.parked().await.is_empty());
    assert_eq!(stage.rows(1).await[key].amount, 1 + 2 + 3 + 4);
    stage.assert_rows_are_the_fold(1).await;
    let again = parked.discard(*first).await.unwrap_err();
    assert!(matches!(again, RepairError::NotParked(_)));
}

#[tokio::test]
async fn a_newer_binary_retries_unknown_versions_when_it_starts() {
    let parked = parked(2, r#"{"add": 7}"#).await;
    let Parked {
        stage, engine, key, ..
    } = &parked;
    engine.leave().await;
    let newer = Tally::leak(1, 1);
    newer.knows.store(2, Ordering::Relaxed);
    let newer = stage.engine(newer).await;
    stage.settle(&newer).await;
    assert!(stage.parked().await.is_empty());
    assert_eq!(stage.rows(1).await[key].events, 4);
    stage.assert_rows_are_the_fold(1).await;
}

#[tokio::test]
async fn applied_and_parked_and_discarded_add_up_to_the_position() {
    let parked = parked(1, FOLD).await;
    parked.discard(parked.first).await.unwrap();
    let (position, kept): (i64, i64) = sqlx::query_as(
        "select c.position, (select count(*) from projection.parked)
        from projection.checkpoint c where partition = 0",
    )
    .fetch_one(&parked.stage.pool)
    .await
    .unwrap();
    let applied: i64 = parked
        .stage
        .rows(1)
        .await
        .values()
        .map(|row| row.events)
        .sum();
    assert_eq!(applied + kept, position);
}
