//! Random topics: nothing that one may do to the records shows in the rows.

use proptest::collection;
use proptest::test_runner::{Config, TestRunner};

use crate::kafka::{SHORT_SILENCE, World};

#[test]
fn whatever_the_topic_drops_repeats_and_disorders_the_rows_are_the_fold() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    // For each record: where it is moved to, and how often it is there.
    let strategy = collection::vec(collection::vec((0..12_usize, 0..3_usize), 1..25), 1..4);
    let mut runner = TestRunner::new(Config {
        cases: 6,
        ..Config::default()
    });
    runner
        .run(&strategy, |rounds| {
            runtime.block_on(async {
                let world = World::attached(SHORT_SILENCE).await;
                for round in rounds {
                    let events = world.unrelayed(round.len()).await;
                    let mut records: Vec<_> = round
                        .iter()
                        .zip(&events)
                        .enumerate()
                        .flat_map(|(place, ((moved, copies), event))| {
                            std::iter::repeat_n((place + moved, event), *copies)
                        })
                        .collect();
                    records.sort_by_key(|(place, _)| *place);
                    let records: Vec<_> = records.into_iter().map(|(_, event)| event).collect();
                    world.topic.writer.send(&records, 1).await;
                    world.eventually_at_head().await;
                }
            });
            Ok(())
        })
        .unwrap();
}
