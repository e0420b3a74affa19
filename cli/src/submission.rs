//! Submits a job, sees it through, and tells how it ended.

use std::future::Future;

use drs_backend::submit;
use drs_model::{Fault, FaultCode, Job, JobId, JobKind, JobSpec, Phase, PointId, PowerAction};
use drs_runtime::clock;
use serde::Serialize;
use uuid::Uuid;

use crate::args::jobs::Submission;
use crate::embedded;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::view::{JobView, PointView};
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

/// Submits a job once `preflight` has found nothing against it, and waits for its end unless
/// detached. A job that was submitted under the same key before is taken up instead.
pub(crate) async fn run(
    place: &Place,
    output: Output,
    submission: &Submission,
    id: JobId,
    spec: JobSpec,
    preflight: impl Future<Output = Outcome<()>>,
) -> Outcome<Exit> {
    match place.backend.store.get(id).await? {
        Some(known) => same_job(&known, &spec)?,
        None => {
            // No worker starts without the vault, whatever the job.
            place.vault()?;
            preflight.await?;
            let submitted = submit(&place.backend, id, spec.clone(), clock::now()).await?;
            same_job(submitted.job(), &spec)?;
        }
    }
    if submission.detach {
        return detached(place, output, id).await;
    }
    match embedded::see_through(place, output, id).await? {
        Some(job) => ended(place, output, &job).await,
        None => Ok(Exit::Interrupted),
    }
}

/// The key must not have been used for something else.
fn same_job(known: &Job, spec: &JobSpec) -> Outcome<()> {
    if (known.spec.kind(), known.spec.subject()) == (spec.kind(), spec.subject()) {
        return Ok(());
    }
    Err(Failure::invalid(
        format!(
            "this idempotency key was used before, for the {} of {} (job {})",
            known.spec.kind(),
            known.spec.subject(),
            known.id
        ),
        "Choose another key.",
    ))
}

async fn detached(place: &Place, output: Output, id: JobId) -> Outcome<Exit> {
    if !place.dir.is_served()? {
        output
            .say("no `drs serve` runs: the job waits until it or a command that runs jobs starts");
    }
    let job = place.backend.store.get(id).await?;
    output.answer(&job.as_ref().map(JobView::from), || id.to_string())?;
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
        JobKind::Backup => Some(PointView::from(&place.vault()?.get(PointId::from(job.id)).await?)),
        _ => None,
    };
    let document = Ended { job: JobView::from(job), point };
    output.answer(&document, || sentence(job, document.point.as_ref()))?;
    Ok(Exit::Success)
}

fn sentence(job: &Job, point: Option<&PointView>) -> String {
    let took = units::between(job.started_at.unwrap_or(job.created_at), job.updated_at);
    match (&job.spec, point) {
        (JobSpec::Backup { vm }, Some(point)) => format!(
            "recovery point {} of {vm}: {}, {} stored, {} at {}, took {took}",
            point.id,
            units::bytes(point.size_bytes),
            units::bytes(point.stored_bytes),
            point.consistency,
            clock::local(point.consistent_at),
        ),
        (JobSpec::Restore { point, target }, _) => {
            let state = if target.start { "restored and started" } else { "restored" };
            format!("{state} {} from recovery point {point}, took {took}", target.vm)
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
        (spec, _) => format!("{} of {} is done, took {took}", spec.kind(), spec.subject()),
    }
}

fn unsuccessful(job: &Job, phase: Phase) -> Failure {
    let id = job.id;
    let fault = job.fault.clone();
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
