//! A batch judged together means the same as its entries one by one: verdicts and tables are equal.

use std::collections::HashMap;

use event_store::entry::{Entry, ReadMark};
use event_store::{AppendSettings, Verdict};
use events::StreamId;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Fixture, Node, append_together, claim, count, entry, routed};

const ROUTES: [&str; 3] = ["route-a", "route-b", "route-c"];
const ROUNDS: usize = 40;

/// One entry in words: numbers stand for streams, claims, keys.
#[derive(Clone, Debug)]
struct Plan {
    route: usize,
    writes: Vec<(u8, usize)>,
    conditions: Vec<u8>,
    take: Vec<u8>,
    release: Vec<u8>,
    owner: u8,
    key: Option<(u8, u8)>,
    /// How many rounds ago its decider looked.
    rounds_ago: usize,
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        0..ROUTES.len(),
        prop::collection::btree_map(0..6_u8, 1..4_usize, 0..3),
        prop::collection::vec(0..6_u8, 0..3),
        prop::collection::vec(0..5_u8, 0..3),
        prop::collection::vec(0..5_u8, 0..2),
        0..3_u8,
        prop::option::weighted(0.3, (0..8_u8, 0..2_u8)),
        prop_oneof![6 => Just(0_usize), 1 => 1..4_usize],
    )
        .prop_map(
            |(route, writes, conditions, take, release, owner, key, rounds_ago)| Plan {
                route,
                writes: writes.into_iter().collect(),
                conditions,
                take,
                release,
                owner,
                key,
                rounds_ago,
            },
        )
}

/// What a decider can have seen: versions by stream, and the marks of the partitions.
#[derive(Clone)]
struct Sight {
    versions: HashMap<StreamId, i64>,
    marks: Vec<ReadMark>,
}

impl Sight {
    fn version(&self, stream: &StreamId) -> i64 {
        self.versions.get(stream).copied().unwrap_or(0)
    }
}

fn stream(route: usize, number: u8) -> StreamId {
    routed(&format!("stream-{route}-{number}"), ROUTES[route])
}

fn decided(plan: &Plan, sights: &[Sight]) -> Entry {
    let sight = &sights[sights.len() - 1 - plan.rounds_ago.min(sights.len() - 1)];
    let first = stream(plan.route, 0);
    let mark = sight.marks[first.partition(count()).index()];
    let mut entry = entry(mark, &first);
    for (number, events) in &plan.writes {
        let stream = stream(plan.route, *number);
        entry = entry.write(&stream, sight.version(&stream), *events);
    }
    // An entry without writes is a no-op on its first condition's stream.
    let conditions = plan
        .conditions
        .iter()
        .copied()
        .chain(plan.writes.is_empty().then_some(0));
    for number in conditions {
        let stream = stream(plan.route, number);
        entry = entry.given(&stream, sight.version(&stream));
    }
    let owner = format!("owner-{}", plan.owner);
    for number in &plan.take {
        entry = entry.take(claim(*number, &owner));
    }
    for number in &plan.release {
        entry = entry.release(claim(*number, &owner));
    }
    match plan.key {
        Some((key, request)) => entry.keyed(&format!("key-{key}"), request).into(),
        None => entry.into(),
    }
}

/// Every table that an append writes, as text; without the times.
async fn tables(fixture: &Fixture) -> Vec<String> {
    const STATEMENTS: [&str; 5] = [
        "select row_to_json(t)::text from (select partition, position, digest from event_store.partition_head) t
        order by partition",
        "select row_to_json(t)::text from (select partition, position, stream_no, sequence, event_id, aggregate_id,
        payload::text from event_store.event) t order by partition, position",
        "select row_to_json(t)::text from event_store.stream t order by partition, stream_no",
        "select row_to_json(t)::text from event_store.claim t order by partition, key_hash",
        "select row_to_json(t)::text from (select partition, tenant_id, principal, route, idempotency_key,
        fingerprint, outcome::text from event_store.command_outcome) t
        order by partition, idempotency_key",
    ];
    let mut rows = Vec::new();
    for statement in STATEMENTS {
        let table: Vec<String> = sqlx::query_scalar(statement)
            .fetch_all(&fixture.database.pool())
            .await
            .expect("a table");
        rows.extend(table);
    }
    rows
}

async fn look(node: &Node, versions: &HashMap<StreamId, i64>) -> Sight {
    let heads = node.store.heads().await.expect("heads");
    let mark = |head: &event_store::partition_reader::Head| ReadMark {
        incarnation: head.incarnation,
        head: head.position,
    };
    Sight {
        versions: versions.clone(),
        marks: heads.iter().map(mark).collect(),
    }
}

fn learn(versions: &mut HashMap<StreamId, i64>, entry: &Entry, verdict: &Verdict) {
    if matches!(verdict, Verdict::Appended { .. }) {
        for write in &entry.writes {
            *versions.entry(write.stream.clone()).or_default() += write.events.len() as i64;
        }
    }
}

#[tokio::test]
async fn a_batch_judged_together_means_the_same_as_its_entries_one_by_one() {
    let (together, one_by_one) = (Fixture::create().await, Fixture::create().await);
    let one_lane = AppendSettings {
        lanes: 1,
        ..AppendSettings::default()
    };
    // Windows so small that some entries are older than their beginning.
    let small = AppendSettings {
        window_streams: 4,
        ..one_lane
    };
    let batched = together.node_with(one_lane).await;
    let serial = one_by_one.node_with(small).await;
    let mut runner = TestRunner::new(Config::default());
    let mut versions = HashMap::new();
    let mut sights = Vec::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for round in 0..ROUNDS {
        sights.push(look(&batched, &versions).await);
        let plans = prop::collection::vec(plan(), 1..24)
            .new_tree(&mut runner)
            .expect("plans")
            .current();
        let entries: Vec<_> = plans.iter().map(|plan| decided(plan, &sights)).collect();
        let answers = append_together(&together, &batched, entries.clone()).await;
        for ((entry, answer), plan) in entries.into_iter().zip(answers).zip(&plans) {
            let alone = serial.append(entry.clone()).await;
            assert_eq!(answer, alone, "round {round}, {plan:#?}");
            let verdict = alone.expect("a verdict");
            *seen.entry(name(&verdict)).or_default() += 1;
            learn(&mut versions, &entry, &verdict);
        }
        assert_eq!(
            tables(&together).await,
            tables(&one_by_one).await,
            "round {round}: {plans:#?}"
        );
    }
    // Every kind of verdict was met, so the property says something.
    assert_eq!(seen.len(), 7, "{seen:?}");
}

fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Appended { .. } => "appended",
        Verdict::Unchanged { .. } => "unchanged",
        Verdict::Conflict { .. } => "conflict",
        Verdict::Duplicate(_) => "duplicate",
        Verdict::KeyReused => "key reused",
        Verdict::ClaimTaken { .. } => "claim taken",
        Verdict::IdTaken => "id taken",
    }
}
