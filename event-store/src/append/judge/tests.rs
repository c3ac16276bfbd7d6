//! Any entry, over any state: it is taken wholly, or the overlay is as it was.

use events::{NewEvent, PartitionCount, Role, Scope, StreamId, TenantId};
use proptest::prelude::*;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::*;
use crate::entry::{Condition, Entry, ReadMark, Write};

fn scope() -> Scope {
    Scope {
        tenant: TenantId::parse("acme").expect("a tenant"),
        principal: "tester".to_owned(),
        role: Role::Admin,
    }
}

fn stream(number: u8) -> StreamId {
    StreamId {
        aggregate_type: "test",
        tenant: scope().tenant,
        id: number.to_string(),
        routing_key: "route".to_owned(),
    }
}

fn claim((key, owner): (u8, u8)) -> Claim {
    Claim {
        kind: "email",
        key_hash: [key; 32],
        key_version: 1,
        owner: owner.to_string(),
    }
}

fn event() -> NewEvent {
    let empty = || RawValue::from_string("{}".to_owned()).expect("json");
    NewEvent {
        event_id: Uuid::nil(),
        event_type: "Happened",
        event_version: 1,
        payload: empty(),
        metadata: empty(),
    }
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let claims = || prop::collection::vec((0..3_u8, 0..2_u8), 0..3);
    let versions = || prop::collection::btree_map(0..3_u8, 0..3_i64, 0..3);
    let entry = (versions(), versions(), claims(), claims());
    let entry = entry.prop_map(|(writes, conditions, take, release)| Entry {
        scope: scope(),
        partition: Partition(0),
        mark: ReadMark {
            incarnation: 1,
            head: 0,
        },
        writes: writes
            .into_iter()
            .map(|(number, expected)| Write {
                stream: stream(number),
                expected,
                events: vec![event(), event()],
            })
            .collect(),
        conditions: std::iter::once((9, 0))
            .chain(conditions)
            .map(|(number, version)| Condition {
                stream: stream(number),
                version,
            })
            .collect(),
        take: take.into_iter().map(claim).collect(),
        release: release.into_iter().map(claim).collect(),
        outcome: None,
    });
    prop::collection::vec(entry, 1..20)
}

fn overlay(candidates: &[Candidate]) -> Overlay {
    let mut overlay = Overlay {
        incarnation: 1,
        ..Overlay::default()
    };
    overlay.heads.push(HeadState {
        partition: Partition(0),
        position: 7,
        digest: Digest::default(),
        recorded_at: 0,
    });
    for candidate in candidates {
        overlay.streams.extend(
            candidate
                .streams
                .iter()
                .map(|key| (*key, StreamState::default())),
        );
        let claims = candidate.take.iter().chain(&candidate.release);
        overlay.claims.extend(claims.map(|homed| (homed.key, None)));
    }
    overlay
}

proptest! {
    #[test]
    fn an_entry_is_taken_wholly_or_leaves_the_overlay_as_it_was(entries in entries()) {
        let count = PartitionCount::new(1).expect("a count");
        let candidates: Vec<_> =
            entries.into_iter().map(|entry| Candidate::new(entry, count, &[])).collect();
        let mut overlay = overlay(&candidates);
        let mut placed = Vec::new();
        for (index, candidate) in candidates.iter().enumerate() {
            let before = (overlay.clone(), placed.len());
            let verdict = overlay.judge(index, candidate, &mut placed);
            let events: usize = candidate.entry.writes.iter().map(|write| write.events.len()).sum();
            let taken = matches!(verdict, Verdict::Appended { .. } | Verdict::Unchanged { .. });
            prop_assert_eq!(placed.len() - before.1, if taken { events } else { 0 });
            if taken {
                for (claim, homed) in candidate.entry.take.iter().zip(&candidate.take) {
                    let later = candidate.entry.take.iter().rev();
                    let mut later = later.filter(|other| other.key_hash == claim.key_hash);
                    let owner = later.next().map(|other| other.owner.clone());
                    prop_assert_eq!(&overlay.claims[&homed.key], &owner);
                }
            } else {
                prop_assert_eq!(&overlay.streams, &before.0.streams);
                prop_assert_eq!(&overlay.claims, &before.0.claims);
                prop_assert_eq!(overlay.heads[0].position, before.0.heads[0].position);
                prop_assert_eq!(overlay.heads[0].digest, before.0.heads[0].digest);
            }
        }
        for (expected, placed) in (8..).zip(&placed) {
            prop_assert_eq!(placed.position, expected);
        }
    }
}
