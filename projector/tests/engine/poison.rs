//! A poison event parks its key and nothing else (I12); trouble that passes parks nothing.

use std::sync::atomic::Ordering;

use events::Partition;
use projector::engine::Outcome;
use testkit::eventually;

use crate::stage::{PATIENCE, Stage};
use crate::tally::{CHECK, FOLD, MALFORMED, PANIC, Tally};

/// One poison among 40 keys of one partition, each with 3 events after it.
async fn parks_only_its_key(version: i32, payload: &str, reason: &str) {
    let stage = Stage::new().await;
    let engine = stage.engine(Tally::leak(1, 1)).await;
    stage.settle(&engine).await;
    let keys = stage.keys_of_first_partition(40);
    let ill = &keys[17];
    for key in &keys {
        stage.add(key, 1).await;
    }
    let poison = stage.append(ill, version, payload).await;
    let mut behind = Vec::new();
    for round in 0..3 {
        for key in &keys {
            let address = stage.add(key, round).await;
            if key == ill {
                behind.push((address.position, "behind".to_owned()));
            }
        }
    }
    stage.settle(&engine).await;
    let mut expected = vec![(poison.position, reason.to_owned())];
    expected.extend(behind);
    assert_eq!(stage.parked().await, expected, "{reason}");
    stage.assert_rows_are_the_fold(1).await;
    let rows = stage.rows(1).await;
    assert_eq!(
        rows[ill].events, 1,
        "what came before the poison was applied"
    );
    assert_eq!(rows[&keys[0]].events, 4);
    assert!(engine.health().suspect.is_empty());
}

#[tokio::test]
async fn an_unknown_version_parks_only_its_key() {
    parks_only_its_key(2, r#"{"add": 1}"#, "unknown_version").await;
}

#[tokio::test]
async fn a_malformed_payload_parks_only_its_key() {
    parks_only_its_key(1, MALFORMED, "malformed").await;
}

#[tokio::test]
async fn a_fold_error_parks_only_its_key() {
    parks_only_its_key(1, FOLD, "fold").await;
}

#[tokio::test]
async fn a_panic_parks_only_its_key() {
    parks_only_its_key(1, PANIC, "panic").await;
}

#[tokio::test]
async fn a_refusal_of_the_database_parks_only_its_key() {
    parks_only_its_key(1, CHECK, "database").await;
}

#[tokio::test]
async fn several_poisons_in_one_batch_park_a_key_each() {
    let stage = Stage::new().await;
    let engine = stage.engine(Tally::leak(1, 1)).await;
    stage.settle(&engine).await;
    let keys = stage.keys_of_first_partition(20);
    for (key, payload) in [(3, PANIC), (4, CHECK), (11, FOLD)] {
        stage.append(&keys[key], 1, payload).await;
    }
    for key in &keys {
        stage.add(key, 5).await;
    }
    stage.settle(&engine).await;
    let reasons: Vec<_> = stage
        .parked()
        .await
        .into_iter()
        .map(|(_, reason)| reason)
        .collect();
    assert_eq!(
        reasons,
        ["panic", "database", "fold", "behind", "behind", "behind"]
    );
    stage.assert_rows_are_the_fold(1).await;
    assert_eq!(stage.rows(1).await.len(), 17);
}

#[tokio::test]
async fn more_parked_keys_than_allowed_stop_the_projection_until_the_deploy_is_mended() {
    let stage = Stage::new().await;
    let tally = Tally::leak(1, 1);
    let engine = stage.engine(tally).await;
    stage.settle(&engine).await;
    let keys = stage.keys_of_first_partition(4);
    for key in &keys {
        stage.append(key, 2, r#"{"add": 1}"#).await;
    }
    assert_eq!(engine.step_partition(Partition(0)).await, Outcome::Suspect);
    assert!(
        stage.parked().await.is_empty(),
        "nothing of the batch was committed"
    );
    assert_eq!(engine.health().suspect, ["tally"]);
    // Other partitions stop, too.
    let elsewhere = (0..).map(|n| format!("other-{n}"));
    let elsewhere = elsewhere
        .map(|key| {
            (
                stage.store.partitions().partition_of(&stage.tenant, &key),
                key,
            )
        })
        .find(|(partition, _)| partition.0 == 1);
    stage.add(&elsewhere.unwrap().1, 1).await;
    assert_eq!(engine.step_partition(Partition(1)).await, Outcome::Idle);
    tally.knows.store(2, Ordering::Relaxed);
    eventually(PATIENCE, || async {
        engine.step().await;
        let suspect = engine.health().suspect;
        if suspect.is_empty() {
            Ok(())
        } else {
            Err(suspect)
        }
    })
    .await;
    stage.settle(&engine).await;
    stage.assert_rows_are_the_fold(1).await;
    assert_eq!(stage.rows(1).await.len(), 5);
}

#[tokio::test]
async fn trouble_that_passes_parks_nothing() {
    let stage = Stage::new().await;
    let tally = Tally::leak(1, 1);
    let engine = stage.engine(tally).await;
    stage.settle(&engine).await;
    let key = stage.keys_of_first_partition(1).remove(0);
    stage.add(&key, 1).await;
    tally.trouble.store(3, Ordering::Relaxed);
    assert_eq!(engine.step_partition(Partition(0)).await, Outcome::Trouble);
    assert_eq!(
        engine.step_partition(Partition(0)).await,
        Outcome::Idle,
        "it backs off"
    );
    stage.settle(&engine).await;
    assert!(stage.parked().await.is_empty());
    stage.assert_rows_are_the_fold(1).await;
}
