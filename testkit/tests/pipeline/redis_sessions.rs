//! The readers of the Redis proofs: sessions over two query nodes, which send their tokens back,
//! and readers without a token. Redis must never be the reason for a 5xx.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::{Client, Pipeline, Session, Who};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::scene::{Dice, TENANT, ask};

/// Users in a batch.
const BATCH: usize = 5;

/// What the sessions are made of.
#[derive(Clone)]
pub(crate) struct Readers {
    pub(crate) writer: Writer,
    pub(crate) command: String,
    pub(crate) queries: [String; 2],
    pub(crate) bearer: String,
    pub(crate) users: Vec<Uuid>,
}

/// What became of one session.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) session: Session,
    /// Reads with a token that were not shown in time.
    pub(crate) late: usize,
}

/// Sessions that run until they are stopped.
pub(crate) struct Sessions {
    stop: Arc<AtomicBool>,
    running: Vec<JoinHandle<Told>>,
}

impl Readers {
    pub(crate) fn new(
        pipeline: &Pipeline,
        writer: &Writer,
        (command, queries): (String, [String; 2]),
        users: &[Uuid],
    ) -> Self {
        Self {
            writer: writer.clone(),
            command,
            queries,
            bearer: pipeline.tokens().sign(TENANT, Who::Operator),
            users: users.to_vec(),
        }
    }

    pub(crate) fn start(&self, count: usize) -> Sessions {
        let stop = Arc::new(AtomicBool::new(false));
        let running = (0..count).map(|number| {
            let (readers, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move { readers.run(number, &stop).await })
        });
        Sessions {
            running: running.collect(),
            stop,
        }
    }

    async fn run(&self, number: usize, stop: &AtomicBool) -> Told {
        let (client, mut dice, mut told) = (Client::new(), Dice::new(number), Told::default());
        while !stop.load(Ordering::Relaxed) {
            let user = self.users[dice.roll(self.users.len())];
            if dice.roll(4) == 0 {
                let command = Command::rename(user, &format!("session {number}"));
                let answer = self.writer.send(&self.command, command).await;
                let answer = answer.expect("an answer");
                assert_eq!(answer.status, 200, "{}", answer.text());
                told.session.wrote(user, &answer);
            }
            let node = &self.queries[dice.roll(2)];
            let path = match dice.roll(2) {
                0 => format!("/{user}"),
                _ => {
                    let first = dice.roll(self.users.len() - BATCH);
                    let ids = &self.users[first..first + BATCH];
                    let ids: Vec<_> = ids.iter().map(Uuid::to_string).collect();
                    format!("?ids={}", ids.join(","))
                }
            };
            self.read(&client, &format!("{node}/v1/users{path}"), &mut told)
                .await;
        }
        told
    }

    /// Once with the session's token and once without any.
    pub(crate) async fn read(&self, client: &Client, url: &str, told: &mut Told) {
        let headers = [("consistency-token", told.session.token())];
        let answer = ask(client, url.to_owned(), &self.bearer, &headers).await;
        match (answer.status, answer.code().as_str()) {
            (200, _) => told.session.read(&answer),
            // The projector is as busy as this machine.
            (503, "not_caught_up") => told.late += 1,
            _ => panic!("{} {}", answer.status, answer.text()),
        }
        let answer = ask(client, url.to_owned(), &self.bearer, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

impl Sessions {
    /// Ends them all; how many rows were shown. A finding fails the test.
    pub(crate) async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let (mut shown, mut late) = (0, 0);
        for session in self.running {
            let told = session.await.expect("no session panicked");
            let findings = &told.session.findings;
            assert!(findings.is_empty(), "{findings:#?}");
            shown += told.session.shown;
            late += told.late;
        }
        // Lateness is allowed, but a test of nothing else would prove nothing.
        assert!(shown > late, "{shown} rows shown, {late} reads late");
        shown
    }
}
