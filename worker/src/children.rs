//! The jobs that a job submits.

use drs_backend::{Backend, Catalog, JobFilter, Submitted, submit};
use drs_model::{Fault, Job, JobSpec, Phase};
use drs_runtime::clock;

/// Submits jobs on behalf of another.
#[derive(Clone)]
pub(crate) struct Children(Backend);

/// What became of a job that was to be submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Child {
    /// It is there, from now on or since an earlier attempt.
    Submitted,
    /// The same was asked for before by somebody else and is not over: it is not asked for again.
    LeftOut,
}

impl Children {
    pub(crate) fn new(backend: Backend) -> Self {
        Self(backend)
    }

    pub(crate) fn catalog(&self) -> &dyn Catalog {
        &*self.0.catalog
    }

    /// Submits a job about a subject, in the trace of its parent. Idempotent: there is one for each
    /// parent and subject.
    pub(crate) async fn submit(
        &self,
        parent: &Job,
        subject: &str,
        spec: JobSpec,
    ) -> Result<Child, Fault> {
        let id = parent.id.child(subject);
        if self.0.job(id).await?.is_some() {
            return Ok(Child::Submitted);
        }
        if self.is_open(&spec).await? {
            return Ok(Child::LeftOut);
        }
        match submit(&self.0, id, spec, parent.trace.clone(), clock::now()).await? {
            Submitted::New(_) | Submitted::Existing(_) => Ok(Child::Submitted),
        }
    }

    /// Whether a job about a VM that does just this is not over yet.
    async fn is_open(&self, spec: &JobSpec) -> Result<bool, Fault> {
        let Some(vm) = spec.vm() else { return Ok(false) };
        let open = JobFilter {
            phases: Phase::ALL.into_iter().filter(|phase| !phase.is_terminal()).collect(),
            subject: Some(vm.to_string()),
            limit: JobFilter::LIMIT_MAX,
            ..JobFilter::default()
        };
        Ok(self.0.store.list(&open).await?.iter().any(|job| job.spec == *spec))
    }
}
