//! The figures of DR Switch: what `/metrics` serves, all of it, from the first second.
//!
//! | figure | told by | what |
//! |---|---|---|
//! | `drs_jobs_ended_total` | worker, `drs serve` | jobs that ended, by `kind` and `phase` |
//! | `drs_job_duration_seconds` | worker, `drs serve` | first start to end, by `kind` |
//! | `drs_job_wait_seconds` | worker, `drs serve` | submission to first claim |
//! | `drs_jobs_running` | worker, `drs serve` | jobs that the process drives now |
//! | `drs_jobs_waiting` | scheduler, `drs serve` | jobs that wait for a `resource` (`worker`: queued, `retry`: for their next attempt): every scheduler tells the same, take the maximum |
//! | `drs_moved_bytes_total` | worker, `drs serve` | by `kind` and `direction`; a staged job moves its bytes twice, as archive and as content |
//! | `drs_takeovers_total` | scheduler, `drs serve` | jobs freed from a worker that gave no sign of life |
//! | `drs_attempts_failed_total` | worker, `drs serve` | by the fault's `code` |
//! | `drs_lease_lost_total` | worker, `drs serve` | jobs it stopped driving since another claim had them |
//! | `drs_reconnects_total` | whoever is connected | by `backend` |
//! | `drs_dead_letters_total` | worker | messages that nobody understood |
//! | `drs_fires_total` | scheduler, `drs serve` | by `outcome` |
//! | `drs_recorded_total` | scheduler | ended jobs written into history |
//! | `drs_leader` | scheduler, `drs serve` | 1 while it leads |
//! | `drs_build_info` | every role | 1, with the `version` |
//!
//! A crate that has something to count emits an event and names no library but `tracing`:
//!
//! ```
//! tracing::info!(target: "drs::metric", name = "drs_reconnects_total", backend = "redis", value = 1);
//! ```
//!
//! Its fields are `name`, the labels of that figure, and `value`: what is added to a counter, observed by
//! a histogram, or what a gauge stands at. A gauge that many tell of takes `change` in place of `value`: what
//! is added to it. An event that is not in [`LIST`] is a defect: it fails a debug build and is passed over
//! in a release. A label's value that is not listed counts as `other`, so that nothing grows without a
//! bound.

mod count;
mod layer;
#[cfg(test)]
mod tests;

pub use count::Metrics;

/// Target of the events that are counted.
pub const TARGET: &str = "drs::metric";

/// What a figure is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Stands at something.
    Gauge,
    /// How often something was at most so much.
    Histogram(&'static [f64]),
}

/// By what a figure is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values; each is served from the start.
    pub values: &'static [&'static str],
}

/// One figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Its name: `drs_<noun>_<unit>[_total]`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it means, without a full stop.
    pub help: &'static str,
    /// By what it is told apart.
    pub labels: &'static [Label],
}

const fn label(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values }
}

const fn figure(
    name: &'static str,
    kind: Kind,
    labels: &'static [Label],
    help: &'static str,
) -> Figure {
    Figure { name, kind, help, labels }
}

const KIND: Label =
    label("kind", &["inspect", "backup", "restore", "replicate", "verify", "power", "fan_out"]);
const PHASE: Label = label("phase", &["succeeded", "failed", "cancelled", "needs_operator"]);
const RESOURCE: Label = label("resource", &["vm", "host", "dump", "worker", "retry"]);
const DIRECTION: Label = label("direction", &["read", "write", "verify"]);
const CODE: Label = label(
    "code",
    &[
        "invalid_input",
        "invalid_config",
        "host_not_found",
        "site_not_found",
        "vm_not_found",
        "point_not_found",
        "pair_not_found",
        "schedule_not_found",
        "job_not_found",
        "dead_letter_not_found",
        "already_exists",
        "in_use",
        "host_unreachable",
        "host_key_unknown",
        "host_key_changed",
        "authentication_failed",
        "permission_denied",
        "unsupported",
        "vm_busy",
        "hypervisor_failed",
        "host_full",
        "vault_full",
        "vault_failed",
        "point_damaged",
        "archive_damaged",
        "disk_full",
        "spool_failed",
        "store_failed",
        "data_too_new",
        "already_running",
        "not_initialised",
        "fenced",
        "vanished",
        "cancelled",
        "attempts_exhausted",
        "internal",
    ],
);
const BACKEND: Label = label("backend", &["amqp", "redis", "postgres", "ssh"]);
const OUTCOME: Label = label("outcome", &["submitted", "skipped"]);
const VERSION: Label = label("version", &[env!("CARGO_PKG_VERSION")]);

/// From a second to a day.
const DURATION: Kind = Kind::Histogram(&[
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0,
]);
/// From ten milliseconds to eight hours.
const WAIT: Kind =
    Kind::Histogram(&[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 28800.0]);

/// Every figure.
pub const LIST: &[Figure] = &[
    figure(
        "drs_jobs_ended_total",
        Kind::Counter,
        &[KIND, PHASE],
        "Jobs that ended, or came to wait for an operator, under a worker of this process",
    ),
    figure(
        "drs_job_duration_seconds",
        DURATION,
        &[KIND],
        "Time from the first start of a job to its end, waits between attempts included",
    ),
    figure(
        "drs_job_wait_seconds",
        WAIT,
        &[],
        "Time from the submission of a job to its first claim",
    ),
    figure("drs_jobs_running", Kind::Gauge, &[], "Jobs that this process drives now"),
    figure(
        "drs_jobs_waiting",
        Kind::Gauge,
        &[RESOURCE],
        "Jobs that wait for a VM, a slot of a host, a host's one dump, a free worker, or the time of their next attempt",
    ),
    figure(
        "drs_moved_bytes_total",
        Kind::Counter,
        &[KIND, DIRECTION],
        "Bytes of disks and archives moved: read towards the vault, written towards a host, or verified in the vault",
    ),
    figure(
        "drs_takeovers_total",
        Kind::Counter,
        &[],
        "Jobs that were freed because their worker gave no sign of life",
    ),
    figure(
        "drs_attempts_failed_total",
        Kind::Counter,
        &[CODE],
        "Attempts at a job that failed, by the code of the fault",
    ),
    figure(
        "drs_lease_lost_total",
        Kind::Counter,
        &[],
        "Jobs that this process stopped driving because another claim had them",
    ),
    figure(
        "drs_reconnects_total",
        Kind::Counter,
        &[BACKEND],
        "Connections that broke and were made anew",
    ),
    figure(
        "drs_dead_letters_total",
        Kind::Counter,
        &[],
        "Messages that nobody understood, set aside with a reason",
    ),
    figure(
        "drs_fires_total",
        Kind::Counter,
        &[OUTCOME],
        "Fire times of schedules that were dealt with",
    ),
    figure("drs_recorded_total", Kind::Counter, &[], "Ended jobs that were written into history"),
    figure("drs_leader", Kind::Gauge, &[], "1 while this process leads the schedulers"),
    figure("drs_build_info", Kind::Gauge, &[VERSION], "Always 1; the version of this process"),
];
