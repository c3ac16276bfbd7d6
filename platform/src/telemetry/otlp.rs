//! Sends spans to an OpenTelemetry collector by OTLP over HTTP.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Tracer,
};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::breaker::Breaker;
use crate::config::TelemetrySettings;

const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Spans that wait for export at most, in batches; more are dropped and counted by the SDK.
const QUEUE_BATCHES: usize = 8;

/// The tracer, when there is a collector to send to.
pub(super) fn provider(
    service: &'static str,
    settings: &TelemetrySettings,
) -> Result<Option<SdkTracerProvider>, Box<dyn Error + Send + Sync>> {
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new()?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!(
            "{}/v1/traces",
            endpoint.as_str().trim_end_matches('/')
        ))
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let batch = BatchConfigBuilder::default()
        .with_max_export_batch_size(settings.batch_max)
        .with_max_queue_size(settings.batch_max * QUEUE_BATCHES)
        .with_scheduled_delay(settings.batch_delay)
        .build();
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batch)
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample_ratio)));
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name(service).build())
        .with_sampler(sampler)
        .with_span_processor(processor)
        .build();
    Ok(Some(provider))
}

/// Hands tracing's spans to the tracer.
pub(super) fn layer<S>(provider: &SdkTracerProvider) -> OpenTelemetryLayer<S, Tracer>
where
    S: tracing::Subscriber + for<'s> LookupSpan<'s>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("runnel"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
}

/// The current span as a W3C `traceparent`, for event metadata and Kafka headers. None while
/// nothing is exported.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&tracing::Span::current())
}

pub(crate) fn traceparent_of(span: &tracing::Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| {
        format!(
            "00-{}-{}-{:02x}",
            span.trace_id(),
            span.span_id(),
            span.trace_flags().to_u8()
        )
    })
}

/// Makes the span a child of the caller's.
pub(crate) fn set_parent(span: &tracing::Span, traceparent: &str) {
    use opentelemetry::propagation::TextMapPropagator as _;
    let carrier =
        std::collections::HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let parent = TraceContextPropagator::new().extract(&carrier);
    // It fails only for a span that nobody records.
    let _ = span.set_parent(parent);
}

/// Names a span that has begun; its field `otel.name` would be ignored by now.
pub(crate) fn rename(span: &tracing::Span, name: String) {
    span.context().span().update_name(name);
}

/// The exporter's thread has no runtime of its own, so the request runs on ours.
struct Collector {
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
    breaker: Breaker,
}

impl Collector {
    fn new() -> Result<Collector, Box<dyn Error + Send + Sync>> {
        let client = reqwest::Client::builder().timeout(EXPORT_TIMEOUT).build()?;
        let runtime = tokio::runtime::Handle::try_current()?;
        Ok(Collector {
            client,
            runtime,
            breaker: Breaker::new("otlp"),
        })
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let permit = self.breaker.permit()?;
        let client = self.client.clone();
        let sent = self
            .runtime
            .spawn(async move { client.send_bytes(request).await })
            .await;
        match sent {
            Ok(Ok(response)) => {
                permit.succeeded();
                Ok(response)
            }
            Ok(Err(error)) => {
                permit.failed();
                Err(error)
            }
            Err(error) => Err(Box::new(error)),
        }
    }
}
