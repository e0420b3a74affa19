//! From what a person or a schedule asks for to the job that does it.

use drs_model::{JobSpec, Subject, Transfer, Work};

use crate::{BackendError, Catalog};

/// The job that does `work` with a subject: the work itself where it is one job whose VM or pair is
/// known, else a fan-out that finds out when it runs.
///
/// # Errors
/// [`BackendError::NotFound`] when the pair is not there, or the adapter failed.
pub async fn job_of(
    catalog: &dyn Catalog,
    subject: &Subject,
    work: Work,
    transfer: Transfer,
) -> Result<JobSpec, BackendError> {
    Ok(match (work, subject) {
        (Work::Backup, Subject::Vm(vm)) => JobSpec::Backup { vm: vm.clone(), transfer },
        (Work::Backup, Subject::Pair(name)) => {
            JobSpec::Backup { vm: catalog.pair(name).await?.source, transfer }
        }
        (Work::Replicate, Subject::Pair(name)) => {
            JobSpec::replicate(&catalog.pair(name).await?, transfer)
        }
        (Work::Backup | Work::Replicate, Subject::Host(_))
        | (Work::Replicate, Subject::Vm(_))
        | (Work::Verify, _) => JobSpec::FanOut { subject: subject.clone(), work, transfer },
    })
}
