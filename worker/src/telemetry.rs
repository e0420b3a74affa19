//! What a worker tells of its jobs: spans in the trace of each job, and figures.
//!
//! A span's attributes are names and numbers alone. Of a fault they tell its code: its text may name a
//! path or a key file, and stands in the job's log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drs_model::{Fault, Job, JobKind, Progress};
use drs_protocol::store::{HandOver, JobMessage, Outcome};
use drs_runtime::{clock, trace};
use tracing::field::Empty;
use tracing::{Span, info, info_span};

/// The span of a claim.
pub(crate) fn claim_span(message: &JobMessage, worker: &str) -> Span {
    let span = info_span!("claim", job = %message.id, worker);
    if let Some(parent) = &message.trace {
        trace::adopt(&span, parent);
    }
    span
}

/// The span of one attempt at a job, from its claim to the end of the drive.
pub(crate) fn job_span(job: &Job, worker: &str) -> Span {
    let span = info_span!(
        "job",
        job = %job.id,
        kind = %job.spec.kind(),
        subject = %job.spec.subject(),
        attempt = job.attempt,
        lane = %job.lane,
        worker,
        outcome = Empty,
        fault = Empty,
        otel.status_code = Empty,
    );
    if let Some(parent) = &job.trace {
        trace::adopt(&span, parent);
    }
    span
}

/// The span of a step that is run or undone.
pub(crate) fn step_span(step: &str, mark: &str) -> Span {
    info_span!("step", step, mark, fault = Empty, otel.status_code = Empty)
}

/// The span of content that is moved.
pub(crate) fn transfer_span(step: &str) -> Span {
    info_span!("transfer", step, bytes = Empty)
}

/// One span for many looks at something that takes its time: what is done in it leaves no spans.
pub(crate) fn watch_span() -> Span {
    info_span!("watch")
}

/// Notes on a span that it ended with a fault.
pub(crate) fn failed(span: &Span, fault: &Fault) {
    span.record("fault", code(fault)).record("otel.status_code", "ERROR");
}

/// A code as operators know it.
fn code(fault: &Fault) -> String {
    let name = serde_json::to_value(fault.code).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A job that is driven, as long as this lives.
pub(crate) struct Running(());

impl Running {
    /// A job was claimed.
    pub(crate) fn begins(job: &Job) -> Self {
        info!(target: "drs::metric", name = "drs_jobs_running", change = 1);
        if job.started_at == Some(job.updated_at) {
            let waited = job.updated_at.duration_since(job.created_at).as_secs_f64().max(0.0);
            info!(target: "drs::metric", name = "drs_job_wait_seconds", value = waited);
        }
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        info!(target: "drs::metric", name = "drs_jobs_running", change = -1);
    }
}

/// The end of a job was written down.
pub(crate) fn ended(job: &Job, outcome: &Outcome) {
    let (phase, fault) = match outcome {
        Outcome::Succeeded => ("succeeded", None),
        Outcome::Cancelled => ("cancelled", None),
        Outcome::Failed(fault) => ("failed", Some(fault)),
        Outcome::NeedsOperator(fault) => ("needs_operator", Some(fault)),
    };
    let kind = job.spec.kind();
    info!(target: "drs::metric", name = "drs_jobs_ended_total", %kind, phase, value = 1);
    if let Some(started) = job.started_at {
        let took = clock::now().duration_since(started).as_secs_f64().max(0.0);
        info!(target: "drs::metric", name = "drs_job_duration_seconds", %kind, value = took);
    }
    Span::current().record("outcome", phase);
    attempt_failed(fault);
}

/// A job was given back.
pub(crate) fn handed_over(how: &HandOver) {
    Span::current().record("outcome", "handed_over");
    attempt_failed(how.fault.as_ref());
}

fn attempt_failed(fault: Option<&Fault>) {
    if let Some(fault) = fault {
        failed(&Span::current(), fault);
        let code = code(fault);
        info!(target: "drs::metric", name = "drs_attempts_failed_total", code, value = 1);
    }
}

/// Another claim has the job.
pub(crate) fn lease_lost() {
    info!(target: "drs::metric", name = "drs_lease_lost_total", value = 1);
    Span::current().record("outcome", "lost").record("otel.status_code", "ERROR");
}

/// Bytes that a job has moved and that were not counted yet, by direction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moved(Arc<[AtomicU64; 3]>);

const DIRECTIONS: [&str; 3] = ["read", "write", "verify"];

impl Moved {
    /// Notes what a step has moved since `before`.
    pub(crate) fn note(&self, before: u64, now: &Progress) {
        let direction = match now.step.as_str() {
            "copy" | "fetch" => 0,
            "verify" => 2,
            _ => 1,
        };
        if let Some(bytes) = self.0.get(direction) {
            bytes.fetch_add(now.moved_bytes.saturating_sub(before), Ordering::Relaxed);
        }
    }

    /// Counts what was noted.
    pub(crate) fn count(&self, kind: JobKind) {
        for (direction, noted) in DIRECTIONS.iter().zip(self.0.iter()) {
            let value = noted.swap(0, Ordering::Relaxed);
            if value > 0 {
                info!(target: "drs::metric", name = "drs_moved_bytes_total", %kind, direction, value);
            }
        }
    }
}
