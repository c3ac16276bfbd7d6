//! `GET /v1/users`: by ids, region, address, and the tenant's list; cursors, limits and roles.

use platform::auth::Role;
use platform::secret::SecretKey;
use serde_json::{Value, json};
use testkit::history::{active, registered};
use uuid::Uuid;

use crate::app::{Reply, SECRET, TestApp, acme};

fn ids(reply: &Reply) -> Vec<u128> {
    let items = reply.is_ok().json()["items"]
        .as_array()
        .expect("items")
        .clone();
    let id = |item: &Value| {
        item["id"]
            .as_str()
            .expect("an id")
            .parse::<Uuid>()
            .expect("a UUID")
    };
    items.iter().map(|item| id(item).as_u128()).collect()
}

fn older(reply: &Reply) -> Option<String> {
    reply.json()["older"].as_str().map(str::to_owned)
}

/// Users 1 to 7 of `eu-west`, user n active at minute n.
async fn seven(app: &TestApp) -> String {
    let mut token = String::new();
    for number in 1..=7 {
        app.register(number).await;
        let minutes = i64::try_from(number).expect("a minute");
        token = app
            .happen(&acme(), Uuid::from_u128(number), &active(minutes))
            .await;
    }
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_answered_in_the_order_asked_for_and_missing_ones_one_by_one() {
    let app = TestApp::spawn().await;
    seven(&app).await;
    let id = Uuid::from_u128;
    for _cached in 0..2 {
        let path = format!(
            "/v1/users?ids={},{},{},{},{}",
            id(5),
            id(90),
            id(2),
            id(5),
            id(91)
        );
        let reply = app.get(&path).await;
        assert_eq!(ids(&reply), [5, 2, 5]);
        let missing = |number| json!({ "id": id(number), "code": "user_not_found" });
        assert_eq!(reply.json()["missing"], json!([missing(90), missing(91)]));
        let unchanged = app
            .get_with(&path, &[("if-none-match", reply.header("etag"))])
            .await;
        assert_eq!(unchanged.status, 304);
        let named = reply.header("consistency-token").split('_').count();
        assert!((1..=4).contains(&named), "{reply:?}");
    }
    let path = format!("/v1/users?ids={},{}&fields=region", id(1), id(2));
    let expected = |number| json!({ "id": id(number), "region": "eu-west" });
    let body = json!({ "items": [expected(1), expected(2)], "missing": [] });
    assert_eq!(app.get(&path).await.is_ok().json(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_reads_others_by_id_without_their_private_fields() {
    let app = TestApp::spawn().await;
    seven(&app).await;
    let id = Uuid::from_u128;
    let bearer = app.bearer(&acme(), &id(2).to_string(), Role::User);
    let reply = app
        .get_as(&bearer, &format!("/v1/users?ids={},{}", id(1), id(2)), &[])
        .await;
    let items = reply.is_ok().json()["items"].clone();
    let private = |item: &Value| item.get("email").is_some() || item.get("last_active").is_some();
    assert_eq!((private(&items[0]), private(&items[1])), (false, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_for_operators_and_admins() {
    let app = TestApp::spawn().await;
    seven(&app).await;
    let lists = [
        "/v1/users",
        "/v1/users?region=eu-west",
        "/v1/users?email=ada@example.org",
    ];
    for path in lists {
        for (role, status) in [(Role::User, 403), (Role::Operator, 200), (Role::Admin, 200)] {
            let bearer = app.bearer(&acme(), &Uuid::from_u128(1).to_string(), role);
            let reply = app.get_as(&bearer, path, &[]).await;
            assert_eq!(reply.status, status, "{role:?} {path}: {reply:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_is_paged_by_activity_and_the_tenant_by_id() {
    let app = TestApp::spawn().await;
    let token = seven(&app).await;
    let lists = [
        ("/v1/users?region=eu-west&", vec![7, 6, 5, 4, 3, 2, 1]),
        ("/v1/users?", vec![1, 2, 3, 4, 5, 6, 7]),
        (
            "/v1/users?region=eu-west&active_since=2026-01-01T00:03:00Z&",
            vec![7, 6, 5, 4, 3],
        ),
        (
            "/v1/users?region=eu-west&active_since=2026-01-01T00:03:00+00:00&",
            vec![7, 6, 5, 4, 3],
        ),
    ];
    for (list, expected) in lists {
        let mut found = Vec::new();
        let mut cursor = String::new();
        for _page in 0..4 {
            let path = format!("{list}limit=3{cursor}");
            let reply = app.get_with(&path, &[("consistency-token", &token)]).await;
            found.extend(ids(&reply));
            match older(&reply) {
                Some(older) => cursor = format!("&older={older}"),
                None => break,
            }
        }
        assert_eq!(found, expected, "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_becomes_active_between_two_pages_is_not_seen_twice() {
    let app = TestApp::spawn().await;
    let token = seven(&app).await;
    let first = app
        .get_with(
            "/v1/users?region=eu-west&limit=3",
            &[("consistency-token", &token)],
        )
        .await;
    assert_eq!(ids(&first), [7, 6, 5]);
    let token = app.happen(&acme(), Uuid::from_u128(6), &active(60)).await;
    let path = format!(
        "/v1/users?region=eu-west&limit=10&older={}",
        older(&first).expect("more")
    );
    let second = app.get_with(&path, &[("consistency-token", &token)]).await;
    assert_eq!((ids(&second), older(&second)), (vec![4, 3, 2, 1], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_good_for_its_own_list_only_and_tampering_is_noticed() {
    let app = TestApp::spawn().await;
    let token = seven(&app).await;
    let headers = [("consistency-token", token.as_str())];
    let reply = app
        .get_with("/v1/users?region=eu-west&limit=3", &headers)
        .await;
    let cursor = older(&reply).expect("more");
    let tampered = cursor.replacen(
        &cursor[30..31],
        if &cursor[30..31] == "A" { "B" } else { "A" },
        1,
    );
    for path in [
        format!("/v1/users?region=eu-west&older={tampered}"),
        format!("/v1/users?region=eu-north&older={cursor}"),
        format!("/v1/users?older={cursor}"),
        "/v1/users?older=".to_owned(),
    ] {
        app.get(&path).await.is_problem(400, "cursor_invalid");
    }
    let globex = app.bearer(&testkit::history::tenant("globex"), "ops", Role::Admin);
    let path = format!("/v1/users?region=eu-west&older={cursor}");
    app.get_as(&globex, &path, &[])
        .await
        .is_problem(400, "cursor_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_found_by_its_hash_whatever_its_case() {
    let app = TestApp::spawn().await;
    let id = Uuid::from_u128(1);
    let email = events::user_fields::Email::parse("ada@example.org").expect("an address");
    let [tenant, address] = events::user_fields::EmailKey::parts(&acme(), &email);
    let key = SecretKey::from_bytes(SECRET).derive(events::user_fields::EmailKey::LABEL);
    let hash = key.authenticate(&[&tenant, &address]);
    let token = app
        .happen(&acme(), id, &registered(id, "Ada", "eu-west", hash))
        .await;
    let headers = [("consistency-token", token.as_str())];
    for (email, found) in [("ADA@Example.org", vec![1]), ("eva@example.org", vec![])] {
        let reply = app
            .get_with(&format!("/v1/users?email={email}"), &headers)
            .await;
        assert_eq!(ids(&reply), found, "{email}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bound_and_every_wrong_parameter_is_named() {
    let app = TestApp::spawn().await;
    let many = |count: u128| {
        let ids: Vec<_> = (1..=count)
            .map(|number| Uuid::from_u128(number).to_string())
            .collect();
        format!("/v1/users?ids={}", ids.join(","))
    };
    app.get(&many(100)).await.is_ok();
    app.get("/v1/users?limit=1000").await.is_ok();
    let refused = [
        (many(101), "ids"),
        ("/v1/users?ids=".to_owned(), "ids"),
        ("/v1/users?ids=1,2".to_owned(), "ids"),
        ("/v1/users?limit=1001".to_owned(), "limit"),
        ("/v1/users?limit=0".to_owned(), "limit"),
        ("/v1/users?limit=many".to_owned(), "limit"),
        ("/v1/users?region=EU".to_owned(), "region"),
        ("/v1/users?region=eu&region=us".to_owned(), "region"),
        ("/v1/users?region=eu%00".to_owned(), "region"),
        (
            "/v1/users?region=eu&active_since=yesterday".to_owned(),
            "active_since",
        ),
        (
            "/v1/users?active_since=2026-01-01T00:00:00Z".to_owned(),
            "active_since",
        ),
        ("/v1/users?email=nobody".to_owned(), "email"),
        ("/v1/users?fields=id".to_owned(), "fields"),
        ("/v1/users?newer=x".to_owned(), "newer"),
    ];
    for (path, pointer) in refused {
        let reply = app.get(&path).await;
        reply.is_problem(422, "invalid_parameter");
        assert_eq!(reply.json()["errors"][0]["pointer"], pointer, "{path}");
    }
    let of_another_form = [
        (
            "/v1/users?fields=id",
            "belongs to GET /v1/users?ids=…; this is GET /v1/users, which takes limit, older",
        ),
        (
            "/v1/users?email=a@b.example&limit=3",
            "belongs to GET /v1/users?region=… and GET /v1/users; \
             this is GET /v1/users?email=…, which takes email",
        ),
        (
            "/v1/users?shoe=1",
            "is no parameter of this route; GET /v1/users takes limit, older",
        ),
    ];
    for (path, detail) in of_another_form {
        let reply = app.get(path).await;
        reply.is_problem(422, "invalid_parameter");
        assert_eq!(reply.json()["errors"][0]["detail"], detail, "{path}");
    }
    let reply = app.get("/v1/users?region=EU&limit=0&shoe=1").await;
    assert_eq!(
        reply.json()["errors"].as_array().map(Vec::len),
        Some(3),
        "{reply:?}"
    );
}
