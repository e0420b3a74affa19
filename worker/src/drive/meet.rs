//! Finding the hosts of a job, and the limits that hold there.

use std::sync::Arc;

use drs_hypervisor::Driver;
use drs_model::{Fault, HostName, JobSpec};
use drs_transport::RateLimit;

use super::Means;
use crate::limits::Limits;
use crate::saga::Hosts;

/// A host's driver and the limits that hold there.
type Met = (Option<Arc<dyn Driver>>, Vec<Arc<RateLimit>>);

/// The hosts of a job and its limits. No host is spoken to yet.
pub(super) async fn meet(means: &Means, spec: &JobSpec) -> Result<(Hosts, Limits), Fault> {
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
    let host = means.drivers.host(name).await?;
    let driver = means.drivers.driver(name).await?;
    let site = means.backend.catalog.site(&host.site).await.map_err(|error| error.fault())?;
    Ok((Some(driver), means.limits.of_host(&host, &site)))
}
