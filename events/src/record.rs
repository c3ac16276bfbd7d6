//! The topic contract: how an event travels through Kafka. A record is a CloudEvents 1.0 event in
//! the Kafka protocol binding's binary mode: attributes are headers `ce_…`, the value is the
//! payload as it was appended. (CloudEvents specification 1.0.2 and its "Kafka Protocol Binding".)
//!
//! A reader gets back the very [`RecordedEvent`] that the store holds, so nothing behind Kafka can
//! tell which of the two it was read from. What does not carry these headers is foreign: it is
//! counted and dropped, never guessed at.

use std::collections::HashMap;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::address::{Address, Partition};
use crate::event::{Metadata, RecordedEvent};
use crate::scope::TenantId;

/// The version of CloudEvents that the headers follow.
const SPEC_VERSION: &str = "1.0";

/// The store is named by a URI: its uuid as a URN (RFC 9562).
const SOURCE_PREFIX: &str = "urn:uuid:";

/// An event on its way into Kafka, or out of it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The store that the event was appended to.
    pub store_id: Uuid,
    /// The incarnation in which it was read for Kafka: a later one may have made it void.
    pub incarnation: i32,
    /// The event.
    pub event: RecordedEvent,
}

/// A record that no relay of Runnel wrote, or that was written by one that is newer than this
/// reader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignRecord {
    /// A header is not there.
    #[error("the record has no header `{0}`")]
    Missing(&'static str),
    /// A header, the key or the value is not what it should be.
    #[error("the record's `{0}` cannot be read")]
    Malformed(&'static str),
}

/// The key of an event's record, `tenant/routing key`: what partitions are chosen by, too.
#[must_use]
pub fn key(event: &RecordedEvent) -> String {
    format!("{}/{}", event.tenant, event.routing_key)
}

/// The headers of an event's record.
#[must_use]
pub fn headers(
    store_id: Uuid,
    incarnation: i32,
    event: &RecordedEvent,
) -> Vec<(&'static str, String)> {
    let time = event
        .recorded_at
        .to_rfc3339_opts(SecondsFormat::Micros, true);
    let subject = format!("{}-{}", event.aggregate_type, event.aggregate_id);
    let mut headers = vec![
        ("ce_specversion", SPEC_VERSION.to_owned()),
        ("ce_id", event.event_id.to_string()),
        ("ce_source", format!("{SOURCE_PREFIX}{store_id}")),
        ("ce_type", event.event_type.clone()),
        ("ce_time", time),
        ("ce_subject", subject),
        ("content-type", "application/json".to_owned()),
        ("ce_tenantid", event.tenant.to_string()),
        ("ce_partition", event.address.partition.to_string()),
        ("ce_position", event.address.position.to_string()),
        ("ce_sequence", event.sequence.to_string()),
        ("ce_incarnation", incarnation.to_string()),
        ("ce_eventversion", event.event_version.to_string()),
        ("ce_streamno", event.stream_no.to_string()),
        ("metadata", event.metadata.get().to_owned()),
    ];
    let metadata: Option<Metadata> = serde_json::from_str(event.metadata.get()).ok();
    if let Some(traceparent) = metadata.and_then(|metadata| metadata.traceparent) {
        headers.push(("traceparent", traceparent));
    }
    headers
}

/// Reads a record back.
///
/// # Errors
/// [`ForeignRecord`] when it is none of ours.
pub fn read<'r>(
    key: Option<&[u8]>,
    headers: impl IntoIterator<Item = (&'r str, Option<&'r [u8]>)>,
    value: Option<&[u8]>,
) -> Result<Record, ForeignRecord> {
    let headers = Headers::collect(headers);
    if headers.text("ce_specversion")? != SPEC_VERSION {
        return Err(ForeignRecord::Malformed("ce_specversion"));
    }
    let store_id = headers
        .text("ce_source")?
        .strip_prefix(SOURCE_PREFIX)
        .and_then(|id| Uuid::try_parse(id).ok())
        .ok_or(ForeignRecord::Malformed("ce_source"))?;
    let (aggregate_type, aggregate_id) = headers
        .text("ce_subject")?
        .split_once('-')
        .ok_or(ForeignRecord::Malformed("ce_subject"))?;
    let (tenant, routing_key) = key
        .and_then(|key| std::str::from_utf8(key).ok())
        .and_then(|key| key.split_once('/'))
        .ok_or(ForeignRecord::Malformed("key"))?;
    if headers.text("ce_tenantid")? != tenant {
        return Err(ForeignRecord::Malformed("ce_tenantid"));
    }
    let partition: i32 = headers.parsed("ce_partition")?;
    Ok(Record {
        store_id,
        incarnation: headers.parsed("ce_incarnation")?,
        event: RecordedEvent {
            address: Address {
                partition: Partition::try_from(partition)
                    .map_err(|_| ForeignRecord::Malformed("ce_partition"))?,
                position: headers.parsed("ce_position")?,
            },
            stream_no: headers.parsed("ce_streamno")?,
            sequence: headers.parsed("ce_sequence")?,
            event_id: headers.parsed("ce_id")?,
            tenant: TenantId::parse(tenant).map_err(|_| ForeignRecord::Malformed("key"))?,
            aggregate_type: aggregate_type.to_owned(),
            aggregate_id: aggregate_id.to_owned(),
            routing_key: routing_key.to_owned(),
            event_type: headers.text("ce_type")?.to_owned(),
            event_version: headers.parsed("ce_eventversion")?,
            payload: json(
                "value",
                value.and_then(|value| std::str::from_utf8(value).ok()),
            )?,
            metadata: json("metadata", Some(headers.text("metadata")?))?,
            recorded_at: headers.parsed::<DateTime<Utc>>("ce_time")?,
        },
    })
}

