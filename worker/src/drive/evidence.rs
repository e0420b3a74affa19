//! What the vault knows of a job and its log does not tell.

use drs_model::{Job, JobKind, StepMark, StepRecord, Timestamp};
use drs_protocol::session::StepPlan;
use drs_vault::Vault;

/// The step behind which a point exists.
const COMMIT: &str = "commit";

/// Notes in the log that everything up to the commit of the job's point is done, when the point is complete
/// and the log says nothing of a commit: the store has lost the log, and no point is made twice. Returns
/// whether that was so. A vault that cannot be asked fails the steps that need it.
pub(super) async fn of_point(
    vault: &dyn Vault,
    job: &mut Job,
    plan: &[StepPlan],
    now: Timestamp,
) -> bool {
    let makes_point = matches!(job.spec.kind(), JobKind::Backup | JobKind::Replicate);
    let commit = plan.iter().position(|step| step.name == COMMIT).filter(|_| makes_point);
    let Some(commit) = commit else { return false };
    if job.steps.iter().any(|entry| entry.step == COMMIT) || vault.get(job.id.into()).await.is_err()
    {
        return false;
    }
    job.steps.clear();
    job.steps.extend(plan.iter().take(commit + 1).map(|step| StepRecord {
        step: step.name.to_owned(),
        mark: StepMark::Done,
        output: serde_json::Value::Null,
        at: now,
    }));
    true
}
