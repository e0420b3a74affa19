//! Tells how many jobs wait for what, every few seconds.

use std::time::Duration;

use drs_backend::{Backend, BackendError};
use drs_model::{Phase, Resource};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Resources that are counted; the most awaited come first.
const RESOURCES_MAX: usize = 1000;

/// Jobs that wait, by the kind of what they wait for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) vm: u64,
    pub(crate) host: u64,
    pub(crate) dump: u64,
    /// Queued: nothing but a worker is missing.
    pub(crate) worker: u64,
    /// An attempt failed and the next one is not due.
    pub(crate) retry: u64,
}

/// Every scheduler tells the same figures: they are read as a maximum, not as a sum.
pub(crate) async fn run(backend: &Backend) {
    loop {
        match waiting(backend).await {
            Ok(Waiting { vm, host, dump, worker, retry }) => {
                for (resource, value) in [
                    ("vm", vm),
                    ("host", host),
                    ("dump", dump),
                    ("worker", worker),
                    ("retry", retry),
                ] {
                    tracing::info!(target: "drs::metric", name = "drs_jobs_waiting", resource, value);
                }
            }
            Err(error) => tracing::debug!(%error, "how many jobs wait is not known now"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(crate) async fn waiting(backend: &Backend) -> Result<Waiting, BackendError> {
    let mut waiting = Waiting {
        worker: backend.store.count(Phase::Queued).await? as u64,
        retry: backend.store.count(Phase::RetryWait).await? as u64,
        ..Waiting::default()
    };
    for (resource, jobs) in backend.store.waiting(RESOURCES_MAX).await? {
        let figure = match resource {
            Resource::Vm(_) => &mut waiting.vm,
            Resource::HostSlot(_) => &mut waiting.host,
            Resource::DumpSlot(_) => &mut waiting.dump,
        };
        *figure += jobs as u64;
    }
    Ok(waiting)
}
