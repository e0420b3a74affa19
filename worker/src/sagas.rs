//! The sagas: for each job kind its steps, in order.

mod backup;
mod inspect;
mod power;
mod restore;
mod verify;

use drs_model::JobSpec;

use crate::saga::Saga;

/// The saga of a job.
pub(crate) fn saga_of(spec: &JobSpec) -> Saga {
    match spec {
        JobSpec::Inspect { .. } => inspect::saga(),
        JobSpec::Backup { .. } => backup::saga(),
        JobSpec::Restore { .. } => restore::saga(),
        JobSpec::Verify { .. } => verify::saga(),
        JobSpec::Power { .. } => power::saga(),
    }
}
