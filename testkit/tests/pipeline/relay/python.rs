//! A reader that shares nothing with us: an ordinary Python client and the CloudEvents SDK.

use std::process::Command;

use serde_json::Value;
use testkit::TestTopic;
use testkit::pipeline::{Ledger, Pipeline};
use testkit::servers::workspace_root;

use super::{relayed, start};
use crate::scene::{TENANT, admin, register};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinary_python_client_reads_cloudevents() {
    let pipeline = Pipeline::create().await;
    let topic = TestTopic::create().await;
    let mut node = start(&pipeline, &topic, "2s").await;
    let writer = admin(&pipeline, &Ledger::default());
    let users = register(&writer, &[node.url()], 12).await;
    relayed(&pipeline, &topic).await;
    let script = workspace_root().join("testkit/tests/python/consume");
    let mut command = Command::new(script);
    command.args([topic.brokers(), topic.name()]);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("no panic").expect("the script runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "PyPI's packages, or the reader, failed:\n{errors}"
    );
    let text = String::from_utf8(output.stdout).expect("text");
    let read: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(read.len(), users.len());
    let store_id = "select store_id::text from event_store.settings";
    let store_id = sqlx::query_scalar(store_id)
        .fetch_one(&pipeline.pool())
        .await;
    let store_id: String = store_id.expect("the store's id");
    let stored =
        "select event_id::text, partition::text, position::text, aggregate_id, payload::text
        from event_store.event";
    let stored: Vec<(String, String, String, String, String)> = sqlx::query_as(stored)
        .fetch_all(&pipeline.pool())
        .await
        .expect("the events");
    for (id, partition, position, user, payload) in stored {
        let event = read.iter().find(|event| event["id"] == id.as_str());
        let event = event.unwrap_or_else(|| panic!("{id} was not read"));
        for (attribute, wanted) in [
            ("specversion", "1.0"),
            ("type", "UserRegistered"),
            ("source", &format!("urn:uuid:{store_id}")),
            ("subject", &format!("user-{user}")),
            ("tenantid", TENANT),
            ("partition", &partition),
            ("position", &position),
            ("sequence", "1"),
            ("incarnation", "1"),
        ] {
            assert_eq!(event[attribute], wanted, "{attribute} of {id}");
        }
        let payload: Value = serde_json::from_str(&payload).expect("JSON");
        assert_eq!(event["data"], payload, "{id}");
        assert_eq!(event["key"], format!("{TENANT}/{user}").as_str());
        assert_eq!(event["kafka_partition"].to_string(), partition);
    }
    node.stop().await;
}
