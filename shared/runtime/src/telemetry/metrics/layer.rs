//! From events to figures.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::count::Change;
use super::{Metrics, TARGET};

/// Counts the events whose target is [`TARGET`].
pub(super) struct MetricLayer(Metrics);

impl MetricLayer {
    /// The layer, which sees no other event.
    pub(super) fn filtered<S>(metrics: Metrics) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let counted = filter_fn(|metadata| metadata.is_event() && metadata.target() == TARGET);
        Self(metrics).with_filter(counted.with_max_level_hint(LevelFilter::INFO))
    }
}

impl<S: Subscriber> Layer<S> for MetricLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        match (said.name, said.change) {
            (Some(name), Some(change)) => self.0.count(&name, &said.labels, change),
            (name, change) => {
                debug_assert!(false, "a figure without name or value: {name:?}, {change:?}");
            }
        }
    }
}

/// The fields of an event.
#[derive(Default)]
struct Said {
    name: Option<String>,
    change: Option<Change>,
    labels: Vec<(&'static str, String)>,
}

impl Visit for Said {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match field.name() {
            "value" => self.change = Some(Change::Value(value)),
            "change" => self.change = Some(Change::By(value)),
            _ => debug_assert!(false, "the label {field} is a number"),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record_f64(field, value as f64);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_f64(field, value as f64);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "name" => self.name = Some(value.to_owned()),
            label => self.labels.push((label, value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
