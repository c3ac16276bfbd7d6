//! I15: a standby that was cut off before is promoted under load. What the old primary wrote after
//! the cut is nowhere: not in the log, not in the view, in no answer, and its tokens say so.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::pipeline::cluster::Cluster;
use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::ledger::{Line, Outcome, findings};
use testkit::pipeline::proxy::Proxy;
use testkit::pipeline::view::assert_equals_fold;
use testkit::pipeline::{Answer, Client, EventLog, Ledger, Node, Pipeline, Service, Who};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::scene::{APPLIED_WITHIN, Load, TENANT, admin, ask, at_random, register};

const USERS: usize = 12;
/// Users that only the lost tail has.
const PHANTOMS: usize = 6;
const WRITERS: usize = 4;
/// A query process looks at the incarnations every second; the rest is for a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
const HEALED_WITHIN: Duration = Duration::from_secs(60);
/// Tokens of each kind that are sent back.
const TOKENS: usize = 40;

/// Two servers, a way to each, and the processes that know only the front door.
struct Scene {
    primary: Cluster,
    standby: Cluster,
    replication: Proxy,
    front: Proxy,
    pipeline: Pipeline,
    command: Node,
    reader: Reader,
    _others: [Node; 2],
}

impl Scene {
    async fn build() -> Self {
        let primary = Cluster::primary().await;
        let replication = Proxy::start(&primary.options()).await;
        let front = Proxy::start(&primary.options()).await;
        let through = |proxy: &Proxy| {
            let url = proxy.url(&primary.options());
            url.parse().expect("a URL of ours")
        };
        let pipeline = Pipeline::create_on(through(&front)).await;
        let standby = Cluster::standby_of(&through(&replication)).await;
        let (command, query, projector) = tokio::join!(
            pipeline.start(Service::CommandApi),
            pipeline.start(Service::QueryApi),
            pipeline.start(Service::Projector),
        );
        let reader = Reader {
            client: Client::new(),
            bearer: pipeline.tokens().sign(TENANT, Who::Operator),
            node: query.url(),
        };
        Self {
            primary,
            standby,
            replication,
            front,
            pipeline,
            command,
            reader,
            _others: [query, projector],
        }
    }
}

#[derive(Clone)]
struct Reader {
    client: Client,
    bearer: String,
    node: String,
}

impl Reader {
    async fn read(&self, path: &str, token: Option<&str>) -> Answer {
        let url = format!("{}/v1/users{path}", self.node);
        let headers = token.map(|token| ("consistency-token", token));
        ask(&self.client, url, &self.bearer, headers.as_slice()).await
    }

    async fn answers(&self, path: &str, token: Option<&str>, status: u16, code: &str) -> Answer {
        testkit::eventually(NOTICED_WITHIN, || async {
            let answer = self.read(path, token).await;
            let is_it = answer.status == status && answer.code() == code;
            is_it
                .then_some(answer.clone())
                .ok_or((answer.status, answer.text()))
        })
        .await
    }
}

