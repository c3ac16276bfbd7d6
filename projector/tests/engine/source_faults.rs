//! A source may repeat itself and may skip; the rows do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use events::Partition;
use projector::engine::source::{Ask, PostgresSource, Source, SourceError, Stretch};

use crate::stage::Stage;
use crate::tally::Tally;

/// Reads the store and then spoils what it read, each time in another way.
struct Faulty {
    store: PostgresSource,
    reads: AtomicUsize,
}

#[async_trait]
impl Source for Faulty {
    async fn read(&self, ask: Ask) -> Result<Stretch, SourceError> {
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        // From further back: duplicates at the beginning.
        let back = if read.is_multiple_of(2) { 3 } else { 0 };
        let after = (ask.after - back).max(0);
        let mut stretch = self.store.read(Ask { after, ..ask }).await?;
        let events = &mut stretch.events;
        match read % 5 {
            0 if events.len() > 4 => {
                events.remove(events.len() - 2);
            }
            1 if events.len() > 4 => {
                events.drain(1..events.len() - 1);
            }
            2 => {
                let again = events.clone();
                events.extend(again);
            }
            3 => events.reverse(),
            _ => {}
        }
        Ok(stretch)
    }
}

fn counter(name: &str) -> f64 {
    let families = prometheus::gather();
    let family = families.iter().find(|family| family.name() == name);
    family.map_or(0.0, |family| {
        family.get_metric()[0].get_counter().get_value()
    })
}

#[tokio::test]
async fn holes_are_filled_from_the_store_and_duplicates_dropped_and_both_are_counted() {
    let stage = Stage::new().await;
    let source = Faulty {
        store: PostgresSource::new(stage.store.partition_reader()),
        reads: AtomicUsize::new(0),
    };
    let engine = stage.engine_on(Tally::leak(1, 1), Arc::new(source)).await;
    engine.step().await;
    let (holes, duplicates) = (
        counter("holes_filled_total"),
        counter("duplicates_dropped_total"),
    );
    for round in 0..12 {
        for n in 0..30 {
            stage.add(&format!("key-{}", n % 9), round * n).await;
        }
        engine.step().await;
    }
    stage.settle(&engine).await;
    stage.assert_rows_are_the_fold(1).await;
    assert!(counter("holes_filled_total") > holes);
    assert!(counter("duplicates_dropped_total") > duplicates);
}

/// Says that there is an event which the store does not have.
struct Ahead(PostgresSource);

#[async_trait]
impl Source for Ahead {
    async fn read(&self, ask: Ask) -> Result<Stretch, SourceError> {
        let mut stretch = self.0.read(ask).await?;
        if let Some(last) = stretch.events.last_mut() {
            last.address.position += 2;
        }
        Ok(stretch)
    }
}

#[tokio::test]
async fn a_source_that_is_ahead_of_the_store_moves_nothing() {
    let stage = Stage::new().await;
    let key = stage.keys_of_first_partition(1).remove(0);
    let source = Ahead(PostgresSource::new(stage.store.partition_reader()));
    let engine = stage.engine_on(Tally::leak(1, 1), Arc::new(source)).await;
    engine.step().await;
    stage.add(&key, 1).await;
    let outcome = engine.step_partition(Partition(0)).await;
    assert_eq!(outcome, projector::engine::Outcome::Trouble);
    assert!(stage.rows(1).await.is_empty() && stage.parked().await.is_empty());
}
