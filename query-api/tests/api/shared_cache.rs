//! Redis between the in-process cache and PostgreSQL: what may be believed of it, for whom, and how
//! it is filled. A row of PostgreSQL and its value differ on purpose, so that each answer tells
//! where it comes from.

use events::Partition;
use read_model::cache::{Epoch, Mark, Namespace};
use read_model::user_view::{UserKey, cached};
use testkit::eventually;
use testkit::history::{active, tenant};
use uuid::Uuid;

use crate::app::{Reply, SOON, TestApp, acme, user};
use crate::redis_writer::{RedisWriter, row_in_redis, with_redis};

/// Users of acme who live in one partition.
pub(crate) fn neighbours(app: &TestApp, count: usize) -> Vec<u128> {
    let home = app.partition(1);
    (1..)
        .filter(|one| app.partition(*one) == home)
        .take(count)
        .collect()
}

/// A store with some users of one partition, all of them in Redis under another name; the process
/// has looked since, and its own memory is empty.
pub(crate) async fn scene(count: usize) -> (TestApp, RedisWriter, Vec<u128>, Partition, i64) {
    let app = TestApp::spawn_with(with_redis()).await;
    let writer = RedisWriter::of(&app).await;
    let (users, home) = (neighbours(&app, count), app.partition(1));
    for user in &users {
        app.register(*user).await;
    }
    app.readiness.report().await;
    for user in &users {
        put(&writer, *user, home, 1).await;
    }
    let head = i64::try_from(count).expect("few");
    (app, writer, users, home, head)
}

pub(crate) async fn put(writer: &RedisWriter, number: u128, home: Partition, position: i64) {
    let key = writer.key(number);
    let row = row_in_redis(&acme(), number);
    let value = writer.sealed(&key, &row, home, position);
    writer.put(&key, value).await;
}

#[track_caller]
pub(crate) fn is_from_redis(reply: &Reply) -> bool {
    reply.is_ok().json()["name"] == "From Redis"
}

