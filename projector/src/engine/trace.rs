//! Links a batch to the requests that caused its events. A batch has many causes, so they are links
//! and no parent.

use events::{Metadata, RecordedEvent};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// A span with more links than this is of no use to a reader.
const LINKS_MAX: usize = 32;

/// Links `span` to the sampled requests behind `events`.
pub(crate) fn link(span: &tracing::Span, events: &[RecordedEvent]) {
    if span.is_disabled() {
        return;
    }
    let mut last = None;
    let causes = events.iter().filter_map(cause).filter(|context| {
        // The events of one command stand next to each other.
        let fresh = last != Some(context.span_id());
        last = Some(context.span_id());
        fresh
    });
    for context in causes.take(LINKS_MAX) {
        span.add_link(context);
    }
}

fn cause(event: &RecordedEvent) -> Option<SpanContext> {
    let text = event.metadata.get();
    // Most events have none: their metadata is not parsed.
    if !text.contains("\"traceparent\"") {
        return None;
    }
    let metadata: Metadata = serde_json::from_str(text).ok()?;
    parse(&metadata.traceparent?).filter(SpanContext::is_sampled)
}

/// Reads a W3C `traceparent`, such as `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`.
fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (_version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_the_w3c_writes_it() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = parse(text).unwrap();
        assert_eq!(
            context.trace_id().to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled() && context.is_remote());
        for bad in ["", "00-0-0-01", "00-zz-00f067aa0ba902b7-01", "nonsense"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
