//! How a job gets in: the record first, then the message.

use std::sync::Arc;

use drs_model::{Host, Job, JobId, JobSpec, Need, Timestamp};
use drs_protocol::store::CreateAnswer;

use crate::{BackendError, Catalog, Dispatch, Events, JobStore};

/// The ports of the job core together.
#[derive(Clone)]
pub struct Backend {
    /// Job records.
    pub store: Arc<dyn JobStore>,
    /// Messages.
    pub dispatch: Arc<dyn Dispatch>,
    /// Hosts and pairs.
    pub catalog: Arc<dyn Catalog>,
    /// Logs and progress.
    pub events: Arc<dyn Events>,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// A new job.
    New(Box<Job>),
    /// The same idempotency key was submitted before; this is that job as it stands.
    Existing(Box<Job>),
}

impl Submitted {
    /// The job, new or not.
    #[must_use]
    pub fn job(&self) -> &Job {
        match self {
            Self::New(job) | Self::Existing(job) => job,
        }
    }
}

/// Submits a job under an id. Its host must be in the catalogue.
///
/// # Errors
/// [`BackendError::NotFound`] when its host is not there, or an adapter failed. After an error of the
/// publication the job is in all the same and the sweeper publishes it.
pub async fn submit(
    backend: &Backend,
    id: JobId,
    spec: JobSpec,
    now: Timestamp,
) -> Result<Submitted, BackendError> {
    let host = match spec.host() {
        Some(name) => Some(backend.catalog.host(name).await?),
        None => None,
    };
    let needs = needs(&spec, host.as_ref());
    let job = Job::new(id, spec, needs, now);
    if let CreateAnswer::Exists(existing) = backend.store.create(&job).await? {
        return Ok(Submitted::Existing(existing));
    }
    match backend.dispatch.publish(&(&job).into()).await {
        Ok(()) => backend.store.published(now, id).await?,
        Err(error) => tracing::warn!(job = %id, %error, "not published yet, the sweeper will"),
    }
    Ok(Submitted::New(Box::new(job)))
}

/// What a job must have before it may run: its VM for itself, and a slot of its host when it moves
/// data there.
fn needs(spec: &JobSpec, host: Option<&Host>) -> Vec<Need> {
    let vm = spec.vm().cloned().map(Need::vm);
    let slot = match spec {
        JobSpec::Backup { .. } | JobSpec::Restore { .. } => {
            host.map(|host| Need::host_slot(host.name.clone(), host.slots))
        }
        JobSpec::Inspect { .. } | JobSpec::Verify { .. } | JobSpec::Power { .. } => None,
    };
    vm.into_iter().chain(slot).collect()
}