/// Waits until a value lies under a user's key.
pub(crate) async fn filled(writer: &RedisWriter, number: u128) -> Vec<u8> {
    let key = writer.key(number);
    eventually(SOON, || async {
        writer.get(key.as_str()).await.ok_or("nothing there")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_fills_redis_behind_the_answer_and_the_next_process_is_served_from_there() {
    let app = TestApp::spawn_with(with_redis()).await;
    let writer = RedisWriter::of(&app).await;
    let token = app.register(1).await;
    writer.mark(app.partition(1), Some(writer.at(1))).await;
    app.readiness.report().await;
    let first = app.get(&user(1)).await;
    assert_eq!(first.is_ok().json()["name"], "Ada");
    filled(&writer, 1).await;
    app.execute("update read_model.user_view_g1 set name = 'From PostgreSQL'")
        .await;
    let other = app.spawn_beside(with_redis()).await;
    for headers in [vec![], vec![("consistency-token", token.as_str())]] {
        let reply = other.get_with(&user(1), &headers).await;
        assert_eq!(reply.is_ok().text, first.text, "{headers:?}");
        for header in ["etag", "consistency-token"] {
            assert_eq!(reply.header(header), first.header(header));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_shown_when_the_mark_or_its_own_position_reaches_token_and_last_look() {
    let (app, writer, users, home, head) = scene(7).await;
    // Two more events that PostgreSQL has not projected, for tokens that are good.
    for _ in 0..2 {
        app.append(&acme(), Uuid::from_u128(1), &active(1)).await;
    }
    app.readiness.report().await;
    let ahead = format!("1.{home}.{}", head + 2);
    let cases = [
        // (the mark, the value's own position, the token, whether Redis is good enough)
        (head, 1, None, true),
        (head - 1, 1, None, false),
        (head - 1, head, None, true),
        (head + 2, 1, Some(&ahead), true),
        (head + 1, head + 2, Some(&ahead), true),
        (head + 1, 1, Some(&ahead), false),
        (head - 1, head - 1, Some(&ahead), false),
    ];
    for ((mark, own, token, good), number) in cases.into_iter().zip(users) {
        writer.mark(home, Some(writer.at(mark))).await;
        put(&writer, number, home, own).await;
        let mut headers = vec![("prefer", "wait=50")];
        headers.extend(token.map(|token| ("consistency-token", token.as_str())));
        let reply = app.get_with(&user(number), &headers).await;
        let case = format!("mark {mark}, own {own}, token {token:?}: {reply:?}");
        match (good, token) {
            (true, _) => {
                assert!(is_from_redis(&reply), "{case}");
                let stamp = format!("1.{home}.{}", mark.max(own));
                assert_eq!(reply.header("consistency-token"), stamp, "{case}");
            }
            (false, None) => assert!(!is_from_redis(&reply), "{case}"),
            (false, Some(_)) => reply.is_problem(503, "not_caught_up"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_vouches_for_is_asked_of_postgres() {
    let (app, writer, users, home, head) = scene(6).await;
    let good = writer.at(head);
    let another = |change: &dyn Fn(&mut Mark)| {
        let mut mark = writer.at(head);
        change(&mut mark);
        Some(mark)
    };
    let marks = [
        ("no mark", None),
        (
            "another run of the server",
            another(&|mark| mark.run_id = "0".repeat(40)),
        ),
        (
            "another epoch",
            another(&|mark| mark.epoch = Epoch::random()),
        ),
    ];
    for ((what, mark), number) in marks.into_iter().zip(&users) {
        writer.mark(home, mark).await;
        assert!(!is_from_redis(&app.get(&user(*number)).await), "{what}");
    }
    writer.mark(home, Some(good)).await;
    // Values of another generation, incarnation and store lie beside; the own one is gone.
    let number = users[3];
    let own = writer.key(number);
    let row = row_in_redis(&acme(), number);
    let strangers = [
        cached::keyspace(writer.namespace.clone(), 1, 2),
        cached::keyspace(writer.namespace.clone(), 2, 1),
        cached::keyspace(Namespace::of_store(Uuid::new_v4()), 1, 1),
    ];
    writer.put(&own, Vec::new()).await;
    for keys in &strangers {
        let key = cached::value_key(keys, &row.key());
        let value = writer.sealed(&key, &row, home, head);
        writer.put(&key, value).await;
    }
    assert!(!is_from_redis(&app.get(&user(number)).await));
    let control = app.get(&user(users[4])).await;
    assert!(
        is_from_redis(&control),
        "the scene is one where Redis serves: {control:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_value_is_never_shown_and_is_deleted_and_counted() {
    let (app, writer, users, home, head) = scene(6).await;
    writer.mark(home, Some(writer.at(head))).await;
    let before = platform::metrics::CACHE_FOREIGN.get();
    let other_tenant = tenant("evil");
    let mine = |number: u128| row_in_redis(&acme(), number);
    let theirs = UserKey {
        tenant: other_tenant.clone(),
        id: Uuid::from_u128(users[1]),
    };
    let their_key = cached::value_key(&writer.keys, &theirs);
    let their_row = row_in_redis(&other_tenant, users[1]);
    let planted = [
        (
            "a neighbour's",
            writer.sealed(&writer.key(users[5]), &mine(users[5]), home, head),
        ),
        (
            "another tenant's",
            writer.sealed(&their_key, &their_row, home, head),
        ),
        (
            "a neighbour's row",
            writer.sealed(&writer.key(users[2]), &mine(users[5]), home, head),
        ),
        ("another partition's", {
            let elsewhere = Partition((home.0 + 1) % 4);
            writer.sealed(&writer.key(users[3]), &mine(users[3]), elsewhere, head)
        }),
        ("no value at all", b"+OK".to_vec()),
    ];
    let count = planted.len();
    for ((what, value), number) in planted.into_iter().zip(&users) {
        let key = writer.key(*number);
        writer.put(&key, value).await;
        let reply = app.get(&user(*number)).await;
        assert_eq!(reply.is_ok().json()["name"], "Ada", "{what}");
        eventually(SOON, || async {
            writer.get(key.as_str()).await.map_or(Ok(()), Err)
        })
        .await;
    }
    let counted = platform::metrics::CACHE_FOREIGN.get() - before;
    assert!(counted >= count as u64, "counted {counted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_fill_does_not_put_an_older_value_over_a_newer_one() {
    let app = TestApp::spawn_with(with_redis()).await;
    let writer = RedisWriter::of(&app).await;
    app.register(1).await;
    writer.mark(app.partition(1), Some(writer.at(1))).await;
    app.readiness.report().await;
    // A read that takes its snapshot at once and its time afterwards.
    app.execute(
        "create or replace view read_model.user_view as
         select * from read_model.user_view_g1 where pg_sleep(1.5)::text is not null",
    )
    .await;
    let (key, path) = (writer.key(1), user(1));
    let slow = app.get(&path);
    let meanwhile = async {
        let lease = key.lease();
        eventually(SOON, || async {
            writer.get(&lease).await.ok_or("no lease")
        })
        .await;
        eventually(SOON, || async {
            let sleeping = app
                .count(
                    "select count(*) from pg_stat_activity
                     where datname = current_database() and wait_event = 'PgSleep'",
                )
                .await;
            (sleeping > 0).then_some(()).ok_or("the read has not begun")
        })
        .await;
        let event = app.append(&acme(), Uuid::from_u128(1), &active(9)).await;
        let news = app.project_in_silence(&event).await;
        writer.follow(&news).await;
    };
    let (old, ()) = tokio::join!(slow, meanwhile);
    assert_eq!(
        old.is_ok().json()["version"],
        1,
        "the read was not slow enough"
    );
    let other = app.spawn_beside(with_redis()).await;
    let reply = other.get(&path).await;
    assert_eq!(reply.is_ok().json()["version"], 2);
    let value = filled(&writer, 1).await;
    let text = String::from_utf8(value).expect("JSON");
    assert!(text.contains("\"version\":2"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_exist_is_not_in_redis() {
    let app = TestApp::spawn_with(with_redis()).await;
    let writer = RedisWriter::of(&app).await;
    app.register(1).await;
    for partition in 0..4 {
        writer.mark(Partition(partition), Some(writer.at(1))).await;
    }
    app.readiness.report().await;
    app.get(&user(404)).await.is_problem(404, "user_not_found");
    app.get(&user(1)).await.is_ok();
    filled(&writer, 1).await;
    assert_eq!(writer.get(writer.key(404).as_str()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_each_user_from_the_nearest_place() {
    let app = TestApp::spawn_with(with_redis()).await;
    let writer = RedisWriter::of(&app).await;
    // One in each partition: from memory, from Redis, from PostgreSQL; and a fourth one that is
    // missing in Redis beside a neighbour who is there.
    let in_partition = |wanted| (1..).find(|one| app.partition(*one) == Partition(wanted));
    let users: Vec<u128> = (0..3).filter_map(in_partition).collect();
    let neighbours: Vec<u128> = (1..)
        .filter(|one| app.partition(*one) == Partition(3))
        .take(2)
        .collect();
    for number in users.iter().chain(&neighbours) {
        app.register(*number).await;
    }
    for (partition, head) in [(0, 1), (1, 1), (2, 1), (3, 2)] {
        writer
            .mark(Partition(partition), Some(writer.at(head)))
            .await;
    }
    app.readiness.report().await;
    assert_eq!(app.get(&user(users[0])).await.is_ok().json()["name"], "Ada");
    put(&writer, users[1], Partition(1), 1).await;
    put(&writer, neighbours[0], Partition(3), 1).await;
    app.execute("update read_model.user_view_g1 set name = 'From PostgreSQL'")
        .await;
    let mut strangers = 400..;
    let nobody = strangers.find(|one| app.partition(*one) == Partition(2));
    let nobody = nobody.expect("one");
    let all = [
        users[0],
        users[1],
        users[2],
        neighbours[0],
        neighbours[1],
        nobody,
    ];
    let ids: Vec<String> = all
        .iter()
        .map(|one| Uuid::from_u128(*one).to_string())
        .collect();
    let path = format!("/v1/users?ids={}", ids.join(","));
    let reply = app.get(&path).await;
    let names: Vec<_> = reply.is_ok().json()["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["name"].as_str().expect("a name").to_owned())
        .collect();
    // Of one partition all are of one reading, or a token could not say what was shown.
    let store = "From PostgreSQL";
    assert_eq!(names, ["Ada", "From Redis", store, store, store]);
    assert_eq!(reply.json()["missing"][0]["id"], ids[5].as_str());
    filled(&writer, users[2]).await;
    let value = filled(&writer, neighbours[1]).await;
    assert!(String::from_utf8_lossy(&value).contains(store));
}
