//! Records of a history that the store has lost.

use std::time::Duration;

use testkit::eventually;

use crate::kafka::{FIRST, World, counter, engine_on};
use crate::stage::PATIENCE;
use crate::topic::LONG_SILENCE;

/// The store loses what stands above `keep` in the first partition, and begins incarnation 2.
async fn lose_tail(world: &World, keep: i64) {
    for statement in [
        "delete from event_store.event where partition = 0 and position > $1",
        "update event_store.partition_head set position = $1 where partition = 0",
    ] {
        let lost = sqlx::query(statement).bind(keep);
        lost.execute(&world.stage.pool).await.unwrap();
    }
    event_store::incarnation::fork(&world.stage.pool, 0)
        .await
        .unwrap();
}

#[tokio::test]
async fn void_records_are_not_applied_and_those_of_the_new_incarnation_are_applied() {
    let world = World::attached(LONG_SILENCE).await;
    let lost = world.unrelayed(5).await;
    let keep = world.position().await;
    lose_tail(&world, keep).await;
    // The engine does not know of it yet: the first record of the new incarnation tells.
    world
        .topic
        .writer
        .send(&lost.iter().collect::<Vec<_>>(), 1)
        .await;
    let events = world.unrelayed(3).await;
    world
        .topic
        .writer
        .send(&events.iter().collect::<Vec<_>>(), 2)
        .await;
    eventually(PATIENCE, || async {
        world.engine.step_partition(FIRST).await;
        let position = world.position().await;
        if position == keep + 3 {
            Ok(())
        } else {
            Err(position)
        }
    })
    .await;
    world.stage.assert_rows_are_the_fold(1).await;
    // The void records may have been read before the news of their loss: then what replaced them
    // came from the store. Kafka goes on with what comes after.
    world.eventually_fed_by_kafka().await;
}

#[tokio::test]
async fn void_records_are_counted_when_both_histories_are_in_the_topic() {
    let mut world = World::attached(LONG_SILENCE).await;
    world.engine.leave().await;
    let keep = world.position().await;
    let lost = world.unrelayed(5).await;
    lose_tail(&world, keep).await;
    let events = world.unrelayed(3).await;
    for (history, incarnation) in [(&lost, 1), (&events, 2)] {
        let records: Vec<_> = history.iter().collect();
        world.topic.writer.send(&records, incarnation).await;
    }
    let void = || counter("source_records_dropped_total", Some("void"));
    let before = void();
    // It goes on at the checkpoint's offset, so that one fetch brings all eight.
    world.engine = engine_on(&world.stage, &world.topic.topic, LONG_SILENCE).await;
    eventually(PATIENCE, || async {
        world.engine.step().await;
        let dropped = void() - before;
        if dropped >= 5.0 { Ok(()) } else { Err(dropped) }
    })
    .await;
    world.eventually_at_head().await;
    world.eventually_fed_by_kafka().await;
}

#[tokio::test]
async fn a_void_record_that_comes_before_the_news_of_its_loss_is_not_applied() {
    let world = World::attached(LONG_SILENCE).await;
    let lost = world.unrelayed(5).await;
    let keep = world.position().await;
    lose_tail(&world, keep).await;
    world
        .topic
        .writer
        .send(&lost.iter().collect::<Vec<_>>(), 1)
        .await;
    // No attending, so nobody tells the engine; the checkpoint's statement refuses the batch.
    for _ in 0..20 {
        world.engine.step_partition(FIRST).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.position().await, keep);
    world.append(2).await;
    world.eventually_at_head().await;
}

#[tokio::test]
async fn a_void_checkpoint_is_noticed_over_kafka_alone() {
    let world = World::attached(LONG_SILENCE).await;
    let head = world.head().await;
    lose_tail(&world, head - 1).await;
    let events = world.unrelayed(2).await;
    world
        .topic
        .writer
        .send(&events.iter().collect::<Vec<_>>(), 2)
        .await;
    eventually(PATIENCE, || async {
        world.engine.step().await;
        let generations = world.stage.generations().await;
        let states: Vec<_> = generations
            .iter()
            .map(|(_, _, state)| state.as_str())
            .collect();
        if states == ["void", "active"] {
            Ok(())
        } else {
            Err(generations)
        }
    })
    .await;
    world.stage.settle(&world.engine).await;
    assert_eq!(world.stage.rows(2).await, world.stage.fold(2).await);
}
