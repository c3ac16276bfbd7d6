//! Read your own writes: a read with a token shows at least that state or says that it cannot.

use std::time::{Duration, Instant};

use events::UserEvent;
use testkit::eventually;
use testkit::history::{active, registered};
use uuid::Uuid;

use crate::app::{SOON, Setup, TestApp, acme, token, user};
use crate::outages::behind_a_proxy;

/// No answer takes longer, on whatever machine; what it says is how long it waited.
const SLOWEST: Duration = Duration::from_secs(10);

/// A token of user 1's next event, which nobody has projected yet.
async fn unprojected(app: &TestApp) -> (events::RecordedEvent, String) {
    let event = app.append(&acme(), Uuid::from_u128(1), &active(1)).await;
    let token = token(&event);
    (event, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_with_a_token_waits_for_it_by_news_in_the_process_and_by_notification() {
    for listen in [false, true] {
        let app = TestApp::spawn_with(Setup {
            listen,
            ..Setup::default()
        })
        .await;
        app.register(1).await;
        let (event, token) = unprojected(&app).await;
        let (path, headers) = (user(1), [("consistency-token", token.as_str())]);
        let read = app.get_with(&path, &headers);
        // While another read gives up, this one waits.
        let impatient = [headers[0], ("prefer", "wait=100")];
        let project = async {
            app.get_with(&path, &impatient)
                .await
                .is_problem(503, "not_caught_up");
            app.project(&event).await;
        };
        let (reply, ()) = tokio::join!(read, project);
        assert_eq!(reply.is_ok().json()["version"], 2, "listen: {listen}");
        assert_eq!(reply.header("consistency-token"), token);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_reached_is_503_in_the_bounded_time_and_never_an_older_answer() {
    let settings = vec![("TOKEN_WAIT", "1s"), ("TOKEN_WAIT_MAX", "1500ms")];
    let app = TestApp::spawn_with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    app.register(1).await;
    app.get(&user(1)).await.is_ok();
    let (_, token) = unprojected(&app).await;
    let waits = [
        ("", 1000),
        ("wait=0", 0),
        // Not seconds.
        ("wait=4", 4),
        ("wait=60000", 1500),
    ];
    for (prefer, waits_ms) in waits {
        for path in [
            user(1),
            format!("/v1/users?ids={}", Uuid::from_u128(1)),
            "/v1/users".to_owned(),
        ] {
            let begun = Instant::now();
            let headers = [("consistency-token", token.as_str()), ("prefer", prefer)];
            let reply = app.get_with(&path, &headers).await;
            let took = begun.elapsed();
            reply.is_problem(503, "not_caught_up");
            assert_eq!(reply.header("retry-after"), "1");
            let detail = reply.json()["detail"].to_string();
            assert!(detail.contains(&format!(" {waits_ms} ms")), "{detail}");
            let in_time = Duration::from_millis(waits_ms)..SLOWEST;
            assert!(in_time.contains(&took), "{prefer} {path}: {took:?}");
        }
    }
}

/// Readiness looks at the checkpoints itself, so whoever waits for it can rely on the wait.
#[tokio::test(flavor = "multi_thread")]
async fn as_soon_as_a_process_is_ready_it_waits_for_a_token_however_slowly_it_started() {
    let (database, url, proxy) = behind_a_proxy().await;
    proxy.cut();
    let setup = Setup {
        settings: vec![("TOKEN_WAIT", "1s"), ("DB_ACQUIRE_TIMEOUT", "300ms")],
        listen: true,
        database_url: Some(url),
        ..Setup::default()
    };
    let app = TestApp::spawn_on(database, setup).await;
    app.register(1).await;
    assert!(!app.readiness.report().await.ready);
    proxy.mend();
    eventually(SOON, || async {
        let report = app.readiness.report().await;
        report.ready.then_some(()).ok_or(report)
    })
    .await;
    let (event, token) = unprojected(&app).await;
    let headers = [("consistency-token", token.as_str())];
    let path = user(1);
    let begun = Instant::now();
    let reply = app.get_with(&path, &headers).await;
    reply.is_problem(503, "not_caught_up");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let read = app.get_with(&path, &headers);
    let (reply, ()) = tokio::join!(read, async { app.project(&event).await });
    assert_eq!(reply.is_ok().json()["version"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lenient_client_gets_the_older_answer_marked() {
    let app = TestApp::spawn().await;
    app.register(1).await;
    let (_, token) = unprojected(&app).await;
    let headers = [
        ("consistency-token", token.as_str()),
        ("prefer", "wait=50, handling=lenient"),
    ];
    for path in [
        user(1),
        format!("/v1/users?ids={}", Uuid::from_u128(1)),
        "/v1/users".to_owned(),
    ] {
        let reply = app.get_with(&path, &headers).await;
        assert_eq!(
            reply.is_ok().header("runnel-stale"),
            "not_caught_up",
            "{path}"
        );
        assert_ne!(reply.header("consistency-token"), token);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_sends_back_its_last_token_never_goes_back() {
    let app = TestApp::spawn().await;
    app.register(1).await;
    let other = (2..100)
        .find(|other| app.partition(*other) != app.partition(1))
        .expect("another");
    app.register(other).await;
    app.get(&user(1)).await.is_ok();
    let (event, token) = unprojected(&app).await;
    // Another user's read in between must not lose what the session knows of the first.
    let between = app
        .get_with(&user(other), &[("consistency-token", &token)])
        .await;
    let token = between.is_ok().header("consistency-token").to_owned();
    let headers = [("consistency-token", token.as_str()), ("prefer", "wait=50")];
    app.get_with(&user(1), &headers)
        .await
        .is_problem(503, "not_caught_up");
    app.project(&event).await;
    assert_eq!(
        app.get_with(&user(1), &headers).await.is_ok().json()["version"],
        2
    );
}

/// I7 under writing: every read carries the token of the latest write.
#[tokio::test(flavor = "multi_thread")]
async fn no_read_is_ever_older_than_its_token() {
    let app = TestApp::spawn_with(Setup {
        listen: true,
        ..Setup::default()
    })
    .await;
    app.register(1).await;
    for minutes in 1..=40 {
        let event = app
            .append(&acme(), Uuid::from_u128(1), &active(minutes))
            .await;
        let token = token(&event);
        let (path, headers) = (user(1), [("consistency-token", token.as_str())]);
        let (reply, ()) = tokio::join!(app.get_with(&path, &headers), app.project(&event));
        assert_eq!(reply.is_ok().json()["version"], minutes + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_above_the_head_is_unknown_at_once_and_one_of_a_lost_write_is_409() {
    let settings = vec![("TOKEN_WAIT", "4s")];
    let app = TestApp::spawn_with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    app.register(1).await;
    let partition = app.partition(1);
    for unknown in [format!("1.{partition}.2"), "1.9.1".to_owned()] {
        let begun = Instant::now();
        let reply = app
            .get_with(&user(1), &[("consistency-token", &unknown)])
            .await;
        reply.is_problem(400, "token_unknown");
        assert!(begun.elapsed() < Duration::from_secs(3), "at once");
    }
    for malformed in ["1.2", "x", "1.0.-1"] {
        let reply = app
            .get_with(&user(1), &[("consistency-token", malformed)])
            .await;
        reply.is_problem(400, "invalid_header");
    }
    // The store lost its tail: what was position 1 of incarnation 1 is void now.
    app.execute(
        "insert into event_store.incarnation (number, system_identifier, timeline, heads)
         values (2, 1, 2, '{0,0,0,0}');
         update event_store.partition_head set incarnation = 2;
         update projection.checkpoint set incarnation = 2",
    )
    .await;
    let lost = format!("1.{partition}.1");
    testkit::eventually(SOON, || async {
        let reply = app
            .get_with(&user(1), &[("consistency-token", &lost)])
            .await;
        if reply.status == 409 {
            Ok(reply)
        } else {
            Err(reply)
        }
    })
    .await
    .is_problem(409, "write_lost");
    let kept = format!("2.{partition}.1");
    app.get_with(&user(1), &[("consistency-token", &kept)])
        .await
        .is_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_key_is_503_to_its_token_and_marked_without_one() {
    let app = TestApp::spawn().await;
    let first = app.register(1).await;
    let partition = app.partition(1);
    let (_, token) = unprojected(&app).await;
    app.execute(&format!(
        "insert into projection.parked (projection, generation, partition, position, tenant_id,
            routing_key, event_id, event_type, event_version, reason, detail)
         values ('user_view', 1, {partition}, 2, 'acme', '{id}', gen_random_uuid(),
            'UserActivityRecorded', 1, 'fold', '');
         update projection.checkpoint set position = 2, parked_version = 1 where partition = {partition}",
        id = Uuid::from_u128(1),
    ))
    .await;
    for path in [
        user(1),
        format!("/v1/users?ids={}", Uuid::from_u128(1)),
        "/v1/users".to_owned(),
    ] {
        let reply = app.get_with(&path, &[("consistency-token", &token)]).await;
        reply.is_problem(503, "projection_parked");
    }
    testkit::eventually(SOON, || async {
        let reply = app.get(&user(1)).await;
        if reply.header("runnel-stale") == "parked" {
            Ok(())
        } else {
            Err(reply)
        }
    })
    .await;
    let before = app
        .get_with(&user(1), &[("consistency-token", &first)])
        .await;
    assert_eq!(before.is_ok().header("runnel-stale"), "parked");

    let id = Uuid::from_u128(5);
    let clean: UserEvent = registered(id, "Grace", "eu-west", [3; 32]);
    app.happen(&testkit::history::tenant("globex"), id, &clean)
        .await;
    let globex = app.bearer(
        &testkit::history::tenant("globex"),
        "ops",
        platform::auth::Role::Admin,
    );
    let list = app.get_as(&globex, "/v1/users", &[]).await;
    assert_eq!(
        list.is_ok().header("runnel-stale"),
        "",
        "another tenant's parked key"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_went_back_is_waited_for_and_not_served() {
    let settings = vec![("TOKEN_WAIT", "200ms"), ("CACHE_L1_FRESH", "1ms")];
    let app = TestApp::spawn_with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    app.register(1).await;
    let before = app.happen(&acme(), Uuid::from_u128(1), &active(1)).await;
    app.get_with(&user(1), &[("consistency-token", &before)])
        .await
        .is_ok();
    // What a crash of PostgreSQL does to a transaction that committed asynchronously.
    let back = "update projection.checkpoint set position = 1 where position = 2";
    app.execute(back).await;
    testkit::eventually(SOON, || async {
        let reply = app.get(&user(1)).await;
        if reply.status == 503 {
            Ok(reply)
        } else {
            Err(reply)
        }
    })
    .await
    .is_problem(503, "not_caught_up");
    app.execute("update projection.checkpoint set position = 2 where position = 1")
        .await;
    testkit::eventually(SOON, || async {
        let reply = app.get(&user(1)).await;
        if reply.status == 200 {
            Ok(())
        } else {
            Err(reply)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_partitions_without_events_says_so_and_takes_its_token_back() {
    let app = TestApp::spawn().await;
    let partition = app.partition(1);
    let by_id = format!("1.{partition}.0");
    let list = "1.0.0_1.1.0_1.2.0_1.3.0".to_owned();
    let batch = format!("/v1/users?ids={}", Uuid::from_u128(1));
    for (path, token) in [
        (user(1), &by_id),
        (batch, &by_id),
        ("/v1/users".to_owned(), &list),
    ] {
        let first = app.get(&path).await;
        assert_eq!(first.header("consistency-token"), token, "{path}");
        let headers = [("consistency-token", token.as_str())];
        let again = app.get_with(&path, &headers).await;
        assert_eq!(again.status, first.status, "{again:?}");
        assert_eq!(again.header("consistency-token"), token, "{path}");
    }
    // Whoever had no token before may send the header empty.
    let headers = [("consistency-token", "")];
    app.get_with("/v1/users", &headers).await.is_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_an_incarnation_before_the_first_is_unknown() {
    let app = TestApp::spawn().await;
    app.register(1).await;
    let token = format!("0.{}.1", app.partition(1));
    let headers = [("consistency-token", token.as_str())];
    let reply = app.get_with(&user(1), &headers).await;
    reply.is_problem(400, "token_unknown");
}
