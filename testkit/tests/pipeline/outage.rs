//! PostgreSQL goes away and comes back: reads are served from memory and say so, commands say when
//! to come back, and nobody needs a restart.

use std::time::Duration;

use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::ledger::Outcome;
use testkit::pipeline::proxy::Proxy;
use testkit::pipeline::view::assert_equals_fold;
use testkit::pipeline::{Answer, Client, Ledger, Pipeline, Service, Who};
use uuid::Uuid;

use crate::scene::{APPLIED_WITHIN, TENANT, admin, ask, register};

/// Long enough for pools, lanes and leases to find out, and to come back.
const HEALED_WITHIN: Duration = Duration::from_secs(30);

/// The clients of the two APIs.
struct Clients {
    writer: Writer,
    command: String,
    client: Client,
    bearer: String,
    query: String,
}

impl Clients {
    async fn rename(&self, user: Uuid, name: &str) -> Answer {
        let answer = self
            .writer
            .send(&self.command, Command::rename(user, name))
            .await;
        answer.expect("an answer")
    }

    async fn read(&self, user: Uuid, token: Option<&str>) -> Answer {
        let url = format!("{}/v1/users/{user}", self.query);
        let headers = token.map(|token| ("consistency-token", token));
        ask(&self.client, url, &self.bearer, headers.as_slice()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_reads_come_from_memory_and_say_so_and_everything_heals_by_itself() {
    let pipeline = Pipeline::create().await;
    let proxy = Proxy::start(&pipeline.database().options()).await;
    let through = proxy.url(&pipeline.database().options());
    let settings = [("DATABASE_URL", through.as_str())];
    let (command, query, _projector) = tokio::join!(
        pipeline.start_with(Service::CommandApi, &settings),
        pipeline.start_with(Service::QueryApi, &settings),
        pipeline.start_with(Service::Projector, &settings),
    );
    let ledger = Ledger::default();
    let clients = Clients {
        writer: admin(&pipeline, &ledger),
        command: command.url(),
        client: Client::new(),
        bearer: pipeline.tokens().sign(TENANT, Who::Operator),
        query: query.url(),
    };
    let users = register(&clients.writer, &[command.url()], 2).await;
    assert_equals_fold(&pipeline.pool(), APPLIED_WITHIN).await;

    let fresh = clients.read(users[0], None).await;
    assert_eq!(fresh.status, 200, "{}", fresh.text());
    assert_eq!(fresh.header("runnel-stale"), None);
    proxy.down();
    while_it_is_away(&clients, &fresh, users[0], users[1]).await;
    proxy.up();
    it_heals(&clients, users[0]).await;

    let log = pipeline.event_log().await;
    log.assert_sound();
    ledger.assert_true_of(&log);
    let is_refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(503, _));
    let felt = ledger.lines().iter().any(|line| is_refused(&line.outcome));
    assert!(felt, "the outage was not felt");
    assert_equals_fold(&pipeline.pool(), APPLIED_WITHIN).await;
}

async fn while_it_is_away(clients: &Clients, fresh: &Answer, known: Uuid, unknown: Uuid) {
    // Within its first second the value needs no mark.
    let stale = testkit::eventually(HEALED_WITHIN, || async {
        let read = clients.read(known, None).await;
        assert_eq!(read.status, 200, "{}", read.text());
        let is_marked = read.header("runnel-stale").is_some();
        is_marked.then_some(read.clone()).ok_or(read.headers)
    })
    .await;
    assert_eq!(stale.header("runnel-stale"), Some("store_down"));
    assert_eq!(stale.body, fresh.body);
    assert!(stale.token().is_some(), "it says as of when");
    let ahead = clients.read(known, Some("1.0.1000000")).await;
    for nothing_to_show in [clients.read(unknown, None).await, ahead] {
        let (status, text) = (nothing_to_show.status, nothing_to_show.text());
        assert!(nothing_to_show.is_retry_later(), "{status} {text}");
    }
    let answer = clients.rename(known, "away").await;
    assert!(
        answer.is_retry_later(),
        "{} {}",
        answer.status,
        answer.text()
    );
}

async fn it_heals(clients: &Clients, user: Uuid) {
    let written = testkit::eventually(HEALED_WITHIN, || async {
        let answer = clients.rename(user, "back").await;
        (answer.status == 200)
            .then_some(answer.clone())
            .ok_or(answer.text())
    })
    .await;
    let token = written.token().expect("a token");
    let read = testkit::eventually(HEALED_WITHIN, || async {
        let read = clients.read(user, Some(token)).await;
        (read.status == 200)
            .then_some(read.clone())
            .ok_or(read.text())
    })
    .await;
    assert_eq!(read.json()["name"], "back");
    assert_eq!(read.header("runnel-stale"), None);
}
