//! Submits a job, sees it through, and tells how it ended.

use std::future::Future;

use drs_backend::submit;
use drs_hypervisor::ImportPlan;
use drs_model::{
    Fault, FaultCode, Job, JobId, JobKind, JobSpec, Phase, PointId, PowerAction, ReplacePolicy,
    RestoreTarget, Subject, VmRef, Work,
};
use drs_runtime::{clock, trace};
use serde::Serialize;
use uuid::Uuid;

use crate::args::jobs::Submission;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::view::{JobView, PointView, fault_of};
use crate::output::{Output, units};
use crate::place::Place;

impl Submission {
    /// The id that the job will have.
    pub(crate) fn job_id(&self) -> JobId {
        match &self.key {
            Some(key) => JobId::from_key(key),
            None => JobId(Uuid::now_v7()),
        }
    }
}

/// What is asked for: a job, under the id that it has or gets.
pub(crate) struct Request {
    id: JobId,
    spec: JobSpec,
    latest_of: Option<VmRef>,
}

impl Request {
    pub(crate) fn new(id: JobId, spec: JobSpec) -> Self {
        Self { id, spec, latest_of: None }
    }

    /// The point was not named but is the latest one of this VM: under a key that was used before,
    /// the point that was the latest then is meant just as well.
    #[must_use]
    pub(crate) fn with_latest_of(self, vm: Option<VmRef>) -> Self {
        Self { latest_of: vm, ..self }
    }
}

/// Submits a job once `preflight` has found nothing against it, and waits for its end unless
/// detached. A job that was submitted under the same key before is taken up instead.
pub(crate) async fn run(
    place: &Place,
    output: Output,
    submission: &Submission,
    request: Request,
    preflight: impl Future<Output = Outcome<()>>,
) -> Outcome<Exit> {
    let id = request.id;
    let job = match place.backend.job(id).await? {
        Some(known) => known,
        None => {
            // No worker starts without the vault, whatever the job.
            place.vault()?;
            preflight.await?;
            let (spec, now) = (request.spec.clone(), clock::now());
            submit(&place.backend, id, spec, trace::current(), now).await?.job().clone()
        }
    };
    same_request(place, output, &job, &request).await?;
    if submission.detach {
        return detached(place, output, &job);
    }
    match place.see_through(output, id).await? {
        Some(job) => ended(place, output, &job).await,
        None => Ok(Exit::Interrupted),
    }
}

/// The key must not have been used for anything else.
async fn same_request(
    place: &Place,
    output: Output,
    known: &Job,
    request: &Request,
) -> Outcome<()> {
    if known.spec == request.spec {
        return Ok(());
    }
    if let Some(point) = latest_then(place, known, request).await? {
        output.say(&format!(
            "job {} has this idempotency key: it restores recovery point {point}, the latest when \
             it was submitted; restore a later one under another key",
            known.id
        ));
        return Ok(());
    }
    let from = known.spec.point().filter(|_| known.spec.kind() == JobKind::Restore);
    Err(Fault::permanent(
        FaultCode::InUse,
        format!(
            "this idempotency key belongs to job {}, which does something else: {} of {}{}",
            known.id,
            known.spec.kind(),
            known.spec.subject(),
            from.map(|point| format!(" from recovery point {point}")).unwrap_or_default(),
        ),
        format!("Choose another key; `drs job show {} --json` shows what that job does.", known.id),
    )
    .into())
}

/// The point of an earlier restore that differs from the request in nothing but its point, where
/// the latest of a VM is meant and it was one of that VM.
async fn latest_then(place: &Place, known: &Job, request: &Request) -> Outcome<Option<PointId>> {
    let (
        Some(vm),
        JobSpec::Restore { point, target: known, transfer: moved },
        JobSpec::Restore { target: wanted, transfer, .. },
    ) = (&request.latest_of, &known.spec, &request.spec)
    else {
        return Ok(None);
    };
    if (known, moved) != (wanted, transfer) {
        return Ok(None);
    }
    match place.vault()?.get(*point).await {
        Ok(stored) => Ok((stored.manifest.source == *vm).then_some(*point)),
        // It is gone or cannot be read: nothing shows that it was of that VM.
        Err(error) => {
            tracing::warn!(%point, %error, "of which VM it is cannot be told");
            Ok(None)
        }
    }
}

fn detached(place: &Place, output: Output, job: &Job) -> Outcome<Exit> {
    if !place.is_served()? {
        output
            .say("no `drs serve` runs: the job waits until it or a command that runs jobs starts");
    }
    output.answer(&JobView::from(job), || job.id.to_string())?;
    Ok(Exit::Success)
}

/// A job that is over, with the point that it made.
#[derive(Serialize)]
struct Ended {
    #[serde(flatten)]
    job: JobView,
    #[serde(skip_serializing_if = "Option::is_none")]
    point: Option<PointView>,
}

