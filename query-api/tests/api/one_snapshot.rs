//! Lists and batches are of one snapshot: no item is newer than the token of its answer, so a
//! session that sends its last token back never goes back, on whichever node (I6).

use events::{Partition, RecordedEvent};
use read_model::projection::{Projection as _, Target};
use read_model::user_view::UserView;
use sqlx::PgConnection;
use testkit::history::active;
use uuid::Uuid;

use crate::app::{Reply, SOON, Setup, TestApp, acme};

/// The two forms of a list: a page, and a batch of users by id.
fn lists(numbers: &[u128]) -> [String; 2] {
    let ids: Vec<_> = numbers
        .iter()
        .map(|number| Uuid::from_u128(*number).to_string())
        .collect();
    [
        "/v1/users?region=eu-west".to_owned(),
        format!("/v1/users?ids={}", ids.join(",")),
    ]
}

/// Rows and checkpoint of an event, in a transaction of the caller.
async fn project_in(connection: &mut PgConnection, event: &RecordedEvent) {
    let partition = event.address.partition;
    let target = Target {
        generation: 1,
        partition,
    };
    UserView
        .apply(connection, target, std::slice::from_ref(event))
        .await
        .expect("a fold");
    sqlx::query("update projection.checkpoint set position = $2 where partition = $1")
        .bind(partition.as_i32())
        .bind(event.address.position)
        .execute(connection)
        .await
        .expect("a checkpoint");
}

/// The position of a partition that the answer says it is true as of.
fn position(reply: &Reply, partition: Partition) -> i64 {
    let token: events::ConsistencyToken =
        reply.header("consistency-token").parse().expect("a token");
    let here = |entry: &&events::TokenEntry| entry.address.partition == partition;
    let entry = token.entries().iter().find(here);
    entry.map_or(0, |entry| entry.address.position)
}

fn version(reply: &Reply, number: u128) -> i64 {
    let body = reply.is_ok().json();
    let items = body["items"].as_array().expect("items");
    let id = Uuid::from_u128(number).to_string();
    let item = items.iter().find(|item| item["id"] == id.as_str());
    item.expect("the user")["version"]
        .as_i64()
        .expect("a version")
}

/// A batch commits while the list is read: the list waits for the table's lock, and what it then
/// shows and what it says of itself must be of the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_never_shows_rows_that_are_newer_than_its_token() {
    // The list waits for as long as the test takes to see that it waits.
    let settings = vec![
        ("CACHE_L1_FRESH", "1ms"),
        ("DB_STATEMENT_TIMEOUT", "50s"),
        ("DB_LOCK_TIMEOUT", "50s"),
        ("READ_DEADLINE", "60s"),
    ];
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    let app = TestApp::spawn_with(setup).await;
    app.register(1).await;
    let partition = app.partition(1);
    for (version_before, path) in (1..).zip(lists(&[1])) {
        // Plans are made, connections are open.
        app.get(&path).await.is_ok();
        let event = app
            .append(&acme(), Uuid::from_u128(1), &active(version_before))
            .await;
        let mut batch = app.begin().await;
        sqlx::query("lock table read_model.user_view_g1 in access exclusive mode")
            .execute(&mut *batch)
            .await
            .expect("the lock");
        let commit = async {
            testkit::eventually(SOON, || async {
                let waiting = "select count(*) from pg_locks where not granted
                    and relation = 'read_model.user_view_g1'::regclass";
                match app.count(waiting).await {
                    0 => Err("no list waits for the table"),
                    _ => Ok(()),
                }
            })
            .await;
            project_in(&mut batch, &event).await;
            batch.commit().await.expect("a commit");
        };
        let (reply, ()) = tokio::join!(app.get(&path), commit);
        assert_eq!(version(&reply, 1), version_before + 1, "{path}");
        assert_eq!(
            position(&reply, partition),
            event.address.position,
            "{path}"
        );
    }
}

/// With one user in a partition, its version is the position of its last event.
#[tokio::test(flavor = "multi_thread")]
async fn under_writing_the_token_of_a_list_is_that_of_its_newest_item() {
    let settings = vec![("CACHE_L1_FRESH", "1ms")];
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    let app = TestApp::spawn_with(setup).await;
    app.register(1).await;
    let partition = app.partition(1);
    let write = async {
        for minutes in 1..=60 {
            app.happen(&acme(), Uuid::from_u128(1), &active(minutes))
                .await;
        }
    };
    let read = async {
        for _round in 0..40 {
            for path in lists(&[1]) {
                let reply = app.get(&path).await;
                assert_eq!(version(&reply, 1), position(&reply, partition), "{path}");
            }
        }
    };
    tokio::join!(write, read);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_users_is_of_one_reading_also_when_the_cache_has_some_of_them() {
    let app = TestApp::spawn().await;
    app.register(1).await;
    let other = (2..100)
        .find(|other| app.partition(*other) == app.partition(1))
        .expect("another");
    app.get(&crate::app::user(1)).await.is_ok();
    app.register(other).await;
    let [_, path] = lists(&[1, other]);
    let reply = app.get(&path).await;
    assert_eq!((version(&reply, 1), version(&reply, other)), (1, 1));
    assert_eq!(
        position(&reply, app.partition(1)),
        2,
        "the other user's registration is shown, so the token must have it"
    );
}