/// Every answer that was shown, and when it was asked for.
struct Watch {
    shown: Arc<Mutex<Vec<Shown>>>,
    /// What the watch sends along.
    token: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Shown {
    asked: Instant,
    token: Option<String>,
    path: String,
    answer: Answer,
}

impl Watch {
    /// Reads each user by its id, in batches and in lists, over and over.
    fn start(reader: &Reader, users: &[Uuid]) -> Self {
        let shown: Arc<Mutex<Vec<Shown>>> = Arc::default();
        let token: Arc<Mutex<Option<String>>> = Arc::default();
        let mut paths: Vec<_> = users.iter().map(|user| format!("/{user}")).collect();
        let ids: Vec<_> = users.iter().map(Uuid::to_string).collect();
        paths.push(format!("?ids={}", ids.join(",")));
        paths.push("?limit=1000".to_owned());
        paths.push("?region=eu-west&limit=1000".to_owned());
        let (reader, kept, sent) = (reader.clone(), shown.clone(), token.clone());
        let task = tokio::spawn(async move {
            for path in paths.iter().cycle() {
                let (asked, token) = (Instant::now(), sent.lock().expect("whole").clone());
                let answer = reader.read(path, token.as_deref()).await;
                let path = path.clone();
                kept.lock().expect("whole").push(Shown {
                    asked,
                    token,
                    path,
                    answer,
                });
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { shown, token, task }
    }

    fn send_along(&self, token: &str) {
        *self.token.lock().expect("whole") = Some(token.to_owned());
    }

    /// How many answers showed something that `log` does not have.
    fn phantoms<'s>(shown: impl Iterator<Item = &'s Shown>, log: &Names) -> Vec<String> {
        let phantoms = shown.filter(|one| !log.have_all_of(&one.answer.json()));
        phantoms
            .map(|one| format!("{} {:?}: {}", one.path, one.token, one.answer.text()))
            .collect()
    }

    fn end(self) -> Vec<Shown> {
        self.task.abort();
        self.shown.lock().expect("whole").clone()
    }
}

/// Every user and every name that the log holds; no two events have one name, but `Ada`.
struct Names(BTreeSet<String>);

impl Names {
    fn of(log: &EventLog) -> Self {
        let names = log.entries.iter().flat_map(|entry| {
            let name = entry.payload["name"].as_str().map(str::to_owned);
            name.into_iter().chain([entry.aggregate_id.clone()])
        });
        Self(names.collect())
    }

    /// Whether all users of an answer are of the log.
    fn have_all_of(&self, body: &Value) -> bool {
        let is_known = |user: &Value| {
            let (id, name) = (user["id"].as_str(), user["name"].as_str());
            let mut texts = id.into_iter().chain(name);
            texts.all(|text| self.0.contains(text))
        };
        match body["items"].as_array() {
            Some(items) => items.iter().all(is_known),
            None => body.get("code").is_some() || is_known(body),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_cut_off_replica_was_promoted_under_load_nothing_of_the_lost_tail_is_anywhere() {
    let mut scene = Scene::build().await;
    let (ledger, node) = (Ledger::default(), scene.command.url());
    let writer = admin(&scene.pipeline, &ledger);
    let users = register(&writer, std::slice::from_ref(&node), USERS).await;
    let route = at_random(vec![node.clone()]);
    let load = Load::start(WRITERS, &writer, &users, &route);
    load.more(100).await;
    load.stop().await;
    scene.standby.catches_up_with(&scene.primary).await;
    scene.replication.down();
    let kept = ledger.lines();

    let load = Load::start(WRITERS, &writer, &users, &route);
    let phantoms = register(&writer, std::slice::from_ref(&node), PHANTOMS).await;
    load.more(100).await;
    let everyone: Vec<_> = users.iter().chain(&phantoms).copied().collect();
    let watch = Watch::start(&scene.reader, &everyone);
    for phantom in &phantoms {
        // Acknowledged and seen: whoever reads them has every reason to believe in them.
        scene
            .reader
            .answers(&format!("/{phantom}"), None, 200, "")
            .await;
    }
    load.more(50).await;
    scene.primary.kill();
    scene.front.lead_to(&scene.standby.options());
    a_server_in_recovery_is_refused(&scene, &writer, users[0]).await;
    scene.standby.promote().await;

    let written = writes_again(&writer, &node, users[0]).await;
    let lost = lost_lines(&kept, &ledger.lines());
    let first_lost = done_token(lost.first().expect("the old primary acknowledged some"));
    scene
        .reader
        .answers(
            &format!("/{}", users[0]),
            Some(first_lost),
            409,
            "write_lost",
        )
        .await;
    let noticed = Instant::now();
    watch.send_along(written.token().expect("a token"));
    load.more(100).await;
    load.stop().await;
    assert_equals_fold(&scene.pipeline.pool(), APPLIED_WITHIN).await;
    tokens_say_what_became_of_them(&scene.reader, &kept, &lost).await;
    for phantom in &phantoms {
        let path = format!("/{phantom}");
        scene
            .reader
            .answers(&path, None, 404, "user_not_found")
            .await;
    }
    let shown = watch.end();
    judge(&scene, &ledger, &lost, &shown, noticed).await;
}

/// Before the promotion the standby can be reached, and only read: commands say when to come back,
/// and nothing is written.
async fn a_server_in_recovery_is_refused(scene: &Scene, writer: &Writer, user: Uuid) {
    const EVENTS: &str = "select count(*) from event_store.event";
    let before = scene.standby.number(EVENTS).await;
    for _ in 0..5 {
        let rename = Command::rename(user, "in recovery");
        let answer = writer.send(&scene.command.url(), rename).await;
        let answer = answer.expect("an answer");
        assert!(
            answer.is_retry_later(),
            "{} {}",
            answer.status,
            answer.text()
        );
    }
    let ahead = scene
        .reader
        .read(&format!("/{user}"), Some("1.0.1000000"))
        .await;
    assert!(ahead.is_retry_later(), "{} {}", ahead.status, ahead.text());
    assert_eq!(scene.standby.number(EVENTS).await, before);
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

/// What was acknowledged by the old primary after the cut.
fn lost_lines(kept: &[Line], all: &[Line]) -> Vec<Line> {
    let after_the_cut = all.iter().skip(kept.len());
    let is_lost = |line: &&Line| match &line.outcome {
        Outcome::Done { token, .. } => token.starts_with("1."),
        _ => false,
    };
    after_the_cut.filter(is_lost).cloned().collect()
}

fn done_token(line: &Line) -> &str {
    match &line.outcome {
        Outcome::Done { token, .. } => token,
        other => panic!("not done: {other:?}"),
    }
}

async fn tokens_say_what_became_of_them(reader: &Reader, kept: &[Line], lost: &[Line]) {
    let is_done = |line: &&Line| matches!(line.outcome, Outcome::Done { .. });
    for line in kept.iter().rev().filter(is_done).take(TOKENS) {
        let path = format!("/{}", line.user);
        reader.answers(&path, Some(done_token(line)), 200, "").await;
    }
    for line in lost.iter().rev().take(TOKENS) {
        let answer = reader
            .read(&format!("/{}", line.user), Some(done_token(line)))
            .await;
        assert_eq!((answer.status, answer.code().as_str()), (409, "write_lost"));
        assert_eq!(
            answer.header("retry-after"),
            None,
            "it will never be better"
        );
    }
}

async fn judge(scene: &Scene, ledger: &Ledger, lost: &[Line], shown: &[Shown], noticed: Instant) {
    let log = scene.pipeline.event_log().await;
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
    assert_eq!(Watch::phantoms(later, &names), Vec::<String>::new());
    let seen = Watch::phantoms(shown.iter(), &names).len();
    assert!(
        seen > PHANTOMS,
        "only {seen} answers ever showed the lost tail"
    );
    let answered = |one: &&Shown| is_new(one) && one.answer.status == 200;
    assert!(shown.iter().any(|one| answered(&one)), "no read came back");

    let timelines = "select count(*) from event_store.incarnation";
    assert_eq!(scene.standby.number(timelines).await, 2);
    let check = ["store", "info", "--check"];
    scene.pipeline.run("projector", &check).await;
}
