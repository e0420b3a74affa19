//! The figures as they stand, and their text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::layer::MetricLayer;
use super::{Figure, Kind, LIST, Label};

/// Stands for every value that is not listed.
const OTHER: &str = "other";

type Labels = Vec<(&'static str, &'static str)>;
type Histograms = Family<Labels, Histogram, Buckets>;

/// Makes the histograms of a figure.
#[derive(Debug, Clone)]
struct Buckets(&'static [f64]);

impl prometheus_client::metrics::family::MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// The figures of this process. Clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Counted>);

struct Counted {
    registry: Registry,
    series: BTreeMap<&'static str, (&'static Figure, Series)>,
}

enum Series {
    Counter(Family<Labels, Counter>),
    Gauge(Family<Labels, Gauge>),
    Histogram(Histograms),
}

/// What an event says of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Change {
    /// It is this (a gauge), or this much is added (a counter) or observed (a histogram).
    Value(f64),
    /// This much is added to a gauge.
    By(f64),
}

impl Metrics {
    /// Every figure of the list, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let series = LIST.iter().map(|figure| {
            let series = Series::new(figure.kind);
            series.register(&mut registry, figure);
            for labels in known(figure.labels) {
                series.touch(&labels);
            }
            (figure.name, (figure, series))
        });
        let series = series.collect();
        let metrics = Self(Arc::new(Counted { registry, series }));
        let version = ("version", env!("CARGO_PKG_VERSION").to_owned());
        metrics.count("drs_build_info", &[version], Change::Value(1.0));
        metrics
    }

    /// What counts the events of this process.
    pub fn layer<S>(&self) -> impl tracing_subscriber::Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
    {
        MetricLayer::filtered(self.clone())
    }

    /// The figures in the text format of OpenMetrics, which Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // A string takes everything.
        encode(&mut text, &self.0.registry).unwrap_or_default();
        text
    }

    /// Counts. What is not in the list is passed over.
    pub(super) fn count(&self, name: &str, labels: &[(&str, String)], change: Change) {
        let Some((figure, series)) = self.0.series.get(name) else {
            debug_assert!(false, "{name} is not in the list of figures");
            return;
        };
        let listed = |name: &str| figure.labels.iter().any(|label| label.name == name);
        let complete = labels.len() == figure.labels.len() && labels.iter().all(|l| listed(l.0));
        debug_assert!(complete, "{name} has other labels: {labels:?}");
        let fits = match change {
            Change::Value(value) => value >= 0.0 || matches!(series, Series::Gauge(_)),
            Change::By(_) => matches!(series, Series::Gauge(_)),
        };
        debug_assert!(fits, "{name} cannot take {change:?}");
        if complete && fits {
            series.change(&bounded(figure.labels, labels), change);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.0.series.len()).finish()
    }
}

impl Series {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(Family::default()),
            Kind::Gauge => Self::Gauge(Family::default()),
            Kind::Histogram(buckets) => {
                Self::Histogram(Family::new_with_constructor(Buckets(buckets)))
            }
        }
    }

    fn register(&self, registry: &mut Registry, figure: &Figure) {
        // The format itself gives a counter its suffix.
        let name = figure.name.strip_suffix("_total").unwrap_or(figure.name);
        match self {
            Self::Counter(family) => registry.register(name, figure.help, family.clone()),
            Self::Gauge(family) => registry.register(name, figure.help, family.clone()),
            Self::Histogram(family) => registry.register(name, figure.help, family.clone()),
        }
    }

    /// Serves these labels from now on.
    fn touch(&self, labels: &Labels) {
        match self {
            Self::Counter(family) => drop(family.get_or_create(labels)),
            Self::Gauge(family) => drop(family.get_or_create(labels)),
            Self::Histogram(family) => drop(family.get_or_create(labels)),
        }
    }

    fn change(&self, labels: &Labels, change: Change) {
        match (self, change) {
            (Self::Counter(family), Change::Value(n)) => {
                family.get_or_create(labels).inc_by(n as u64);
            }
            (Self::Gauge(family), Change::Value(n)) => {
                family.get_or_create(labels).set(n as i64);
            }
            (Self::Gauge(family), Change::By(n)) => {
                family.get_or_create(labels).inc_by(n as i64);
            }
            (Self::Histogram(family), Change::Value(n)) => family.get_or_create(labels).observe(n),
            (Self::Counter(_) | Self::Histogram(_), Change::By(_)) => {}
        }
    }
}

/// The labels in their listed order, each with a listed value.
fn bounded(listed: &[Label], given: &[(&str, String)]) -> Labels {
    let value = |label: &Label| {
        let given = given.iter().find(|(name, _)| *name == label.name);
        let known = label.values.iter().find(|value| given.is_some_and(|(_, g)| g == *value));
        known.copied().unwrap_or(OTHER)
    };
    listed.iter().map(|label| (label.name, value(label))).collect()
}

/// Every combination of the listed values.
fn known(labels: &[Label]) -> Vec<Labels> {
    labels.iter().fold(vec![Labels::new()], |before, label| {
        let with = |labels: &Labels, value: &'static str| {
            let mut labels = labels.clone();
            labels.push((label.name, value));
            labels
        };
        before
            .iter()
            .flat_map(|labels| label.values.iter().map(move |value| with(labels, value)))
            .collect()
    })
}
