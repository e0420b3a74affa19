//! The receiver of telemetry, as the exporter of OpenTelemetry finds it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use drs_lab_servers::OtlpReceiver;
use opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;

fn exporter_to(receiver: &OtlpReceiver) -> SdkTracerProvider {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", receiver.endpoint()))
        .build()
        .expect("an exporter");
    SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("drs worker").build())
        .build()
}

/// Sends a request by hand and gives the status line.
fn post(receiver: &OtlpReceiver, path: &str, body: &[u8]) -> String {
    let port = receiver.endpoint().rsplit_once(':').expect("a port").1.parse().expect("a number");
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    write!(connection, "POST {path} HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len())
        .and_then(|()| connection.write_all(body))
        .expect("a request");
    let mut answer = [0; 512];
    let length = connection.read(&mut answer).expect("an answer");
    let text = String::from_utf8_lossy(&answer[..length]).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn spans_arrive_as_the_exporter_sent_them() {
    let receiver = OtlpReceiver::start();
    let provider = exporter_to(&receiver);
    let tracer = provider.tracer("test");
    let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let job = tracer.span_builder("job").with_start_time(began).start(&tracer);
    let context = Context::new().with_span(job);
    let mut step = tracer.start_with_context("step", &context);
    for attribute in [
        KeyValue::new("vm", "dc1/101"),
        KeyValue::new("bytes", -5_i64),
        KeyValue::new("share", 0.5),
        KeyValue::new("attachable", true),
    ] {
        step.set_attribute(attribute);
    }
    step.end();
    context.span().end_with_timestamp(began + Duration::from_millis(7));
    provider.force_flush().expect("an export");

    let spans = receiver.wait_for(|spans| spans.len() == 2);
    let named = |name: &str| spans.iter().find(|span| span.name == name).expect("the span");
    let (job, step) = (named("job"), named("step"));
    assert_eq!(job.trace_id, context.span().span_context().trace_id().to_string());
    assert_eq!(job.span_id, context.span().span_context().span_id().to_string());
    assert_eq!((job.parent_id.as_str(), job.service.as_str()), ("", "drs worker"));
    let nanoseconds = began.duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    assert_eq!(u128::from(job.start_ns), nanoseconds);
    assert_eq!(job.end_ns - job.start_ns, 7_000_000);
    assert_eq!((&step.trace_id, &step.parent_id), (&job.trace_id, &job.span_id));
    for (key, value) in
        [("vm", "dc1/101"), ("bytes", "-5"), ("share", "0.5"), ("attachable", "true")]
    {
        assert_eq!(step.attributes.get(key).map(String::as_str), Some(value), "{key}");
    }
    provider.shutdown().expect("a shutdown");
}

#[test]
fn metrics_and_logs_are_counted() {
    let receiver = OtlpReceiver::start();
    assert_eq!(post(&receiver, "/v1/metrics", b"anything"), "HTTP/1.1 200 OK");
    assert_eq!(post(&receiver, "/v1/logs", b""), "HTTP/1.1 200 OK");
    assert_eq!((receiver.metrics(), receiver.logs(), receiver.spans().len()), (1, 1, 0));
}

#[test]
fn what_is_not_otlp_fails_the_test_that_looks() {
    let receiver = OtlpReceiver::start();
    assert_eq!(post(&receiver, "/v1/traces", b"\x0a\xff"), "HTTP/1.1 400 Bad Request");
    assert!(catch_unwind(AssertUnwindSafe(|| receiver.spans())).is_err());
}
