//! I6 and I7: who sends back the token of the last answer never sees an older state, on whatever
//! node; what cannot be shown in time is 503, or marked when that is asked for.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::{Answer, Client, Ledger, Node, Pipeline, Service, Who};
use uuid::Uuid;

use crate::scene::{APPLIED_WITHIN, Dice, TENANT, admin, ask, register};

const SESSIONS: usize = 16;
const ROUNDS: usize = 15;
/// What `TOKEN_WAIT` is without a setting, ms.
const TOKEN_WAIT_MS: u64 = 2000;
/// No answer takes longer, on whatever machine; what it says is how long it waited.
const SLOWEST: Duration = Duration::from_secs(10);

struct Session {
    writer: Writer,
    client: Client,
    bearer: String,
    command: String,
    queries: [String; 2],
    user: Uuid,
    /// Nobody else is there.
    region: String,
}

impl Session {
    async fn write(&self, name: &str) -> Answer {
        let answer = self
            .writer
            .send(&self.command, Command::rename(self.user, name))
            .await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    async fn read(&self, node: usize, token: &str, more: &[(&'static str, &str)]) -> Answer {
        let path = format!("/{}", self.user);
        self.read_at(&path, node, token, more).await
    }

    async fn read_at(
        &self,
        path: &str,
        node: usize,
        token: &str,
        more: &[(&'static str, &str)],
    ) -> Answer {
        let url = format!("{}/v1/users{path}", self.queries[node]);
        let mut headers = vec![("consistency-token", token)];
        headers.extend(more);
        ask(&self.client, url, &self.bearer, &headers).await
    }
}

async fn session(
    pipeline: &Pipeline,
    command: &Node,
    queries: [&Node; 2],
    ledger: &Ledger,
) -> Session {
    let writer = admin(pipeline, ledger);
    let user = register(&writer, &[command.url()], 1).await[0];
    let region = user.simple().to_string();
    let moved = Command::update(user, json!({ "region": region }));
    let answer = writer.send(&command.url(), moved).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    Session {
        writer,
        client: Client::new(),
        // A list of a region is for operators.
        bearer: pipeline.tokens().sign(TENANT, Who::Operator),
        command: command.url(),
        queries: queries.map(Node::url),
        user,
        region,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_sends_its_token_back_never_sees_an_older_state_on_either_node() {
    let pipeline = Pipeline::create().await;
    let (command, one, two, _projector) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::QueryApi),
        pipeline.start(Service::QueryApi),
        pipeline.start(Service::Projector),
    );
    let ledger = Ledger::default();
    let sessions = (0..SESSIONS).map(|_| session(&pipeline, &command, [&one, &two], &ledger));
    let sessions = join_all(sessions).await;
    let runs = sessions.into_iter().enumerate().map(|(number, session)| {
        tokio::spawn(async move { never_goes_back(number, &session).await })
    });
    let mut shown = 0;
    for run in runs.collect::<Vec<_>>() {
        shown += run.await.expect("no panic");
    }
    // 503 is allowed, but a test of nothing else would prove nothing.
    assert!(
        shown > SESSIONS * ROUNDS * 2,
        "only {shown} reads showed something"
    );
    ledger.assert_true_of(&pipeline.event_log().await);
}

/// Writes and reads in turns, on any node; returns how many reads showed the state.
async fn never_goes_back(number: usize, session: &Session) -> usize {
    let mut dice = Dice::new(number);
    let mut shown = 0;
    for round in 0..ROUNDS {
        let name = format!("name {number}-{round}");
        let written = session.write(&name).await;
        let mut token = written.token().expect("a token").to_owned();
        for way in 0..3 {
            // By its id, in a batch, in a list: each has a way of its own through caches and
            // database.
            let path = match way {
                0 => format!("/{}", session.user),
                1 => format!("?ids={}", session.user),
                _ => format!(
                    "?region={}&active_since=2020-01-01T00:00:00Z",
                    session.region
                ),
            };
            let read = session.read_at(&path, dice.roll(2), &token, &[]).await;
            if read.is_retry_later() {
                continue;
            }
            assert_eq!(read.status, 200, "{}", read.text());
            let body = read.json();
            let row = if way == 0 { &body } else { &body["items"][0] };
            // Nobody else writes here: a read shows exactly the last write, or nothing.
            assert_eq!(row["version"].as_i64(), written.version(), "{path}: {body}");
            assert_eq!(row["name"], name);
            read.token()
                .expect("a read has a token")
                .clone_into(&mut token);
            shown += 1;
        }
    }
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_projector_away_a_token_read_is_503_in_time_or_marked_when_lenient() {
    let pipeline = Pipeline::create().await;
    let (command, one, two, mut projector) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::QueryApi),
        pipeline.start(Service::QueryApi),
        pipeline.start(Service::Projector),
    );
    let ledger = Ledger::default();
    let session = session(&pipeline, &command, [&one, &two], &ledger).await;
    let old = session.write("old").await;
    let token = old.token().expect("a token").to_owned();
    shows(&session, &token, "old").await;
    projector.kill();
    let new = session.write("new").await;
    let token = new.token().expect("a token").to_owned();
    for node in [0, 1] {
        gives_up(&session, node, &token, &[], TOKEN_WAIT_MS).await;
        let short = [("prefer", "wait=100")];
        gives_up(&session, node, &token, &short, 100).await;

        let lenient = [("prefer", "handling=lenient, wait=100")];
        let read = session.read(node, &token, &lenient).await;
        assert_eq!(read.status, 200, "{}", read.text());
        assert_eq!(read.json()["name"], "old");
        assert!(read.header("runnel-stale").is_some(), "{:?}", read.headers);
    }
    projector.start_again().await;
    shows(&session, &token, "new").await;
}

/// The node waits so long for the token, and says so.
async fn gives_up(
    session: &Session,
    node: usize,
    token: &str,
    more: &[(&'static str, &str)],
    waits_ms: u64,
) {
    let begun = Instant::now();
    let read = session.read(node, token, more).await;
    let took = begun.elapsed();
    assert!(read.is_retry_later(), "{} {:?}", read.text(), read.headers);
    let problem = read.json();
    assert_eq!(problem["code"], "not_caught_up", "{problem}");
    let detail = problem["detail"].to_string();
    assert!(detail.contains(&format!(" {waits_ms} ms")), "{detail}");
    let in_time = Duration::from_millis(waits_ms)..SLOWEST;
    assert!(in_time.contains(&took), "it took {took:?}");
}

/// In the end both nodes show it, unmarked.
async fn shows(session: &Session, token: &str, name: &str) {
    for node in [0, 1] {
        let read = testkit::eventually(APPLIED_WITHIN, || async {
            let read = session.read(node, token, &[]).await;
            if read.status == 503 {
                Err(read.text())
            } else {
                Ok(read)
            }
        })
        .await;
        assert_eq!(read.status, 200, "{}", read.text());
        assert_eq!(read.json()["name"], name);
        assert_eq!(read.header("runnel-stale"), None);
    }
}
