//! I15: a standby that was cut off before is promoted under load. What the old primary wrote after
//! the cut is nowhere: not in the log, not in the view, in no answer, and its tokens say so. In the
//! full form Kafka and Redis hold it, and nobody is shown it: without its void records the topic is
//! the event table.

mod full;
mod lost;
mod stage;
mod watch;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::ledger::{Line, findings};
use testkit::pipeline::view::assert_equals_fold;
use testkit::pipeline::{Answer, Ledger, Node};
use uuid::Uuid;

use self::full::{Full, kafka_feeds};
use self::lost::{
    done_token, keys_say_what_became_of_them, lost_lines, tags_of_it_match_nothing,
    tokens_say_what_became_of_them,
};
use self::stage::{DATABASE, Stage};
use self::watch::{Names, Shown, Watch};
use crate::reader::Reader;
use crate::scene::{APPLIED_WITHIN, Load, admin, at_random, register};

const USERS: usize = 12;
/// Users that only the lost tail has.
const PHANTOMS: usize = 6;
const WRITERS: usize = 4;
const HEALED_WITHIN: Duration = Duration::from_secs(60);

const SHOWN: (u16, &str) = (200, "");
const LOST: (u16, &str) = (409, "write_lost");
const GONE: (u16, &str) = (404, "user_not_found");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_cut_off_replica_was_promoted_under_load_nothing_of_the_lost_tail_is_anywhere() {
    a_cut_off_replica_is_promoted(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_it_in_the_full_form_although_kafka_and_redis_hold_it() {
    a_cut_off_replica_is_promoted(Some(Full::start().await)).await;
}

async fn a_cut_off_replica_is_promoted(full: Option<Full>) {
    let settings = full.as_ref().map(Full::settings);
    let mut stage = Stage::build(settings.as_ref().map_or(&[], |all| all)).await;
    let ledger = Ledger::default();
    let writer = admin(&stage.pipeline, &ledger);
    let urls = |stage: &Stage| stage.commands.iter().map(Node::url).collect::<Vec<_>>();
    let users = register(&writer, &urls(&stage), USERS).await;
    let load = Load::start(WRITERS, &writer, &users, &at_random(urls(&stage)));
    load.more(100).await;
    load.stop().await;
    let kept_key = rename_by_key(&writer, &urls(&stage)[0], users[0], "kept").await;
    stage.standby.catches_up_with(&stage.primary).await;
    stage.replication.down();
    let kept = ledger.lines();

    if let Some(full) = &full {
        full.join(&mut stage).await;
    }
    let load = Load::start(WRITERS, &writer, &users, &at_random(urls(&stage)));
    let phantoms = register(&writer, &urls(&stage), PHANTOMS).await;
    let lost_key = rename_by_key(&writer, &urls(&stage)[0], users[0], "lost").await;
    load.more(100).await;
    let everyone: Vec<_> = users.iter().chain(&phantoms).copied().collect();
    let reader = stage.reader(&stage.query);
    let watch = Watch::start(&reader, &everyone);
    // Acknowledged and seen: whoever reads them has every reason to believe in them.
    each_is(&reader, &phantoms, SHOWN).await;
    load.more(50).await;
    if let Some(full) = &full {
        full.come_to_hold(&phantoms).await;
    }
    stage.primary.kill();
    let mut held = None;
    if let Some(full) = &full {
        held = Some((full, full.hold().await));
    }
    stage.front.lead_to(&stage.standby.options(DATABASE));
    a_server_in_recovery_is_refused(&stage, &writer, users[0]).await;
    stage.standby.promote().await;

    let written = writes_again(&writer, &urls(&stage)[0], users[0]).await;
    let lost = lost_lines(&kept, &ledger.lines());
    let first_lost = done_token(lost.first().expect("the old primary acknowledged some"));
    reader
        .answers(&format!("/{}", users[0]), Some(first_lost), LOST)
        .await;
    let noticed = Instant::now();
    watch.send_along(written.token().expect("a token"));
    load.more(100).await;
    load.stop().await;
    assert_equals_fold(&stage.pipeline.pool(), APPLIED_WITHIN).await;
    tokens_say_what_became_of_them(&reader, &kept, &lost).await;
    each_is(&reader, &phantoms, GONE).await;
    let log = stage.pipeline.event_log().await;
    tags_of_it_match_nothing(&log, (&writer, &urls(&stage)[0]), &reader, &lost).await;
    keys_say_what_became_of_them(&writer, &urls(&stage)[0], kept_key, lost_key).await;
    if full.is_some() {
        kafka_feeds(&stage, &writer, users[0]).await;
    }
    assert_equals_fold(&stage.pipeline.pool(), APPLIED_WITHIN).await;
    let shown = watch.end();
    judge(&stage, &ledger, &lost, &shown, noticed).await;
    if let Some((full, held)) = held {
        full.judge(&stage, &held, (&users, &phantoms), (&kept, &lost))
            .await;
    }
}

async fn rename_by_key(writer: &Writer, node: &str, user: Uuid, key: &str) -> Command {
    let command = Command::rename(user, &format!("by the key {key}")).with_key(key);
    let answer = writer.send(node, command.clone()).await;
    assert_eq!(answer.expect("an answer").status, 200);
    command
}

async fn each_is(reader: &Reader, users: &[Uuid], what: (u16, &str)) {
    for user in users {
        reader.answers(&format!("/{user}"), None, what).await;
    }
}

/// Before the promotion the standby can be reached, and only read: commands say when to come back,
/// and nothing is written.
async fn a_server_in_recovery_is_refused(stage: &Stage, writer: &Writer, user: Uuid) {
    const EVENTS: &str = "select count(*) from event_store.event";
    let before = stage.standby.number(EVENTS).await;
    for _ in 0..5 {
        let rename = Command::rename(user, "in recovery");
        let answer = writer.send(&stage.commands[0].url(), rename).await;
        let answer = answer.expect("an answer");
        assert!(
            answer.is_retry_later(),
            "{} {}",
            answer.status,
            answer.text()
        );
    }
    let ahead = stage
        .reader(&stage.query)
        .read(&format!("/{user}"), Some("1.0.1000000"))
        .await;
    assert!(ahead.is_retry_later(), "{} {}", ahead.status, ahead.text());
    assert_eq!(stage.standby.number(EVENTS).await, before);
}

/// The first command that is done is of the new incarnation, which began by itself.
async fn writes_again(writer: &Writer, node: &str, user: Uuid) -> Answer {
    let written = testkit::eventually(HEALED_WITHIN, || async {
        let rename = Command::rename(user, &format!("after {}", Uuid::new_v4()));
        let answer = writer.send(node, rename).await.expect("an answer");
        let is_done = answer.status == 200;
        is_done
            .then_some(answer.clone())
            .ok_or((answer.status, answer.text()))
    })
    .await;
    let token = written.token().expect("a token");
    assert!(token.starts_with("2."), "{token} is of the new incarnation");
    written
}

async fn judge(stage: &Stage, ledger: &Ledger, lost: &[Line], shown: &[Shown], noticed: Instant) {
    let log = stage.pipeline.event_log().await;
    log.assert_sound();
    let gone: BTreeSet<_> = lost.iter().map(|line| line.request_id.as_str()).collect();
    let phantom = log
        .entries
        .iter()
        .find(|entry| entry.request_id().is_some_and(|id| gone.contains(id)));
    assert_eq!(phantom, None, "a lost event is in the log");
    let mut lines = ledger.lines();
    lines.retain(|line| !gone.contains(line.request_id.as_str()));
    let findings = findings(&lines, &log);
    assert!(
        findings.is_empty(),
        "the clients and the log: {findings:#?}"
    );

    let names = Names::of(&log);
    let is_new = |one: &&Shown| {
        one.token
            .as_ref()
            .is_some_and(|token| token.starts_with("2."))
    };
    let later = shown
        .iter()
        .filter(|one| one.asked >= noticed || is_new(one));
    assert_eq!(names.phantoms(later), Vec::<String>::new());
    let seen = names.phantoms(shown.iter()).len();
    assert!(
        seen > PHANTOMS,
        "only {seen} answers ever showed the lost tail"
    );
    let answered = |one: &&Shown| is_new(one) && one.answer.status == 200;
    assert!(shown.iter().any(|one| answered(&one)), "no read came back");

    let timelines = "select count(*) from event_store.incarnation";
    assert_eq!(stage.standby.number(timelines).await, 2);
    let check = ["store", "info", "--check"];
    stage.pipeline.run("projector", &check).await;
}
