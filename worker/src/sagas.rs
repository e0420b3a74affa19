//! The sagas: for each job kind its steps, in order.

mod backup;
mod copy;
mod fan_out;
mod ferry;
mod inspect;
mod power;
mod replicate;
mod restore;
mod verify;

use drs_hypervisor::Staging;
use drs_model::{Fault, FaultCode, JobSpec, TransferMethod};

use crate::saga::{Hosts, Place, Saga, StepContext};

/// The saga of a job on its hosts.
pub(crate) fn saga_of(spec: &JobSpec, hosts: &Hosts) -> Saga {
    match spec {
        JobSpec::Inspect { .. } => inspect::saga(),
        JobSpec::Backup { transfer, .. } => backup::saga(transfer.method),
        JobSpec::Restore { transfer, .. } => restore::saga(transfer.method),
        JobSpec::Replicate { transfer, .. } => replicate::saga(transfer.method, hosts),
        JobSpec::Verify { .. } => verify::saga(),
        JobSpec::Power { .. } => power::saga(),
        JobSpec::FanOut { .. } => fan_out::saga(),
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
            "Leave out `--staged`: the VM is streamed, and nothing is staged anywhere.",
        )
    })
}

/// Whether a host can move VMs in the way that is chosen for it. Where it streams although the job is
/// staged, since each host of a replication does what it can, the job's log says so.
async fn suits(ctx: &StepContext, place: &Place, method: TransferMethod) -> Result<(), Fault> {
    if method == TransferMethod::Staged {
        return staging(place).map(drop);
    }
    if ctx.job.spec.transfer().method == TransferMethod::Staged {
        let (host, kind) = (&place.grip.vm.host, place.driver.kind());
        let text =
            format!("host {host} ({kind}) does not move VMs as archives: there the VM is streamed");
        ctx.report.info(text).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
