//! I5 through the whole pipe: projectors are killed and paused while commands come in, and every
//! row is the fold of its events afterwards.

use std::time::Duration;

use sqlx::PgPool;
use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::ledger::Outcome;
use testkit::pipeline::process::Signal;
use testkit::pipeline::view::assert_equals_fold;
use testkit::pipeline::{Client, Ledger, Node, Pipeline, Service, Who};
use uuid::Uuid;

use crate::scene::{APPLIED_WITHIN, Load, TENANT, admin, ask, at_random, register};

/// `make kills` asks for 20.
const KILLS: &str = "RUNNEL_KILLS";
const KILLS_DEFAULT: usize = 3;
const USERS: usize = 60;
const WRITERS: usize = 8;
/// Commands between two kills.
const COMMANDS_BETWEEN: u64 = 100;

/// How far the served generation has come, all partitions together.
const APPLIED: &str = "
select coalesce(sum(position), 0)::bigint
from projection.checkpoint
join projection.generation g using (projection, generation)
where projection = 'user_view' and g.state = 'active'";

/// Who holds leases that have not run out.
const HOLDERS: &str = "
select count(distinct owner) from projection.lease
where projection = 'user_view' and owner is not null and expires_at > clock_timestamp()";

async fn number(pool: &PgPool, sql: &str) -> i64 {
    let number = sqlx::query_scalar(sql).fetch_one(pool).await;
    number.expect("a number")
}

async fn progress(pool: &PgPool) {
    let before = number(pool, APPLIED).await;
    testkit::eventually(APPLIED_WITHIN, || async move {
        let now = number(pool, APPLIED).await;
        (now > before + 20).then_some(()).ok_or((before, now))
    })
    .await;
}

async fn holders(pool: &PgPool, wanted: i64) {
    testkit::eventually(Duration::from_secs(20), || async move {
        let now = number(pool, HOLDERS).await;
        (now == wanted).then_some(()).ok_or(now)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_equal_the_fold_after_two_projectors_were_killed_in_turns_under_load() {
    let kills = std::env::var(KILLS).map_or(KILLS_DEFAULT, |text| text.parse().expect("a number"));
    let pipeline = Pipeline::create().await;
    let (command, query, mut first, mut second) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::QueryApi),
        pipeline.start(Service::Projector),
        pipeline.start(Service::Projector),
    );
    let (pool, ledger) = (pipeline.pool(), Ledger::default());
    let writer = admin(&pipeline, &ledger);
    let users = register(&writer, &[command.url()], USERS).await;
    let load = Load::start(WRITERS, &writer, &users, &at_random(vec![command.url()]));
    for kill in 0..kills {
        load.more(COMMANDS_BETWEEN).await;
        progress(&pool).await;
        let victim = if kill % 2 == 0 {
            &mut first
        } else {
            &mut second
        };
        victim.kill();
        load.more(COMMANDS_BETWEEN / 2).await;
        victim.start_again().await;
        reads_its_own_write(&pipeline, &writer, &command, &query, users[kill % USERS]).await;
    }
    load.stop().await;
    assert_equals_fold(&pool, APPLIED_WITHIN).await;
    let log = pipeline.event_log().await;
    log.assert_sound();
    ledger.assert_true_of(&log);
}

/// A write is read back with its token in the end, and until then nothing older is.
async fn reads_its_own_write(
    pipeline: &Pipeline,
    writer: &Writer,
    command: &Node,
    query: &Node,
    user: Uuid,
) {
    let answer = writer
        .send(&command.url(), Command::rename(user, "mine"))
        .await;
    let written = answer.expect("an answer");
    assert_eq!(written.status, 200, "{}", written.text());
    let token = written.token().expect("a token").to_owned();
    let bearer = pipeline.tokens().sign(TENANT, Who::Operator);
    let (client, url) = (Client::new(), format!("{}/v1/users/{user}", query.url()));
    testkit::eventually(APPLIED_WITHIN, || async {
        let headers = [("consistency-token", token.as_str())];
        let read = ask(&client, url.clone(), &bearer, &headers).await;
        if read.status == 503 {
            return Err(read.text());
        }
        assert_eq!(read.status, 200, "{}", read.text());
        assert!(
            read.version() >= written.version(),
            "an older state: {}",
            read.text()
        );
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_that_was_paused_past_its_lease_changes_nothing_when_it_goes_on() {
    let pipeline = Pipeline::create().await;
    let (command, mut first, _second) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::Projector),
        pipeline.start(Service::Projector),
    );
    let (pool, ledger) = (pipeline.pool(), Ledger::default());
    let writer = admin(&pipeline, &ledger);
    let users = register(&writer, &[command.url()], USERS).await;
    let load = Load::start(WRITERS, &writer, &users, &at_random(vec![command.url()]));
    for _ in 0..2 {
        // Both hold some of the four partitions, so both have something to lose.
        holders(&pool, 2).await;
        load.more(COMMANDS_BETWEEN).await;
        first.process().signal(Signal::Stop);
        holders(&pool, 1).await;
        progress(&pool).await;
        first.process().signal(Signal::Continue);
        load.more(COMMANDS_BETWEEN).await;
    }
    load.stop().await;
    assert_equals_fold(&pool, APPLIED_WITHIN).await;
    let log = pipeline.event_log().await;
    log.assert_sound();
    ledger.assert_true_of(&log);
    let refused = |outcome: &Outcome| !matches!(outcome, Outcome::Done { .. });
    let lines = ledger.lines();
    let refused: Vec<_> = lines.iter().filter(|line| refused(&line.outcome)).collect();
    assert!(
        refused.is_empty(),
        "a projector is no concern of commands: {refused:#?}"
    );
}
