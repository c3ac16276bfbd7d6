//! What query nodes serve, against the rows of PostgreSQL (I11), and whether it comes from Redis.

use std::time::Duration;

use testkit::eventually;
use testkit::pipeline::view::{ViewRow, rows};
use testkit::pipeline::{Answer, Node, Pipeline};
use uuid::Uuid;

use crate::reader::Reader;
use crate::scene::TENANT;

/// Far beyond the bound that is published for what is in memory; what is wrong in Redis stays so
/// for ten minutes.
pub(crate) const EQUAL_WITHIN: Duration = Duration::from_secs(30);

const HITS: &str = "cache_requests_total{kind=\"user\",layer=\"redis\",result=\"hit\"}";

/// A counter of a process.
pub(crate) async fn counted(node: &Node, series: &str) -> f64 {
    let metrics = node.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    let number = line.unwrap_or_else(|| panic!("no {series} in {metrics}"));
    number.trim().parse().expect("a number")
}

/// Hits in Redis go on growing.
pub(crate) async fn redis_serves(pipeline: &Pipeline, nodes: &[&Node], users: &[Uuid]) {
    for node in nodes {
        let reader = Reader::of(pipeline, node);
        let before = counted(node, HITS).await;
        eventually(EQUAL_WITHIN, || async {
            for user in users {
                let answer = reader.read(&format!("/{user}"), None).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
            let now = counted(node, HITS).await;
            (now > before).then_some(()).ok_or((before, now))
        })
        .await;
    }
}

/// What every node serves equals the rows.
pub(crate) async fn equals_postgres(pipeline: &Pipeline, nodes: &[&Node], users: &[Uuid]) {
    let rows = rows(&pipeline.pool()).await.expect("the view");
    for node in nodes {
        let reader = Reader::of(pipeline, node);
        eventually(EQUAL_WITHIN, || async {
            for user in users {
                let row = &rows[&(TENANT.to_owned(), user.to_string())];
                let answer = reader.read(&format!("/{user}"), None).await;
                if !is_row(&answer, row) {
                    return Err(format!("{user}: {} instead of {row:?}", answer.text()));
                }
            }
            Ok(())
        })
        .await;
    }
}

fn is_row(answer: &Answer, row: &ViewRow) -> bool {
    let served = answer.json();
    served["version"] == row.version
        && served["name"].as_str() == row.name.as_deref()
        && answer.header("runnel-stale").is_none()
}
