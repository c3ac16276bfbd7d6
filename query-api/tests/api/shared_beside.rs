//! Redis, where something stands beside a cached value: a parked key, another tenant.

use events::{Partition, TenantId};
use platform::auth::Role;
use testkit::eventually;
use testkit::history::{active, registered, tenant};
use uuid::Uuid;

use crate::app::{SOON, TestApp, acme, user};
use crate::redis_writer::{RedisWriter, with_redis};
use crate::shared_cache::{is_from_redis, scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_key_is_as_without_redis_although_a_value_lies_there() {
    let (app, writer, users, home, head) = scene(2).await;
    let id = Uuid::from_u128(users[0]);
    let event = app.append(&acme(), id, &active(1)).await;
    let token = crate::app::token(&event);
    let (home_text, position) = (home.to_string(), head + 1);
    app.execute(&format!(
        "insert into projection.parked (projection, generation, partition, position, tenant_id,
             routing_key, event_id, event_type, event_version, reason, detail)
         values ('user_view', 1, {home_text}, {position}, 'acme', '{id}', gen_random_uuid(), 'X', 1,
             'fold', '');
         update projection.checkpoint set position = {position}, parked_version = 1
         where partition = {home_text}",
    ))
    .await;
    app.readiness.report().await;
    writer.mark(home, Some(writer.at(head + 1))).await;
    for path in [user(users[0]), format!("/v1/users?ids={id}")] {
        let reply = app.get(&path).await;
        assert_eq!(reply.is_ok().header("runnel-stale"), "parked", "{path}");
        assert!(!reply.text.contains("From Redis"), "{path}");
        let headers = [("consistency-token", token.as_str())];
        let reply = app.get_with(&path, &headers).await;
        reply.is_problem(503, "projection_parked");
    }
    let neighbour = app.get(&user(users[1])).await;
    assert!(is_from_redis(&neighbour), "{neighbour:?}");
    assert_eq!(neighbour.header("runnel-stale"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_one_tenant_is_in_the_keys_and_values_of_another() {
    let app = TestApp::spawn_with(with_redis()).await;
    let writer = RedisWriter::of(&app).await;
    let tenants: Vec<(TenantId, String)> = (0..2)
        .map(|_| {
            (
                tenant(&format!("t{}", Uuid::new_v4().simple())),
                Uuid::new_v4().to_string(),
            )
        })
        .collect();
    let id = Uuid::from_u128(1);
    for (number, (owner, canary)) in tenants.iter().enumerate() {
        let hash = [u8::try_from(number).expect("few"); 32];
        app.happen(owner, id, &registered(id, canary, "eu-west", hash))
            .await;
    }
    for partition in 0..4 {
        writer.mark(Partition(partition), Some(writer.at(2))).await;
    }
    app.execute("update projection.checkpoint set position = 2")
        .await;
    app.readiness.report().await;
    for (owner, canary) in &tenants {
        let bearer = app.bearer(owner, "ops", Role::Operator);
        let reply = app.get_as(&bearer, &user(1), &[]).await;
        assert_eq!(reply.is_ok().json()["name"], canary.as_str());
    }
    let is_value = |key: &&String| key.contains(&id.to_string());
    let keys = eventually(SOON, || async {
        let keys = writer.every_key().await;
        let values = keys
            .iter()
            .filter(is_value)
            .filter(|key| !key.ends_with(":lease"));
        if values.count() == 2 {
            Ok(keys)
        } else {
            Err(keys)
        }
    })
    .await;
    let mut seen = 0;
    for key in keys {
        let value = writer.get(&key).await.unwrap_or_default();
        let value = String::from_utf8_lossy(&value).into_owned();
        let texts = format!("{key} {value}");
        let of: Vec<_> = tenants
            .iter()
            .filter(|(owner, canary)| {
                texts.contains(owner.as_str()) || texts.contains(canary.as_str())
            })
            .collect();
        assert!(of.len() <= 1, "{texts}");
        seen += of.len();
    }
    assert_eq!(seen, 2, "each tenant's value was looked at");
}
