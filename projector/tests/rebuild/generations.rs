//! Both generations are fed after a switch; rollback shows the older one again, gc drops it.

use std::time::Duration;

use projector::rebuild::RebuildError;
use projector::rebuild::gc::{self, Garbage};
use projector::rebuild::rollback::{RollbackError, rollback};
use read_model::user_view::UserView;

use crate::world::World;

const MOMENT: Duration = Duration::from_millis(500);

/// Drops it; which generations were dropped, and which were not.
async fn drop_all(world: &World, garbage: &[Garbage]) -> Vec<(i32, bool)> {
    let mut told = Vec::new();
    let tell = |one: Garbage, dropped| told.push((one.generation, dropped));
    gc::drop_all(&world.pool, &UserView, garbage, tell)
        .await
        .unwrap();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_is_fed_on_and_can_be_shown_again_until_it_is_dropped() {
    let (mut world, engine) = World::live(2_000).await;
    world.rebuild().run(false).await.unwrap();
    world.append(300).await;
    // Nobody has fed either: they stand at the same place, so it may go back.
    let back = rollback(&world.pool, &UserView, None, MOMENT)
        .await
        .unwrap();
    assert_eq!((back.from, back.to), (2, 1));
    world.settle(&engine).await;
    world.assert_equal(1, 2).await;
    let forth = rollback(&world.pool, &UserView, Some(2), MOMENT)
        .await
        .unwrap();
    assert_eq!((forth.from, forth.to), (1, 2));

    // A generation that is behind is not shown.
    let behind = "update projection.checkpoint set position = position - 1
        where generation = 1 and partition = 3";
    world.execute(behind).await;
    let refused = rollback(&world.pool, &UserView, None, MOMENT)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, RollbackError::Behind { to: 1, .. }),
        "{refused}"
    );

    assert!(
        gc::find(&world.pool, &UserView, false)
            .await
            .unwrap()
            .is_empty()
    );
    let garbage = gc::find(&world.pool, &UserView, true).await.unwrap();
    assert_eq!(garbage.len(), 1);
    // Of two operators at once the second hears that it dropped nothing.
    for dropped in [true, false] {
        assert_eq!(drop_all(&world, &garbage).await, [(1, dropped)]);
    }
    assert_eq!(world.generations().await, [(2, "active".to_owned())]);
    let refused = rollback(&world.pool, &UserView, None, MOMENT)
        .await
        .unwrap_err();
    assert!(matches!(refused, RollbackError::NoStandby), "{refused}");
    // The daemon lets go of what is no more, and feeds what is.
    world.append(300).await;
    world.settle(&engine).await;
    let report = world.compare().await.unwrap();
    assert_eq!(report.compared_with, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_rebuilt_is_neither_dropped_nor_fed_nor_shown_by_others() {
    let (mut world, engine) = World::live(1_000).await;
    // Somebody else's rebuild, at work just now.
    for statement in [
        "insert into projection.generation (projection, generation, revision, state, cut)
        values ('user_view', 2, 1, 'building', '{0,0,0,0}')",
        "insert into projection.checkpoint (projection, generation, partition, incarnation, epoch)
        select 'user_view', 2, partition, 1, -1 from generate_series(0, 3) as partition",
        "insert into projection.rebuild (projection, owner, epoch, expires_at)
        values ('user_view', gen_random_uuid(), 1, clock_timestamp() + interval '1 hour')",
    ] {
        world.execute(statement).await;
    }
    world.append(200).await;
    world.settle(&engine).await;
    let other = world.engine().await;
    engine.leave().await;
    world.settle(&other).await;
    let moved = "select sum(position)::bigint from projection.checkpoint where generation = 2";
    let moved: i64 = sqlx::query_scalar(moved)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(moved, 0);
    let building = [(1, "active".to_owned()), (2, "building".to_owned())];
    assert_eq!(world.generations().await, building);
    assert!(
        gc::find(&world.pool, &UserView, true)
            .await
            .unwrap()
            .is_empty()
    );
    let busy = world.rebuild().run(false).await.unwrap_err();
    assert!(matches!(busy, RebuildError::Busy { .. }), "{busy}");

    // That process died: what it left can go.
    world
        .execute("update projection.rebuild set expires_at = '-infinity'")
        .await;
    let garbage = gc::find(&world.pool, &UserView, false).await.unwrap();
    assert_eq!(garbage[0].state, "abandoned");
    assert_eq!(drop_all(&world, &garbage).await, [(2, true)]);
    assert_eq!(world.generations().await, [(1, "active".to_owned())]);
}