/// Tells how a job ended.
pub(crate) async fn ended(place: &Place, output: Output, job: &Job) -> Outcome<Exit> {
    match job.state.phase() {
        Phase::Succeeded => {}
        phase => return Err(unsuccessful(job, phase)),
    }
    let point = match job.spec.kind() {
        JobKind::Backup | JobKind::Replicate => {
            Some(PointView::from(&place.vault()?.get(PointId::from(job.id)).await?))
        }
        _ => None,
    };
    let document = Ended { job: JobView::from(job), point };
    output.answer(&document, || sentence(job, document.point.as_ref()))?;
    Ok(Exit::Success)
}

fn sentence(job: &Job, point: Option<&PointView>) -> String {
    let took = units::between(job.started_at.unwrap_or(job.created_at), job.updated_at);
    match (&job.spec, point) {
        (JobSpec::Replicate { source, target, .. }, Some(point)) => format!(
            "{source} is replicated: recovery point {}, {} at {}, and {}, took {took}",
            point.id,
            point.consistency,
            clock::local(point.consistent_at),
            restored(job, target),
        ),
        (JobSpec::Backup { vm, .. }, Some(point)) => format!(
            "recovery point {} of {vm}: {}, {} stored, {} at {}, took {took}",
            point.id,
            units::bytes(point.size_bytes),
            units::bytes(point.stored_bytes),
            point.consistency,
            clock::local(point.consistent_at),
        ),
        (JobSpec::Restore { point, target, .. }, _) => {
            format!("{} from recovery point {point}, took {took}", restored(job, target))
        }
        (JobSpec::Verify { point }, _) => {
            format!("recovery point {point} is sound, took {took}")
        }
        (JobSpec::Power { vm, action }, _) => {
            let done = match action {
                PowerAction::Start => "runs",
                PowerAction::Shutdown | PowerAction::Stop => "is off",
            };
            format!("{vm} {done}, took {took}")
        }
        (JobSpec::FanOut { subject, work, .. }, _) => fanned_out(job, subject, *work),
        (spec, _) => format!("{} of {} is done, took {took}", spec.kind(), spec.subject()),
    }
}

/// How many jobs a fan-out submitted.
fn fanned_out(job: &Job, subject: &Subject, work: Work) -> String {
    let output = job.steps.iter().find(|entry| entry.step == "fan_out").map(|entry| &entry.output);
    let count = |what: &str| output.and_then(|output| output[what].as_u64()).unwrap_or_default();
    let mut text = format!("{work} of {subject}: jobs submitted: {}", count("submitted"));
    if count("left_out") > 0 {
        let left_out = count("left_out");
        text.push_str(&format!(", left out since those of before are not over: {left_out}"));
    }
    text + " (see `drs job list`)"
}

/// What a restore made, and what became of the VM that was there.
fn restored(job: &Job, target: &RestoreTarget) -> String {
    let state = if target.start { "restored and started" } else { "restored" };
    let planned = job.steps.iter().find(|entry| entry.step == "plan");
    let plan: Option<ImportPlan> =
        planned.and_then(|entry| serde_json::from_value(entry.output.clone()).ok());
    let Some(plan) = plan else { return format!("{state} {}", target.vm) };
    let text = format!("{state} {}/{}", target.vm.host, plan.name);
    match plan.replaces {
        None => text,
        Some(old) => match old.policy {
            ReplacePolicy::Keep => format!("{text} beside {}", old.name),
            ReplacePolicy::StopAndKeep => {
                format!("{text} in place of the old VM, which is off and kept as {}", old.aside)
            }
            ReplacePolicy::DestroyAfterProof | ReplacePolicy::RefreshCopy => {
                format!("{text} in place of the old VM, which is destroyed")
            }
        },
    }
}

fn unsuccessful(job: &Job, phase: Phase) -> Failure {
    let id = job.id;
    let fault = fault_of(job);
    let (fault, exit) = match phase {
        Phase::Cancelled => (
            Fault::permanent(
                FaultCode::Cancelled,
                format!("the {} of {} was cancelled", job.spec.kind(), job.spec.subject()),
                "Submit it again when it is wanted after all.",
            ),
            Exit::JobCancelled,
        ),
        Phase::NeedsOperator => (
            fault.unwrap_or_else(|| Fault::internal("the job waits for a decision")),
            Exit::NeedsOperator,
        ),
        _ => {
            let fault = fault.unwrap_or_else(|| Fault::internal("the job failed without a reason"));
            let exit = Exit::of_job(fault.code);
            (fault, exit)
        }
    };
    let details = vec![format!("job {id}; its log: drs job log {id}")];
    Failure { fault, details, exit }
}
