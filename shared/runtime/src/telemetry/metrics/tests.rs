use std::collections::BTreeSet;

use drs_model::{FaultCode, JobKind};
use tracing::info;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// The text after events of this process.
fn after(events: impl FnOnce()) -> String {
    let metrics = Metrics::new();
    let subscriber = tracing_subscriber::registry().with(metrics.layer());
    tracing::subscriber::with_default(subscriber, events);
    metrics.text().replace("{}", "")
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
}

/// Name, labels and value of a line that is no comment.
fn sample(line: &str) -> (&str, Vec<(&str, &str)>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').expect("closed labels");
    let labels = labels.split(',').filter(|label| !label.is_empty());
    let labels = labels.map(|label| {
        let (name, value) = label.split_once('=').expect("a label");
        (name, value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).expect("in quotes"))
    });
    (name, labels.collect(), value.parse().expect("a number"))
}

#[test]
fn every_figure_of_the_list_is_served_from_the_start() {
    let text = Metrics::new().text();
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(sample).collect();
    for figure in LIST {
        let name = figure.name.strip_suffix("_total").unwrap_or(figure.name);
        has(&text, &format!("# HELP {name} {}.", figure.help));
        let (kind, suffix) = match figure.kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram(_) => ("histogram", "_count"),
        };
        has(&text, &format!("# TYPE {name} {kind}"));
        let series = samples.iter().filter(|s| s.0 == format!("{name}{suffix}")).count();
        let combinations: usize = figure.labels.iter().map(|label| label.values.len()).product();
        assert_eq!(series, combinations, "{name}");
        assert_eq!(kind == "counter", figure.name.ends_with("_total"), "{name}");
    }
    let families = text.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(families, LIST.len());
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn the_table_in_the_documentation_is_the_list() {
    let source = include_str!("../metrics.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
    let names: Vec<&str> = LIST.iter().map(|figure| figure.name).collect();
    assert_eq!(rows.collect::<Vec<_>>(), names);
}

#[test]
fn events_are_counted() {
    let text = after(|| {
        for phase in ["succeeded", "failed", "succeeded"] {
            info!(target: "drs::metric", name = "drs_jobs_ended_total", kind = %JobKind::Backup, phase, value = 1);
        }
        info!(target: "drs::metric", name = "drs_job_wait_seconds", value = 0.3);
        info!(target: "drs::metric", name = "drs_jobs_running", change = 1);
        info!(target: "drs::metric", name = "drs_jobs_running", change = 1);
        info!(target: "drs::metric", name = "drs_jobs_running", change = -1);
        info!(target: "drs::metric", name = "drs_jobs_waiting", resource = "vm", value = 7);
        info!(target: "drs::metric", name = "drs_leader", value = true as u8);
        info!(name = "drs_takeovers_total", value = 1, "an event of another target is none");
    });
    has(&text, "drs_jobs_ended_total{kind=\"backup\",phase=\"succeeded\"} 2");
    has(&text, "drs_jobs_ended_total{kind=\"backup\",phase=\"failed\"} 1");
    has(&text, "drs_job_wait_seconds_bucket{le=\"0.1\"} 0");
    has(&text, "drs_job_wait_seconds_bucket{le=\"0.5\"} 1");
    has(&text, "drs_jobs_running 1");
    has(&text, "drs_jobs_waiting{resource=\"vm\"} 7");
    has(&text, "drs_leader 1");
    has(&text, "drs_takeovers_total 0");
    has(&text, concat!("drs_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"));
}

#[test]
fn a_value_that_is_not_listed_counts_as_other() {
    let text = after(|| {
        for n in 0..1000 {
            info!(target: "drs::metric", name = "drs_reconnects_total", backend = format!("b{n}"), value = 1);
        }
    });
    has(&text, "drs_reconnects_total{backend=\"other\"} 1000");
    assert_eq!(text.lines().filter(|l| l.starts_with("drs_reconnects_total{")).count(), 5);
}

#[test]
#[should_panic = "drs_beans_total is not in the list"]
fn a_figure_that_is_not_listed_is_a_defect() {
    after(|| info!(target: "drs::metric", name = "drs_beans_total", value = 1));
}

#[test]
#[should_panic = "has other labels"]
fn a_label_that_is_not_listed_is_a_defect() {
    after(|| info!(target: "drs::metric", name = "drs_takeovers_total", vm = "dc/web", value = 1));
}

#[test]
#[should_panic = "cannot take"]
fn a_counter_never_goes_back() {
    after(|| info!(target: "drs::metric", name = "drs_takeovers_total", value = -1));
}

/// The names of an enum's values, which its refusal of another name tells.
fn names_of<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> BTreeSet<String> {
    let refusal = T::deserialize(toml::Value::from("no such name")).expect_err("it is none");
    let text = refusal.to_string();
    text.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_labels_know_every_kind_of_job_and_every_code() {
    let listed = |label: &Label| label.values.iter().map(|v| (*v).to_owned()).collect();
    assert_eq!(names_of::<JobKind>(), listed(&KIND));
    assert_eq!(names_of::<FaultCode>(), listed(&CODE));
}
