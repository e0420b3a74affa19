//! Finds jobs and points by their id or its beginning.

use drs_backend::{Backend, JobFilter};
use drs_model::{Fault, FaultCode, Job, JobId, PointId, VmRef};
use drs_vault::{Listing, StoredPoint, Vault, VaultError};

use crate::args::values::IdPrefix;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::output::view::why_unreadable;

/// The job of that id. The beginning of an id is looked for among the newest 1000 jobs, those of history
/// included: without them it could be unknown, or seem to be of one job alone.
pub(crate) async fn job(backend: &Backend, id: &IdPrefix) -> Outcome<Job> {
    if let Ok(id) = id.as_str().parse::<JobId>()
        && let Some(job) = backend.job(id).await?
    {
        return Ok(job);
    }
    let newest = JobFilter { limit: JobFilter::LIMIT_MAX, ..JobFilter::default() };
    let jobs = backend.all_jobs(&newest).await?;
    let fitting = jobs.into_iter().filter(|job| id.fits(&job.id));
    the_one(id, fitting, FaultCode::JobNotFound, "job", "drs job list")
}

/// A point that is there, and its manifest or why that cannot be read.
pub(crate) type Found = (PointId, Result<StoredPoint, VaultError>);

/// The point of that id, or of the one id that begins so.
pub(crate) async fn point(vault: &dyn Vault, id: &IdPrefix) -> Outcome<StoredPoint> {
    Ok(readable_or_not(vault, id).await?.1?)
}

/// The point of that id, or of the one id that begins so, also when its manifest cannot be read. A
/// whole id is asked for directly, so nothing else in the vault can be in its way.
pub(crate) async fn readable_or_not(vault: &dyn Vault, id: &IdPrefix) -> Outcome<Found> {
    if let Ok(id) = id.as_str().parse::<PointId>() {
        return match vault.get(id).await {
            Err(error @ VaultError::NotFound(_)) => Err(error.into()),
            got => Ok((id, got)),
        };
    }
    let Listing { points, unreadable } = vault.list().await?;
    let points = points.into_iter().map(|point| (point.manifest.id, Ok(point)));
    let all = points.chain(unreadable.into_iter().map(|(id, error)| (id, Err(error))));
    let fitting = all.filter(|(point, _)| id.fits(point));
    the_one(id, fitting, FaultCode::PointNotFound, "recovery point", "drs point list")
}

/// The newest point of a VM that is not known to be damaged. Points that cannot be read are left
/// out, with a warning: they may be of this VM.
pub(crate) async fn latest(vault: &dyn Vault, output: Output, vm: &VmRef) -> Outcome<StoredPoint> {
    let listing = vault.list().await?;
    for (id, error) in &listing.unreadable {
        let why = why_unreadable(error);
        output.say(&format!("warning: recovery point {id} is left out, it cannot be read: {why}"));
    }
    listing.latest_good(vm).cloned().ok_or_else(|| {
        Fault::permanent(
            FaultCode::PointNotFound,
            format!("there is no good recovery point of {vm}"),
            format!("Make one with `drs backup {}`.", quoted(vm)),
        )
        .into()
    })
}

/// A VM as it is written on a command line.
pub(crate) fn quoted(vm: &VmRef) -> String {
    let text = vm.to_string();
    if text.contains([' ', '(', ')']) { format!("'{text}'") } else { text }
}

fn the_one<T>(
    id: &IdPrefix,
    mut fitting: impl Iterator<Item = T>,
    code: FaultCode,
    what: &str,
    list: &str,
) -> Outcome<T> {
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Failure::invalid(
            format!("more than one {what} has an id that begins with {}", id.as_str()),
            format!("Write more of it (`{list}` shows whole ids)."),
        )),
        (None, _) => Err(Fault::permanent(
            code,
            format!("there is no {what} {}", id.as_str()),
            format!("See what there is with `{list}`."),
        )
        .into()),
    }
}
