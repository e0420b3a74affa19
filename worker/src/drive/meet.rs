//! Finding the hosts of a job, and the limits that hold there.

use std::sync::Arc;

use drs_backend::BackendError;
use drs_hypervisor::Driver;
use drs_model::{Fault, FaultCode, HostName, JobSpec};
use drs_transport::RateLimit;

use super::Means;
use crate::limits::Limits;
use crate::saga::Hosts;

/// A host's driver and the limits that hold there.
type Met = (Option<Arc<dyn Driver>>, Vec<Arc<RateLimit>>);

/// What came of looking for the hosts of a job.
pub(crate) type Meeting = Result<(Hosts, Limits), Fault>;

/// Looks for the hosts of a job.
///
/// # Errors
/// The catalogue does not answer. That a host is not there, or its description of no use, is a finding.
pub(crate) async fn met(means: &Means, spec: &JobSpec) -> Result<Meeting, BackendError> {
    match meet(means, spec).await {
        Err(fault) if fault.code == FaultCode::StoreFailed => Err(BackendError::Unavailable {
            what: "the catalogue".to_owned(),
            reason: fault.message,
        }),
        Err(fault) if fault.code == FaultCode::InvalidConfig => Err(BackendError::Refused {
            what: "the catalogue".to_owned(),
            reason: fault.message,
            remedy: fault.remedy,
        }),
        found => Ok(found),
    }
}

/// The hosts of a job and its limits. No host is spoken to yet.
async fn meet(means: &Means, spec: &JobSpec) -> Result<(Hosts, Limits), Fault> {
    let source = host(means, spec.host()).await?;
    let target = match spec.counterpart() {
        Some(vm) => host(means, Some(&vm.host)).await?,
        None => source.clone(),
    };
    let of_job = spec.transfer().bytes_per_second.map(|limit| Arc::new(RateLimit::new(limit)));
    let limits = Limits { job: of_job, source: source.1, target: target.1 };
    Ok((Hosts { source: source.0, target: target.0 }, limits))
}

async fn host(means: &Means, name: Option<&HostName>) -> Result<Met, Fault> {
    let Some(name) = name else { return Ok((None, Vec::new())) };
    let (host, driver) = tokio::try_join!(means.drivers.host(name), means.drivers.driver(name))?;
    let site = means.backend.catalog.site(&host.site).await.map_err(|error| error.fault())?;
    Ok((Some(driver), means.limits.of_host(&host, &site)))
}