/// A record's headers by name; of a name that is there twice, the last counts.
struct Headers<'r>(HashMap<&'r str, Option<&'r [u8]>>);

impl<'r> Headers<'r> {
    fn collect(headers: impl IntoIterator<Item = (&'r str, Option<&'r [u8]>)>) -> Self {
        Self(headers.into_iter().collect())
    }

    fn text(&self, name: &'static str) -> Result<&'r str, ForeignRecord> {
        let value = self.0.get(name).copied().flatten();
        let value = value.ok_or(ForeignRecord::Missing(name))?;
        std::str::from_utf8(value).map_err(|_| ForeignRecord::Malformed(name))
    }

    fn parsed<T: FromStr>(&self, name: &'static str) -> Result<T, ForeignRecord> {
        let text = self.text(name)?;
        text.parse().map_err(|_| ForeignRecord::Malformed(name))
    }
}

fn json(what: &'static str, text: Option<&str>) -> Result<Box<RawValue>, ForeignRecord> {
    text.and_then(|text| RawValue::from_string(text.to_owned()).ok())
        .ok_or(ForeignRecord::Malformed(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> RecordedEvent {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
        RecordedEvent {
            address: Address {
                partition: Partition(3),
                position: 1042,
            },
            stream_no: 7,
            sequence: 2,
            event_id: Uuid::from_u128(5),
            tenant: TenantId::parse("acme").expect("a tenant"),
            aggregate_type: "user".to_owned(),
            aggregate_id: Uuid::from_u128(9).to_string(),
            routing_key: Uuid::from_u128(9).to_string(),
            event_type: "UserRegistered".to_owned(),
            event_version: 1,
            payload: raw(r#"{"a": 1,"b":"é"}"#),
            metadata: raw(r#"{"request_id":"r","traceparent":"00-1-2-01"}"#),
            recorded_at: DateTime::from_timestamp_micros(1_767_225_600_123_456).expect("a time"),
        }
    }

    fn read_with(
        change: impl Fn(&mut Vec<(&'static str, String)>),
    ) -> Result<Record, ForeignRecord> {
        let event = event();
        let mut headers = headers(Uuid::from_u128(1), 2, &event);
        change(&mut headers);
        let borrowed = headers
            .iter()
            .map(|(name, value)| (*name, Some(value.as_bytes())));
        let key = key(&event);
        read(
            Some(key.as_bytes()),
            borrowed,
            Some(event.payload.get().as_bytes()),
        )
    }

    #[test]
    fn what_comes_out_of_a_record_is_what_went_into_it() {
        let record = read_with(|_| {}).expect("a record of ours");
        assert_eq!(
            (record.store_id, record.incarnation),
            (Uuid::from_u128(1), 2)
        );
        assert_eq!(format!("{:?}", record.event), format!("{:?}", event()));
    }

    #[test]
    fn the_trace_context_stands_in_a_header_of_its_own() {
        let headers = headers(Uuid::from_u128(1), 2, &event());
        assert!(headers.contains(&("traceparent", "00-1-2-01".to_owned())));
    }

    #[test]
    fn a_record_that_lacks_a_header_is_foreign() {
        let names: Vec<_> = headers(Uuid::nil(), 1, &event())
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| !["content-type", "traceparent"].contains(name))
            .collect();
        for name in names {
            let read = read_with(|headers| headers.retain(|(other, _)| *other != name));
            assert_eq!(read.map(|_| ()), Err(ForeignRecord::Missing(name)));
        }
    }

    #[test]
    fn a_record_with_another_meaning_is_foreign() {
        let set = |name: &'static str, value: &str| {
            let read = read_with(|headers| {
                headers.retain(|(other, _)| *other != name);
                headers.push((name, value.to_owned()));
            });
            assert_eq!(
                read.map(|_| ()),
                Err(ForeignRecord::Malformed(name)),
                "{name}: {value}"
            );
        };
        set("ce_specversion", "0.3");
        set("ce_source", "/shop");
        set("ce_subject", "user");
        set("ce_tenantid", "other");
        set("ce_partition", "-1");
        set("ce_position", "many");
        set("metadata", "{");
    }
}
