//! The way of a trace from one process to the next: the span at hand as a text, and a text as the
//! parent of a span.

use std::collections::HashMap;

use drs_model::TraceContext;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header in which a span travels.
const TRACEPARENT: &str = "traceparent";

/// The span at hand, for a job or a message that is made under it. `None` while traces go nowhere.
#[must_use]
pub fn current() -> Option<TraceContext> {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut headers);
    headers.remove(TRACEPARENT)?.parse().ok()
}

/// Makes a span the child of one that may have been in another process. Has no effect while traces go
/// nowhere, and on a span that was entered before.
pub fn adopt(span: &Span, parent: &TraceContext) {
    if span.is_disabled() {
        return;
    }
    let headers = HashMap::from([(TRACEPARENT.to_owned(), parent.to_string())]);
    let context = TraceContextPropagator::new().extract(&headers);
    // It fails where no layer listens, and then there is nothing to be a child of.
    drop(span.set_parent(context));
}
