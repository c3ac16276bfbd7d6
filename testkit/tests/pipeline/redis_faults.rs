//! Redis is killed, paused, flushed and started again empty while sessions read over two query
//! nodes: no wrong answer, no 5xx because of it, and in the end what is served equals PostgreSQL
//! (I6, I7, I11).

use testkit::OwnRedis;
use testkit::eventually;
use testkit::pipeline::command::Command;
use testkit::pipeline::view::assert_equals_fold;
use testkit::pipeline::{Client, Ledger, Node, Pipeline, Service};
use uuid::Uuid;

use crate::redis_sessions::{Readers, Told};
use crate::scene::{APPLIED_WITHIN, Load, admin, ask, at_random, register};
use crate::served::{EQUAL_WITHIN, counted, equals_postgres, redis_serves};

const USERS: usize = 40;
const WRITERS: usize = 3;
const SESSIONS: usize = 4;
/// Commands of the writers between two faults.
const COMMANDS_BETWEEN: u64 = 40;

struct Full {
    pipeline: Pipeline,
    redis: OwnRedis,
    command: Node,
    queries: [Node; 2],
    _projector: Node,
}

impl Full {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let (pipeline, redis) = (Pipeline::create().await, OwnRedis::start());
        let mut all = vec![("REDIS_URL", redis.url())];
        all.extend(settings);
        let (command, one, two, projector) = tokio::join!(
            pipeline.start_with(Service::CommandApi, &[]),
            pipeline.start_with(Service::QueryApi, &all),
            pipeline.start_with(Service::QueryApi, &all),
            pipeline.start_with(Service::Projector, &all),
        );
        Self {
            pipeline,
            redis,
            command,
            queries: [one, two],
            _projector: projector,
        }
    }

    fn readers(&self, ledger: &Ledger, users: &[Uuid]) -> Readers {
        let writer = admin(&self.pipeline, ledger);
        let urls = [self.queries[0].url(), self.queries[1].url()];
        Readers::new(&self.pipeline, &writer, (self.command.url(), urls), users)
    }

    fn queries(&self) -> [&Node; 2] {
        self.queries.each_ref()
    }

    async fn serves_postgres(&self, users: &[Uuid]) {
        equals_postgres(&self.pipeline, &self.queries(), users).await;
    }
}

/// How Redis is struck, and how it is mended.
type Fault<'f> = (&'f dyn Fn(), &'f dyn Fn());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_paused_flushed_and_emptied_under_load_costs_no_answer() {
    let full = Full::start(&[]).await;
    let ledger = Ledger::default();
    let writer = admin(&full.pipeline, &ledger);
    let users = register(&writer, &[full.command.url()], USERS).await;
    let readers = full.readers(&ledger, &users);
    // Before the first fill of the view every read is 503 `filling`.
    assert_equals_fold(&full.pipeline.pool(), APPLIED_WITHIN).await;
    full.serves_postgres(&users).await;
    redis_serves(&full.pipeline, &full.queries(), &users).await;
    let load = Load::start(
        WRITERS,
        &writer,
        &users,
        &at_random(vec![full.command.url()]),
    );
    let sessions = readers.start(SESSIONS);
    let redis = &full.redis;
    let faults: [Fault<'_>; 4] = [
        // Flushed, paused, killed, and without its scripts.
        (&|| drop(redis.run(&["flushall"])), &|| {}),
        (&|| redis.pause(), &|| redis.resume()),
        (&|| redis.kill(), &|| redis.start_again()),
        (&|| drop(redis.run(&["script", "flush"])), &|| {}),
    ];
    for (strike, mend) in faults {
        load.more(COMMANDS_BETWEEN).await;
        strike();
        load.more(COMMANDS_BETWEEN).await;
        mend();
    }
    load.more(COMMANDS_BETWEEN).await;
    load.stop().await;
    assert!(sessions.stop().await > USERS, "hardly anything was shown");
    assert_equals_fold(&full.pipeline.pool(), APPLIED_WITHIN).await;
    full.serves_postgres(&users).await;
    // It is in use again, and still right.
    redis_serves(&full.pipeline, &full.queries(), &users).await;
    full.serves_postgres(&users).await;
    for node in &full.queries {
        assert!(counted(node, "cache_foreign_total").await == 0.0);
    }
    let log = full.pipeline.event_log().await;
    log.assert_sound();
    ledger.assert_true_of(&log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_seen_in_the_memory_of_every_node_by_push_alone() {
    let full = Full::start(&[("CACHE_L1_FRESH", "60s")]).await;
    let ledger = Ledger::default();
    let users = register(&admin(&full.pipeline, &ledger), &[full.command.url()], 1).await;
    let readers = full.readers(&ledger, &users);
    assert_equals_fold(&full.pipeline.pool(), APPLIED_WITHIN).await;
    full.serves_postgres(&users).await;
    for name in ["first", "second"] {
        let rename = Command::rename(users[0], name);
        let answer = readers.writer.send(&readers.command, rename).await;
        assert_eq!(answer.expect("an answer").status, 200);
        assert_equals_fold(&full.pipeline.pool(), APPLIED_WITHIN).await;
        // In memory it would stay for a minute, twice as long as this waits.
        full.serves_postgres(&users).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_stale_value_is_found_by_the_sessions_own_judgement() {
    let full = Full::start(&[]).await;
    let ledger = Ledger::default();
    let users = register(&admin(&full.pipeline, &ledger), &[full.command.url()], 6).await;
    let (readers, client) = (full.readers(&ledger, &users), Client::new());
    assert_equals_fold(&full.pipeline.pool(), APPLIED_WITHIN).await;
    let user = users[0];
    let url = |node: usize| format!("{}/v1/users/{user}", readers.queries[node]);
    let mut told = Told::default();
    readers.read(&client, &url(0), &mut told).await;
    let pattern = format!("*:user_view:{user}:*v1");
    let key = eventually(EQUAL_WITHIN, || async {
        // A fill that met a busy Redis is made by a later read.
        let read = ask(&client, url(0), &readers.bearer, &[]).await;
        assert_eq!(read.status, 200, "{}", read.text());
        let key = full.redis.run(&["--scan", "--pattern", &pattern]);
        (!key.is_empty())
            .then_some(key.clone())
            .ok_or("not filled yet")
    })
    .await;
    let old = full.redis.run(&["get", &key]);
    let rename = Command::rename(user, "new");
    let answer = readers.writer.send(&readers.command, rename).await;
    told.session.wrote(user, &answer.expect("an answer"));
    let new = eventually(EQUAL_WITHIN, || async {
        let now = full.redis.run(&["get", &key]);
        now.contains("\"version\":2")
            .then_some(now.clone())
            .ok_or(now)
    })
    .await;
    readers.read(&client, &url(0), &mut told).await;
    assert!(
        told.session.findings.is_empty(),
        "{:?}",
        told.session.findings
    );
    // The bug: the header of the new value, and the row of the old one.
    let (header, _) = new.split_once('\n').expect("a header");
    let (_, body) = old.split_once('\n').expect("a body");
    let planted = format!("{header}\n{body}");
    assert_eq!(full.redis.run(&["set", &key, &planted]), "OK");
    // The other node has nothing of the user in its memory.
    readers.read(&client, &url(1), &mut told).await;
    assert_eq!(
        told.session.findings.len(),
        1,
        "{:?}",
        told.session.findings
    );
}
