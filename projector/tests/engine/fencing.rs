//! Nobody moves a checkpoint but the holder of its lease, and rows move with the checkpoint or not
//! at all.

use std::time::Duration;

use events::Partition;
use projector::engine::{EngineSettings, Outcome};
use testkit::eventually;

use crate::stage::{PATIENCE, Stage, applied, settings};
use crate::tally::Tally;

#[tokio::test]
async fn a_daemon_that_was_paused_past_its_lease_is_fenced() {
    let stage = Stage::new().await;
    let key = stage.keys_of_first_partition(1).remove(0);
    let brief = EngineSettings {
        lease: Duration::from_millis(300),
        ..settings()
    };
    let paused = stage.engine_with(Tally::leak(1, 1), brief).await;
    stage.settle(&paused).await;
    stage.add(&key, 1).await;
    // It is paused here. Its leases run out, and another takes them and goes on.
    let awake = stage.engine_with(Tally::leak(1, 1), brief).await;
    eventually(PATIENCE, || async {
        awake.step().await;
        let held = awake.holds("tally").len();
        if held == 4 { Ok(()) } else { Err(held) }
    })
    .await;
    stage.settle(&awake).await;
    stage.add(&key, 2).await;
    // It wakes up, still believing in its lease.
    assert_eq!(paused.step_partition(Partition(0)).await, Outcome::Fenced);
    assert_eq!(
        paused.step_partition(Partition(0)).await,
        Outcome::Fenced,
        "and stays out"
    );
    stage.settle(&awake).await;
    stage.assert_rows_are_the_fold(1).await;
}

#[tokio::test]
async fn a_lease_that_is_taken_in_the_middle_of_a_batch_waits_for_it_and_nothing_is_applied_twice()
{
    let stage = Stage::new().await;
    let key = stage.keys_of_first_partition(1).remove(0);
    let brief = EngineSettings {
        lease: Duration::from_millis(300),
        ..settings()
    };
    let tally = Tally::leak(1, 1);
    let slow = stage.engine_with(tally, brief).await;
    stage.settle(&slow).await;
    stage.add(&key, 1).await;
    let rival = stage.impatient_engine(Tally::leak(1, 1), brief).await;
    stage
        .execute("update projection.lease set expires_at = '-infinity'")
        .await;
    *tally.rival.lock().unwrap() = Some(rival.clone());
    assert_eq!(applied(slow.step_partition(Partition(0)).await), 1);
    assert!(
        !rival.holds("tally").contains(&Partition(0)),
        "that one was in the batch's hands"
    );
    // Two is its share; three when the slow one is taken for dead by then.
    assert!(
        rival.holds("tally").len() >= 2,
        "one lock does not keep it from the others"
    );
    stage
        .execute("update projection.lease set expires_at = '-infinity'")
        .await;
    stage.execute("delete from projection.daemon").await;
    stage.settle(&rival).await;
    stage.assert_rows_are_the_fold(1).await;
}

#[tokio::test]
async fn the_epoch_in_the_checkpoint_fences_even_when_the_lease_row_says_otherwise() {
    let stage = Stage::new().await;
    let key = stage.keys_of_first_partition(1).remove(0);
    let engine = stage.engine(Tally::leak(1, 1)).await;
    stage.settle(&engine).await;
    stage
        .execute("update projection.checkpoint set epoch = epoch + 1")
        .await;
    stage.add(&key, 1).await;
    assert_eq!(engine.step_partition(Partition(0)).await, Outcome::Fenced);
    assert!(stage.rows(1).await.is_empty());
}

#[tokio::test]
async fn a_checkpoint_that_moved_is_followed() {
    let stage = Stage::new().await;
    let key = stage.keys_of_first_partition(1).remove(0);
    let engine = stage.engine(Tally::leak(1, 1)).await;
    stage.settle(&engine).await;
    stage.add(&key, 1).await;
    stage.add(&key, 2).await;
    // As after a commit whose answer was lost: rows and checkpoint stand at 1.
    let mut transaction = stage.pool.begin().await.unwrap();
    for statement in [
        "insert into read_model.tally_g1 values ('KEY', 0, 1, 1, 8)",
        "update projection.checkpoint set position = 1 where partition = 0",
    ] {
        let statement = statement.replace("KEY", &key);
        sqlx::query(&statement)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    stage.settle(&engine).await;
    stage.assert_rows_are_the_fold(1).await;
}

#[tokio::test]
async fn a_kill_between_rows_and_checkpoint_leaves_neither() {
    let stage = Stage::new().await;
    let key = stage.keys_of_first_partition(1).remove(0);
    let tally = Tally::leak(1, 1);
    let engine = stage.engine(tally).await;
    stage.settle(&engine).await;
    stage.add(&key, 1).await;
    // The trigger kills the session after the rows are written, where a crash would.
    stage
        .execute(
            "create function read_model.kill() returns trigger language plpgsql as
            $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$",
        )
        .await;
    stage
        .execute(
            "create trigger kill after insert on read_model.tally_g1
            for each row execute function read_model.kill()",
        )
        .await;
    assert_eq!(engine.step_partition(Partition(0)).await, Outcome::Trouble);
    let position: i64 =
        sqlx::query_scalar("select position from projection.checkpoint where partition = 0")
            .fetch_one(&stage.pool)
            .await
            .unwrap();
    assert_eq!(position, 0);
    assert!(stage.rows(1).await.is_empty());
    stage
        .execute("drop trigger kill on read_model.tally_g1")
        .await;
    stage.settle(&engine).await;
    stage.assert_rows_are_the_fold(1).await;
}

#[tokio::test]
async fn what_a_crash_of_the_database_took_back_is_applied_again_without_a_new_event() {
    let stage = Stage::new().await;
    let key = stage.keys_of_first_partition(1).remove(0);
    let engine = stage.engine(Tally::leak(1, 1)).await;
    stage.add(&key, 1).await;
    stage.settle(&engine).await;
    for (copy, of) in COPIES {
        stage
            .execute(&format!("create table {copy} as table {of}"))
            .await;
    }
    stage.add(&key, 2).await;
    stage.settle(&engine).await;
    // Batches commit asynchronously: a crash may take the last of them back, rows and checkpoint.
    for (copy, of) in COPIES {
        stage.execute(&format!("delete from {of}")).await;
        stage
            .execute(&format!("insert into {of} table {copy}"))
            .await;
    }
    assert!(stage.rows(1).await != stage.fold(1).await);
    stage.settle(&engine).await;
    stage.assert_rows_are_the_fold(1).await;
}

/// What a batch writes, and where the test keeps an older state of it.
const COPIES: [(&str, &str); 2] = [
    ("public.older_rows", "read_model.tally_g1"),
    ("public.older_checkpoint", "projection.checkpoint"),
];
