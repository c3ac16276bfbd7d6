//! One key, one effect, one answer: on two nodes at once, and across kill -9 (I10).

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use testkit::pipeline::command::{Command, Writer};
use testkit::pipeline::{Answer, Ledger, Node, Pipeline, Service};
use uuid::Uuid;

use crate::scene::admin;

const KEYS: usize = 20;

/// A registration under a key, the same each time.
fn registration(key: &str, user: Uuid) -> Command {
    Command::register(user, &format!("{user}@example.org"), "Ada").with_key(key)
}

/// Sends until the answer is a decided one: in flight and away are to be repeated, says the API.
async fn decided(writer: &Writer, node: &str, command: &Command) -> Answer {
    testkit::eventually(Duration::from_secs(30), || async move {
        match writer.send(node, command.clone()).await {
            Ok(answer) if answer.status == 503 => Err(answer.text()),
            Ok(answer) if answer.code() == "request_in_flight" => Err(answer.text()),
            Ok(answer) => Ok(answer),
            Err(silence) => Err(format!("{silence:?}")),
        }
    })
    .await
}

fn assert_same(first: &Answer, again: &Answer) {
    assert_eq!(again.status, first.status);
    assert_eq!(again.text(), first.text());
    assert_eq!(again.token(), first.token());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_sent_to_two_nodes_at_once_has_one_effect_and_one_answer_also_after_kill_9() {
    let pipeline = Pipeline::create().await;
    let (mut first, mut second) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::CommandApi)
    );
    let nodes = [first.url(), second.url()];
    let ledger = Ledger::default();
    let writer = admin(&pipeline, &ledger);
    let keyed: Vec<(String, Uuid)> = (0..KEYS)
        .map(|number| (format!("key {number}"), Uuid::new_v4()))
        .collect();
    let sends = keyed.iter().map(|(key, user)| {
        let (command, writer, nodes) = (registration(key, *user), &writer, &nodes);
        async move {
            let ways = [0, 1, 0, 1].map(|node: usize| decided(writer, &nodes[node], &command));
            join_all(ways).await
        }
    });
    let answers = join_all(sends).await;
    for same in &answers {
        for answer in same {
            assert_eq!(answer.status, 201, "{}", answer.text());
            assert_same(&same[0], answer);
        }
        let repeated = |answer: &&Answer| answer.header("idempotency-replayed") == Some("true");
        assert_eq!(same.iter().filter(repeated).count(), same.len() - 1);
    }
    for node in [&mut first, &mut second] {
        node.kill();
        node.start_again().await;
    }
    for ((key, user), same) in keyed.iter().zip(&answers) {
        let again = decided(&writer, &nodes[1], &registration(key, *user)).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_same(&same[0], &again);
    }
    another_request_under_the_key_is_refused(&writer, &nodes[0], &keyed[0]).await;
    let log = pipeline.event_log().await;
    assert_eq!(log.entries.len(), KEYS);
    log.assert_sound();
    ledger.assert_true_of(&log);
}

async fn another_request_under_the_key_is_refused(
    writer: &Writer,
    node: &str,
    (key, _): &(String, Uuid),
) {
    let answer = decided(writer, node, &registration(key, Uuid::new_v4())).await;
    assert_eq!((answer.status, answer.code().as_str()), (422, "key_reused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_under_a_key_is_repeated_on_the_other_node_even_when_its_reason_is_gone() {
    let pipeline = Pipeline::create().await;
    let (first, second) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::CommandApi)
    );
    let ledger = Ledger::default();
    let writer = admin(&pipeline, &ledger);
    let (holder, late) = (Uuid::new_v4(), Uuid::new_v4());
    let wanted = "wanted@example.org";
    let holds = Command::register(holder, wanted, "Ada");
    assert_eq!(decided(&writer, &first.url(), &holds).await.status, 201);
    let body = json!({ "id": late, "email": wanted, "name": "Bob", "region": "eu" });
    let wants = Command::register_as(late, body).with_key("late");
    let refused = decided(&writer, &first.url(), &wants).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "email_taken")
    );
    let lets_go = Command::change_email(holder, "other@example.org");
    assert_eq!(decided(&writer, &second.url(), &lets_go).await.status, 200);
    let again = decided(&writer, &second.url(), &wants).await;
    assert_eq!((again.status, again.code().as_str()), (409, "email_taken"));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.token(), refused.token());
    ledger.assert_true_of(&pipeline.event_log().await);
}

/// The client of a killed node does what the API tells it: it sends the same key again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_repeats_its_key_through_kill_9_gets_one_effect() {
    let pipeline = Pipeline::create().await;
    let (mut first, second) = tokio::join!(
        pipeline.start(Service::CommandApi),
        pipeline.start(Service::CommandApi)
    );
    let ledger = Ledger::default();
    let writer = admin(&pipeline, &ledger);
    for round in 0..3 {
        let sends = (0..KEYS).map(|number| {
            let user = Uuid::new_v4();
            let command = registration(&format!("round {round} key {number}"), user);
            let (writer, nodes) = (writer.clone(), [first.url(), second.url()]);
            tokio::spawn(async move {
                // The first try goes to the node that dies, the others where there is one.
                let tried = writer.send(&nodes[0], command.clone()).await;
                let answer = decided(&writer, &nodes[1], &command).await;
                assert_eq!(answer.status, 201, "{}", answer.text());
                if let Ok(tried) = tried.as_ref()
                    && tried.status == 201
                {
                    assert_same(tried, &answer);
                }
            })
        });
        let sends: Vec<_> = sends.collect();
        let begun = ledger.lines().len();
        some_were_answered(&ledger, begun).await;
        kill_and_start(&mut first).await;
        for send in sends {
            send.await.expect("no panic");
        }
    }
    let log = pipeline.event_log().await;
    assert_eq!(log.entries.len(), 3 * KEYS);
    log.assert_sound();
    ledger.assert_true_of(&log);
}

async fn some_were_answered(ledger: &Ledger, begun: usize) {
    testkit::eventually(Duration::from_secs(20), || async move {
        (ledger.lines().len() > begun)
            .then_some(())
            .ok_or("no answer yet")
    })
    .await;
}

async fn kill_and_start(node: &mut Node) {
    node.kill();
    node.start_again().await;
}
