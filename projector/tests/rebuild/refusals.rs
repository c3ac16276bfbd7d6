//! Whatever does not add up ends a rebuild without a switch, and is named.

use projector::engine::repair::Bench;
use projector::rebuild::{Allowed, Purpose, RebuildError, RebuildSettings, Refusal};
use read_model::user_view::UserView;
use sqlx::postgres::PgPoolOptions;
use testkit::eventually;
use testkit::pipeline::proxy::Proxy;

use crate::log;
use crate::world::{PATIENCE, World, settings};

/// What was shown is shown still, and what was built is not.
async fn assert_not_switched(world: &World) {
    assert_eq!(world.generations().await[0], (1, "active".to_owned()));
    let shown = "select pg_get_viewdef('read_model.user_view'::regclass)";
    let shown: String = sqlx::query_scalar(shown)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(shown.contains("user_view_g1"), "{shown}");
}

async fn refusal(world: &World, allowed: Allowed) -> (Refusal, String) {
    let refused = world.rebuild_with(settings(), allowed).run(true).await;
    assert_not_switched(world).await;
    match refused.unwrap_err() {
        RebuildError::Refused(refusal) => {
            let text = refusal.to_string();
            (refusal, text)
        }
        other => panic!("not a refusal: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_changed_is_found_by_the_digest() {
    let (world, _engine) = World::live(3_000).await;
    let changed = world
        .execute(
            "update event_store.event
            set payload = replace(payload::text, '2026-', '2025-')::json
            where partition = 2 and position = 400",
        )
        .await;
    assert_eq!(changed, 1);
    let (refusal, text) = refusal(&world, Allowed::default()).await;
    assert!(
        matches!(refusal, Refusal::Digest { partition, .. } if partition.0 == 2),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_missing_ends_the_reading() {
    let (world, _engine) = World::live(3_000).await;
    world
        .execute("delete from event_store.event where partition = 1 and position = 300")
        .await;
    let refused = world.rebuild().run(false).await.unwrap_err();
    let RebuildError::Read(error) = refused else {
        panic!("{refused}");
    };
    assert!(error.to_string().contains("300"), "{error}");
    assert_not_switched(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_wrong_or_missing_in_what_is_shown_is_named() {
    let (world, _engine) = World::live(3_000).await;
    let (tenant, changed) = world.people.users[3].clone();
    let change = "update read_model.user_view_g1 set display_name = 'Mallory' where id = $1";
    sqlx::query(change)
        .bind(changed)
        .execute(&world.pool)
        .await
        .unwrap();
    let (_, text) = refusal(&world, Allowed::default()).await;
    assert!(
        text.contains("1 of user_view differ in display_name"),
        "{text}"
    );
    assert!(
        text.contains(&format!("{}/{changed}", tenant.as_str())),
        "{text}"
    );
    assert!(!text.contains("Mallory"), "no personal value: {text}");

    let (_, missing) = world.people.users[5].clone();
    let delete = "delete from read_model.user_view_g1 where id = $1";
    sqlx::query(delete)
        .bind(missing)
        .execute(&world.pool)
        .await
        .unwrap();
    let column = Allowed::default().differences(["display_name".to_owned()]);
    let (refusal, text) = refusal(&world, column.clone()).await;
    assert!(matches!(&refusal, Refusal::Differences { differences, .. } if differences.len() == 1));
    assert!(text.contains("missing in what is shown"), "{text}");
    assert!(text.contains(&missing.to_string()), "{text}");
    let compared = world.compare().await;
    assert!(matches!(
        compared.unwrap_err(),
        RebuildError::Unfinished { .. }
    ));

    // The operator says that the shown rows are the wrong ones.
    let both = column.differences(["rows".to_owned()]);
    let report = world
        .rebuild_with(settings(), both)
        .run(false)
        .await
        .unwrap();
    assert!(report.switched);
    assert_eq!(report.differences.len(), 2);
    let name: Option<String> =
        sqlx::query_scalar("select display_name from read_model.user_view where id = $1")
            .bind(changed)
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_ne!(name.as_deref(), Some("Mallory"));
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_keys_are_refused_unless_they_are_allowed_and_what_was_given_up_stays_so() {
    let (mut world, engine) = World::live(1_000).await;
    let unknown = world.people.unknown();
    let address = unknown.address;
    log::append(&world.pool, &[unknown]).await;
    world.append(200).await;
    world.settle(&engine).await;
    let (refusal, text) = refusal(&world, Allowed::default()).await;
    assert!(matches!(refusal, Refusal::Parked { .. }), "{text}");
    assert!(
        text.contains(&format!("{address} (unknown_version)")),
        "{text}"
    );
    let parked = Allowed {
        parked: true,
        ..Allowed::default()
    };
    let report = world
        .rebuild_with(settings(), parked)
        .run(false)
        .await
        .unwrap();
    assert!(report.switched);
    world.assert_equal(1, report.generation).await;

    // Given up in what is shown: the next rebuild gives it up, too, and has nothing to refuse.
    let reader = world.store.partition_reader();
    for generation in [1, report.generation] {
        let bench = Bench {
            pool: &world.pool,
            reader: &reader,
            projection: &UserView,
            generation,
        };
        bench.discard(address).await.unwrap();
    }
    world.settle(&engine).await;
    let next = world.rebuild().run(false).await.unwrap();
    assert!(next.switched);
    world.assert_equal(report.generation, next.generation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_while_it_reads_ends_in_an_error_and_the_next_run_goes_on() {
    let (world, engine) = World::live(20_000).await;
    let proxy = Proxy::start(&world.database.options()).await;
    let url = proxy.url(&world.database.options());
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(std::time::Duration::from_secs(1))
        .connect_lazy(&url)
        .unwrap();
    let small = RebuildSettings {
        parallelism: 1,
        range_events: 100,
        ..settings()
    };
    let cut = world.rebuild_on(pool, small, Allowed::default(), Purpose::Switch);
    let progress = cut.progress();
    let cutting = async {
        eventually(PATIENCE, || async {
            let done = progress.done();
            if done > 6_000 { Ok(()) } else { Err(done) }
        })
        .await;
        proxy.down();
    };
    let (ended, ()) = tokio::join!(cut.run(false), cutting);
    assert!(ended.is_err(), "a partial read is never a success");
    assert_not_switched(&world).await;
    // Nobody holds the lease any more; a daemon leaves what was built alone.
    world
        .execute("update projection.rebuild set expires_at = '-infinity'")
        .await;
    engine.step().await;
    let states = world.generations().await;
    assert_eq!(
        states,
        [(1, "active".to_owned()), (2, "building".to_owned())]
    );
    let report = world.rebuild().run(false).await.unwrap();
    assert_eq!(report.generation, 2);
    assert!(
        report.events < 20_000,
        "finished slices are kept: {}",
        report.events
    );
    world.assert_equal(1, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_rebuilds_at_once_the_second_is_refused() {
    let (world, _engine) = World::live(5_000).await;
    let (first, second) = (world.rebuild(), world.rebuild());
    let (first, second) = tokio::join!(first.run(false), second.run(false));
    let (won, lost) = match (first, second) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        other => panic!("{other:?}"),
    };
    assert!(won.switched);
    assert!(matches!(lost, RebuildError::Busy { .. }), "{lost}");
    let states = world.generations().await;
    assert_eq!(
        states,
        [(1, "standby".to_owned()), (2, "active".to_owned())]
    );
}
