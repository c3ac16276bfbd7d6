//! First fill, switch of generations, and many readers of one key.

use testkit::eventually;
use uuid::Uuid;

use crate::app::{SOON, Setup, TestApp, user};

#[tokio::test(flavor = "multi_thread")]
async fn while_the_view_is_filled_reads_say_so_and_then_the_truth() {
    let app = TestApp::spawn_with(Setup {
        filling: true,
        ..Setup::default()
    })
    .await;
    let token = app.register(1).await;
    let paths = [
        user(1),
        format!("/v1/users?ids={}", Uuid::from_u128(1)),
        "/v1/users".to_owned(),
    ];
    for path in &paths {
        for headers in [vec![], vec![("consistency-token", token.as_str())]] {
            let reply = app.get_with(path, &headers).await;
            reply.is_problem(503, "filling");
            assert_eq!(reply.header("retry-after"), "1");
        }
    }
    assert!(
        app.readiness.report().await.ready,
        "filling is shown, not failed"
    );
    app.activate().await;
    for path in &paths {
        eventually(SOON, || async {
            let reply = app.get_with(path, &[("consistency-token", &token)]).await;
            if reply.status == 200 {
                Ok(())
            } else {
                Err(reply)
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_checkpoint_is_filling_although_rows_are_there() {
    let app = TestApp::spawn().await;
    app.register(1).await;
    app.get(&user(1)).await.is_ok();
    app.execute(
        "insert into event_store.incarnation (number, system_identifier, timeline, heads)
         values (2, 1, 2, '{0,0,0,0}');
         update event_store.partition_head set incarnation = 2",
    )
    .await;
    eventually(SOON, || async {
        let reply = app.get(&user(1)).await;
        if reply.status == 503 {
            Ok(reply)
        } else {
            Err(reply)
        }
    })
    .await
    .is_problem(503, "filling");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_of_generations_fails_no_read_and_changes_the_etag_also_of_one_revision() {
    let settings = vec![("CACHE_L1_FRESH", "1ms")];
    let app = TestApp::spawn_with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    app.register(1).await;
    assert_eq!(app.get(&user(1)).await.is_ok().header("etag"), "\"v1.1\"");
    // The view gets a column less at its end and one more: prepared plans of it are void.
    app.execute(
        "select read_model.create_user_view(2);
         insert into read_model.user_view_g2 select * from read_model.user_view_g1;
         insert into projection.generation (projection, generation, revision, state, cut)
         values ('user_view', 2, 1, 'standby', '{0,0,0,0}');
         insert into projection.checkpoint (projection, generation, partition, incarnation, position)
         select projection, 2, partition, incarnation, position from projection.checkpoint;
         begin;
         update projection.generation set state = 'standby' where generation = 1;
         update projection.generation set state = 'active' where generation = 2;
         create or replace view read_model.user_view as select * from read_model.user_view_g2;
         commit",
    )
    .await;
    eventually(SOON, || async {
        let reply = app.get(&user(1)).await;
        if reply.is_ok().header("etag") == "\"v1.2\"" {
            Ok(())
        } else {
            Err(reply)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_result_type_costs_one_retry_and_no_failure() {
    let settings = vec![("CACHE_L1_FRESH", "1ms"), ("DB_POOL_QUERY", "1")];
    let app = TestApp::spawn_with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    app.register(1).await;
    app.get(&user(1)).await.is_ok();
    app.get("/v1/users").await.is_ok();
    // `varchar` where the prepared plan has `text`: PostgreSQL answers 0A000 once.
    app.execute(
        "drop view read_model.user_view;
         create view read_model.user_view as
         select tenant, id, home, version, status, email::varchar(254) as email, email_hash,
            email_key_version, name, region, bio, display_name, avatar_url, created_at, last_active
         from read_model.user_view_g1",
    )
    .await;
    for path in [
        user(1),
        "/v1/users".to_owned(),
        format!("/v1/users?ids={}", Uuid::from_u128(1)),
    ] {
        app.get(&path).await.is_ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_one_key_share_one_read() {
    let settings = vec![("CACHE_L1_FRESH", "60s")];
    let app = TestApp::spawn_with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    app.register(1).await;
    // A view that counts the rows it gives, and takes its time.
    app.execute(
        "create sequence read_model.reads;
         create or replace view read_model.user_view as
         select * from read_model.user_view_g1
         where nextval('read_model.reads') > 0 and pg_sleep(0.3)::text is not null",
    )
    .await;
    let path = user(1);
    let replies = futures_util::future::join_all((0..20).map(|_| app.get(&path))).await;
    for reply in &replies {
        reply.is_ok();
    }
    assert_eq!(
        app.count("select last_value from read_model.reads").await,
        1
    );
}
