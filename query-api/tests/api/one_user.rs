//! `GET /v1/users/{id}`: bodies, fields, roles, ETags, tenants, negative cache, invalidation.

use platform::auth::Role;
use serde_json::json;
use testkit::eventually;
use testkit::history::{active, registered, tenant};
use uuid::Uuid;

use crate::app::{SOON, Setup, TestApp, acme, user};

/// An entry that stays fresh for longer than any test runs.
fn always_fresh() -> Setup {
    Setup {
        settings: vec![("CACHE_L1_FRESH", "60s")],
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_reads_the_whole_user() {
    let app = TestApp::spawn().await;
    let token = app.register(1).await;
    let reply = app.get(&user(1)).await;
    let golden = json!({
        "id": Uuid::from_u128(1),
        "email": "ada@example.org",
        "name": "Ada",
        "region": "eu-west",
        "bio": null,
        "display_name": "Ada",
        "avatar_url": null,
        "status": "active",
        "version": 1,
        "created_at": "2026-01-01T00:00:00Z",
        "last_active": "2026-01-01T00:00:00Z",
    });
    assert_eq!(reply.is_ok().json(), golden);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("etag"), "\"v1.1\"");
    assert_eq!(reply.header("consistency-token"), token);
    assert_eq!(reply.header("cache-control"), "private, no-cache");
    assert_eq!(reply.header("vary"), "authorization");
    assert_eq!(reply.header("runnel-stale"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_reads_itself_whole_and_others_without_their_private_fields() {
    let app = TestApp::spawn().await;
    app.register(1).await;
    let own = app.bearer(&acme(), &Uuid::from_u128(1).to_string(), Role::User);
    let other = app.bearer(&acme(), &Uuid::from_u128(2).to_string(), Role::User);
    let private = |bearer: String| {
        let app = &app;
        async move {
            let body = app.get_as(&bearer, &user(1), &[]).await.is_ok().json();
            ["email", "last_active"].map(|field| body.get(field).is_some())
        }
    };
    for _cached in 0..2 {
        assert_eq!(private(own.clone()).await, [true, true]);
        assert_eq!(private(other.clone()).await, [false, false]);
    }
    let asked = app
        .get_as(&other, &format!("{}?fields=id,email,region", user(1)), &[])
        .await;
    assert_eq!(
        asked.is_ok().json(),
        json!({ "id": Uuid::from_u128(1), "region": "eu-west" })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_asked_fields_are_sent_and_unknown_ones_are_refused() {
    let app = TestApp::spawn().await;
    app.register(1).await;
    let reply = app.get(&format!("{}?fields=email,version", user(1))).await;
    let expected = json!({ "id": Uuid::from_u128(1), "email": "ada@example.org", "version": 1 });
    assert_eq!(reply.is_ok().json(), expected);
    let reply = app
        .get(&format!("{}?fields=id,shoe_size&verbose=1", user(1)))
        .await;
    reply.is_problem(422, "invalid_parameter");
    let pointers: Vec<_> = reply.json()["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| error["pointer"].clone())
        .collect();
    assert_eq!(pointers, ["fields", "verbose"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etag_that_still_holds_is_304_and_one_of_an_older_version_is_not() {
    let app = TestApp::spawn().await;
    app.register(1).await;
    let etag = app.get(&user(1)).await.header("etag").to_owned();
    let unchanged = app.get_with(&user(1), &[("if-none-match", &etag)]).await;
    assert_eq!((unchanged.status, unchanged.text.as_str()), (304, ""));
    assert_eq!(unchanged.header("etag"), etag);
    assert_ne!(unchanged.header("consistency-token"), "");
    let token = app.happen(&acme(), Uuid::from_u128(1), &active(7)).await;
    let headers = [
        ("if-none-match", etag.as_str()),
        ("consistency-token", token.as_str()),
    ];
    let changed = app.get_with(&user(1), &headers).await;
    assert_eq!(changed.is_ok().header("etag"), "\"v2.1\"");
    assert_eq!(changed.json()["last_active"], "2026-01-01T00:07:00Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_users_and_users_of_another_tenant_are_the_same_404() {
    let app = TestApp::spawn().await;
    app.register(1).await;
    app.get(&user(2)).await.is_problem(404, "user_not_found");
    let foreign = app.bearer(&tenant("globex"), "ops", Role::Admin);
    app.get_as(&foreign, &user(1), &[])
        .await
        .is_problem(404, "user_not_found");
    app.get("/v1/users/not-a-uuid")
        .await
        .is_problem(422, "invalid_parameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_with_the_same_id_never_meet() {
    let app = TestApp::spawn_with(always_fresh()).await;
    let id = Uuid::from_u128(1);
    let globex = tenant("globex");
    app.happen(&acme(), id, &registered(id, "Canary-A", "eu-west", [1; 32]))
        .await;
    app.happen(&globex, id, &registered(id, "Canary-G", "eu-west", [2; 32]))
        .await;
    for _cached in 0..2 {
        for (owner, own, other) in [
            (acme(), "Canary-A", "Canary-G"),
            (globex.clone(), "Canary-G", "Canary-A"),
        ] {
            let bearer = app.bearer(&owner, "ops", Role::Admin);
            for path in [
                user(1),
                format!("/v1/users?ids={id}"),
                "/v1/users?region=eu-west".to_owned(),
                "/v1/users".to_owned(),
            ] {
                let reply = app.get_as(&bearer, &path, &[]).await;
                let text = format!("{reply:?}");
                assert!(
                    text.contains(own) && !text.contains(other),
                    "{path}: {text}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_token_nothing_is_read() {
    let app = TestApp::spawn().await;
    app.register(1).await;
    let url = format!("{}{}", app.url, user(1));
    let reply = crate::app::Reply::of(app.client.get(&url).send().await.expect("an answer")).await;
    reply.is_problem(401, "token_missing");
    app.get_as("e30.e30.e30", &user(1), &[])
        .await
        .is_problem(401, "token_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_projector_applied_is_seen_at_once_although_the_entry_was_fresh() {
    let app = TestApp::spawn_with(always_fresh()).await;
    app.register(1).await;
    assert_eq!(app.get(&user(1)).await.json()["version"], 1);
    app.happen(&acme(), Uuid::from_u128(1), &active(1)).await;
    eventually(SOON, || async {
        let version = app.get(&user(1)).await.json()["version"].clone();
        if version == 2 { Ok(()) } else { Err(version) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_id_is_remembered_until_its_first_event() {
    let app = TestApp::spawn_with(always_fresh()).await;
    app.get(&user(1)).await.is_problem(404, "user_not_found");
    let id = Uuid::from_u128(1);
    let event = app
        .append(&acme(), id, &registered(id, "Ada", "eu-west", [1; 32]))
        .await;
    app.project_in_silence(&event).await;
    app.get(&user(1)).await.is_problem(404, "user_not_found");
    // A token above the entry's stamp is never answered from that memory.
    let token = crate::app::token(&event);
    app.get_with(&user(1), &[("consistency-token", &token)])
        .await
        .is_ok();

    app.get(&user(2)).await.is_problem(404, "user_not_found");
    app.register(2).await;
    eventually(SOON, || async {
        let reply = app.get(&user(2)).await;
        if reply.status == 200 {
            Ok(())
        } else {
            Err(reply)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_fresh_no_longer_than_the_published_bound() {
    let fresh = Setup {
        settings: vec![("CACHE_L1_FRESH", "200ms")],
        ..Setup::default()
    };
    let app = TestApp::spawn_with(fresh).await;
    app.register(1).await;
    assert_eq!(app.get(&user(1)).await.json()["version"], 1);
    let event = app.append(&acme(), Uuid::from_u128(1), &active(1)).await;
    app.project_in_silence(&event).await;
    eventually(SOON, || async {
        let version = app.get(&user(1)).await.json()["version"].clone();
        if version == 2 { Ok(()) } else { Err(version) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_fork_the_etag_names_the_incarnation_and_one_of_the_lost_history_is_no_match() {
    let settings = vec![("CACHE_L1_FRESH", "1ms")];
    let app = TestApp::spawn_with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    app.register(1).await;
    let lost = app.get(&user(1)).await.header("etag").to_owned();
    assert_eq!(lost, "\"v1.1\"");
    // The store lost the registration, and its fork has another one at the same place.
    app.execute(
        "insert into event_store.incarnation (number, system_identifier, timeline, heads)
         values (2, 1, 2, '{0,0,0,0}');
         update event_store.partition_head set incarnation = 2;
         update projection.checkpoint set incarnation = 2;
         update read_model.user_view_g1 set name = 'Grace'",
    )
    .await;
    let reply = eventually(SOON, || async {
        let reply = app.get_with(&user(1), &[("if-none-match", &lost)]).await;
        if reply.status == 200 {
            Ok(reply)
        } else {
            Err(reply)
        }
    })
    .await;
    assert_eq!(reply.header("etag"), "\"v1.1.i2\"");
    assert_eq!(reply.json()["name"], "Grace");
    let same = [("if-none-match", reply.header("etag"))];
    assert_eq!(app.get_with(&user(1), &same).await.status, 304);
}
