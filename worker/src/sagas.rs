//! The sagas: for each job kind its steps, in order.

mod backup;
mod copy;
mod ferry;
mod inspect;
mod power;
mod replicate;
mod restore;
mod verify;

use drs_hypervisor::Staging;
use drs_model::{Fault, FaultCode, JobSpec};

use crate::saga::{Hosts, Place, Saga};

/// The saga of a job on its hosts.
pub(crate) fn saga_of(spec: &JobSpec, hosts: &Hosts) -> Saga {
    match spec {
        JobSpec::Inspect { .. } => inspect::saga(),
        JobSpec::Backup { transfer, .. } => backup::saga(transfer.method),
        JobSpec::Restore { transfer, .. } => restore::saga(transfer.method),
        JobSpec::Replicate { transfer, .. } => replicate::saga(transfer.method, hosts),
        JobSpec::Verify { .. } => verify::saga(),
        JobSpec::Power { .. } => power::saga(),
    }
}

/// How a host moves VMs as archives.
fn staging(place: &Place) -> Result<&dyn Staging, Fault> {
    place.driver.staging().ok_or_else(|| {
        Fault::permanent(
            FaultCode::Unsupported,
            format!(
                "host {} ({}) does not move VMs as staged archives",
                place.grip.vm.host,
                place.driver.kind()
            ),
            "Run the job as a stream.",
        )
    })
}

#[cfg(test)]
mod tests;
