//! One JSON object a line: `timestamp`, `level`, `target`, `message`, `service`, the request's
//! ids, and the event's own fields at the top level.
//!
//! Not tracing-subscriber's JSON format, which nests the span's fields and formats all of them
//! for every span: here a request costs one short text.

use std::fmt;
use std::fmt::Write as _;

use chrono::{SecondsFormat, Utc};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::line_writer::LineSink;

/// Fields of a span that its events repeat.
const INHERITED: [&str; 2] = ["request_id", "trace_id"];

pub(super) struct JsonLog {
    service: &'static str,
    sink: LineSink,
}

/// `,"request_id":"…"`, as it goes into each line of the span.
struct Ids(String);

impl JsonLog {
    pub(super) fn new(service: &'static str, sink: LineSink) -> JsonLog {
        JsonLog { service, sink }
    }

    fn head(&self, event: &Event<'_>) -> String {
        let metadata = event.metadata();
        let mut line = String::with_capacity(512);
        line.push_str("{\"timestamp\":\"");
        line.push_str(&Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true));
        line.push('"');
        put(&mut line, "level", metadata.level().as_str());
        put(&mut line, "target", metadata.target());
        put(&mut line, "service", self.service);
        line
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for JsonLog {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut ids = Inherited(String::new());
        attributes.record(&mut ids);
        if let (false, Some(span)) = (ids.0.is_empty(), context.span(id)) {
            span.extensions_mut().insert(Ids(ids.0));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut ids = Inherited(String::new());
        values.record(&mut ids);
        let Some(span) = context.span(id).filter(|_| !ids.0.is_empty()) else {
            return;
        };
        let mut extensions = span.extensions_mut();
        match extensions.get_mut::<Ids>() {
            Some(Ids(known)) => known.push_str(&ids.0),
            None => extensions.insert(Ids(ids.0)),
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = self.head(event);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Ids(ids)) = span.extensions().get::<Ids>() {
                line.push_str(ids);
            }
        }
        event.record(&mut Fields(&mut line));
        line.push_str("}\n");
        self.sink.write(line.as_bytes());
    }
}

struct Inherited(String);

impl Visit for Inherited {
    fn record_str(&mut self, field: &Field, value: &str) {
        if INHERITED.contains(&field.name()) {
            put(&mut self.0, field.name(), value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if INHERITED.contains(&field.name()) {
            put(&mut self.0, field.name(), &format!("{value:?}"));
        }
    }
}

struct Fields<'l>(&'l mut String);

impl Fields<'_> {
    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        let _ = write!(self.0, ",\"{}\":{value}", field.name());
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        put(self.0, field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        put(self.0, field.name(), &format!("{value:?}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN and no infinity.
        if value.is_finite() {
            self.bare(field, value);
        } else {
            self.bare(field, "null");
        }
    }
}

/// Adds `,"name":"value"`; names are identifiers of ours, values are anything.
fn put(line: &mut String, name: &str, value: &str) {
    for part in [",\"", name, "\":"] {
        line.push_str(part);
    }
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    // Nearly all values; the others are escaped at the price of two allocations.
    if value.bytes().all(plain) {
        for part in ["\"", value, "\""] {
            line.push_str(part);
        }
    } else {
        line.push_str(&serde_json::Value::from(value).to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::line_writer::LineWriter;
    use super::*;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_flat_json_with_the_ids_of_the_request_that_it_belongs_to() {
        let output = Output::default();
        let writer = LineWriter::start(output.clone()).unwrap();
        let subscriber = tracing_subscriber::registry().with(JsonLog::new("test", writer.sink()));
        tracing::subscriber::with_default(subscriber, || {
            let trace_id = tracing::field::Empty;
            let request = tracing::info_span!("request", request_id = "r-1", trace_id, user = "u");
            request.record("trace_id", "abc");
            let inner = tracing::info_span!(parent: &request, "query");
            inner.in_scope(|| tracing::warn!(rows = 3_u64, slow = true, "said \"no\"\n"));
            tracing::info!(rate = f64::NAN, "outside");
        });
        writer.flush();
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let first = &lines[0];
        assert_eq!(first["level"], "WARN");
        assert_eq!(first["service"], "test");
        assert_eq!(first["message"], "said \"no\"\n");
        assert_eq!(
            (&first["request_id"], &first["trace_id"]),
            (&"r-1".into(), &"abc".into())
        );
        assert_eq!((&first["rows"], &first["slow"]), (&3.into(), &true.into()));
        assert!(first["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(first.get("user").is_none(), "only ids are inherited");
        assert_eq!((lines.len(), lines[1].get("request_id")), (2, None));
        assert!(lines[1]["rate"].is_null());
    }
}
