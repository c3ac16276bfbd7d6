//! A rebuild of a projection without a fold in memory: another revision beside the shown one.

use std::sync::atomic::Ordering;

use projector::rebuild::{
    Allowed, Purpose, Rebuild, RebuildError, RebuildSettings, Refusal, Report,
};

use crate::stage::{Stage, settings};
use crate::tally::{FOLD, PANIC, Tally};

async fn rebuild(
    stage: &Stage,
    tally: &'static Tally,
    allowed: Allowed,
) -> Result<Report, RebuildError> {
    let small = RebuildSettings {
        parallelism: 2,
        range_events: 20,
        batch: settings().batch,
        parked_keys_max: settings().parked_keys_max,
        ..RebuildSettings::default()
    };
    let pool = stage.pool.clone();
    let run = Rebuild::new(pool, &stage.store, tally, small, allowed, Purpose::Switch);
    run.run(false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_revision_is_rebuilt_beside_the_shown_one_and_its_daemons_take_it_over() {
    let stage = Stage::new().await;
    let old = stage.engine(Tally::leak(1, 1)).await;
    for n in 0..300 {
        stage.add(&format!("key-{}", n % 30), n).await;
    }
    stage.settle(&old).await;
    stage.sign().await;
    let second = Tally::leak(2, 1);
    let report = rebuild(&stage, second, Allowed::default()).await.unwrap();
    assert_eq!((report.generation, report.compared_with), (2, Some(1)));
    let both = [(1, 1, "standby".to_owned()), (2, 2, "active".to_owned())];
    assert_eq!(stage.generations().await, both);
    stage.assert_rows_are_the_fold(2).await;
    // A daemon of the new revision goes on with it and begins nothing of its own.
    let new = stage.engine(second).await;
    stage.add("key-1", 7).await;
    stage.settle(&new).await;
    assert_eq!(stage.generations().await, both);
    stage.assert_rows_are_the_fold(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_parked_as_live_parks_it_and_refuses_the_switch() {
    let stage = Stage::new().await;
    let live = stage.engine(Tally::leak(1, 1)).await;
    for n in 0..200 {
        stage.add(&format!("key-{}", n % 20), n).await;
    }
    for poison in [PANIC, FOLD] {
        stage.append(&format!("bad {poison}"), 1, poison).await;
        stage
            .append(&format!("bad {poison}"), 1, r#"{"add": 1}"#)
            .await;
    }
    stage.settle(&live).await;
    stage.sign().await;
    let same = Tally::leak(1, 1);
    let refused = rebuild(&stage, same, Allowed::default()).await.unwrap_err();
    let RebuildError::Refused(Refusal::Parked { count: 4, .. }) = refused else {
        panic!("{refused}");
    };
    assert_eq!(stage.generations().await[0], (1, 1, "active".to_owned()));
    let allowed = Allowed {
        parked: true,
        ..Allowed::default()
    };
    let report = rebuild(&stage, same, allowed).await.unwrap();
    assert_eq!(report.generation, 2, "what was built is gone on with");
    assert_eq!(stage.rows(1).await, stage.rows(2).await);
    assert_eq!(same.knows.load(Ordering::Relaxed), 1);
}
