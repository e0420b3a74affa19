//! Spans on their way to an OTLP receiver: in batches, from a thread of their own, through a bounded
//! queue. A receiver that is down costs nothing but what it would have been told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, RetryPolicy, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter,
};
use tracing::Metadata;
use tracing::subscriber::Interest;
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// How long the receiver may take for a batch, and for the last one.
const PATIENCE: Duration = Duration::from_secs(2);
/// Spans that wait to be sent; more are dropped.
const QUEUE: usize = 8192;
/// How long a span waits for others.
const DELAY: Duration = Duration::from_secs(1);
/// Most attributes of one span.
const ATTRIBUTES_MAX: u32 = 32;

/// The span that stands for the spans in it.
const WATCH: &str = "watch";

/// What makes spans and sends them to `base`/v1/traces.
///
/// # Errors
/// The URL cannot be used.
pub(super) fn provider(
    base: &str,
    service: &'static str,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", base.trim_end_matches('/')))
        .with_timeout(PATIENCE)
        // A command would wait for its end.
        .with_retry_policy(RetryPolicy::disabled())
        .build()?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_scheduled_delay(DELAY)
        .build();
    let processor = BatchSpanProcessor::builder(Said { exporter, failing: AtomicBool::new(false) })
        .with_batch_config(batches)
        .build();
    let about = Resource::builder()
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_resource(about)
        .with_max_attributes_per_span(ATTRIBUTES_MAX)
        .build())
}

/// Our own spans, as the receiver is to see them: but for those in a span `watch`, which stands for all
/// the looks that somebody takes while he waits.
pub(super) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    let wanted = dynamic_filter_fn(|metadata, at: &Context<'_, S>| {
        let watched = || at.lookup_current().is_some_and(|span| span.name() == WATCH);
        is_ours(metadata) && !watched()
    });
    let never_or_asked = |metadata: &'static Metadata<'static>| {
        if is_ours(metadata) { Interest::sometimes() } else { Interest::never() }
    };
    let wanted = wanted.with_callsite_filter(never_or_asked).with_max_level_hint(LevelFilter::INFO);
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("drs"))
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(wanted)
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span()
        && metadata.target().starts_with("drs")
        && *metadata.level() <= tracing::Level::INFO
}

/// Sends what is left.
pub(super) fn end(provider: &SdkTracerProvider) {
    if let Err(error) = provider.shutdown_with_timeout(PATIENCE) {
        tracing::debug!(%error, "the last spans were not sent");
    }
}

/// An exporter that says once when its receiver fails, and once when it works again.
#[derive(Debug)]
struct Said<E> {
    exporter: E,
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Said<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !failed_before => {
                tracing::warn!(%error, "traces are lost; check that the receiver listens, and for https that its certificate is trusted here");
            }
            Ok(()) if failed_before => tracing::info!("traces are received again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
