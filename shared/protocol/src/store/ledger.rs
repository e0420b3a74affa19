//! The reference store: the same rows in memory, nothing more.

use std::collections::{BTreeMap, BTreeSet};

use drs_model::{FencingToken, IllegalTransition, Job, JobId, JobState, Resource, Timestamp};

use super::{Rows, Term, unclaimed_since};

/// Jobs and what they hold, in memory. What every other store must answer like.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    jobs: BTreeMap<JobId, Job>,
    held: BTreeSet<(Resource, JobId)>,
    fence: FencingToken,
    term: Option<Term>,
    recorded: BTreeSet<JobId>,
}

impl Ledger {
    /// Every record, by id.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.jobs.values().cloned().collect()
    }

    /// Everything that is held, by whom.
    #[must_use]
    pub fn held(&self) -> Vec<(Resource, JobId)> {
        self.held.iter().cloned().collect()
    }

    /// Jobs that are over, by the time of their end.
    fn ended(&self, matches: impl Fn(&Job) -> bool, limit: usize) -> Vec<JobId> {
        let over = |job: &&Job| job.state.is_terminal() && matches(job);
        let mut jobs: Vec<&Job> = self.jobs.values().filter(over).collect();
        jobs.sort_by_key(|job| (job.updated_at, job.id));
        jobs.into_iter().take(limit).map(|job| job.id).collect()
    }

    fn best_first(&self, matches: impl Fn(&Job) -> bool, limit: usize) -> Vec<JobId> {
        let mut jobs: Vec<&Job> = self.jobs.values().filter(|job| matches(job)).collect();
        jobs.sort_by_key(|job| (job.class, job.created_at, job.id));
        jobs.into_iter().take(limit).map(|job| job.id).collect()
    }
}

impl Rows for Ledger {
    type Error = IllegalTransition;

    fn job(&mut self, id: JobId) -> Result<Option<Job>, Self::Error> {
        Ok(self.jobs.get(&id).cloned())
    }

    fn put(&mut self, job: &Job) -> Result<(), Self::Error> {
        self.jobs.insert(job.id, job.clone());
        Ok(())
    }

    fn holders(&mut self, resource: &Resource) -> Result<Vec<JobId>, Self::Error> {
        Ok(self.held.iter().filter(|(held, _)| held == resource).map(|(_, job)| *job).collect())
    }

    fn hold(&mut self, resource: &Resource, job: JobId) -> Result<(), Self::Error> {
        self.held.insert((resource.clone(), job));
        Ok(())
    }

    fn release_all(&mut self, job: JobId) -> Result<(), Self::Error> {
        self.held.retain(|(_, holder)| *holder != job);
        Ok(())
    }

    fn waiters(&mut self, resource: &Resource, limit: usize) -> Result<Vec<JobId>, Self::Error> {
        Ok(self.best_first(
            |job| matches!(&job.state, JobState::Parked { resource: r, .. } if r == resource),
            limit,
        ))
    }

    fn next_fence(&mut self, above: FencingToken) -> Result<FencingToken, Self::Error> {
        self.fence = FencingToken(self.fence.max(above).0 + 1);
        Ok(self.fence)
    }

    fn lapsed(&mut self, now: Timestamp, limit: usize) -> Result<Vec<JobId>, Self::Error> {
        Ok(self.best_first(|job| job.state.lease().is_some_and(|l| l.until <= now), limit))
    }

    fn leased_by(&mut self, worker: &str) -> Result<Vec<JobId>, Self::Error> {
        let leased = |job: &Job| job.state.lease().is_some_and(|l| l.worker == worker);
        Ok(self.best_first(leased, usize::MAX))
    }

    fn owed(
        &mut self,
        now: Timestamp,
        stale: Timestamp,
        limit: usize,
    ) -> Result<Vec<JobId>, Self::Error> {
        let owed = |job: &Job| match &job.state {
            JobState::Queued { not_before: due } | JobState::RetryWait { until: due } => {
                *due <= now && unclaimed_since(job).is_none_or(|since| since <= stale)
            }
            _ => false,
        };
        Ok(self.best_first(owed, limit))
    }

    fn awaited(&mut self) -> Result<Vec<Resource>, Self::Error> {
        let resources: BTreeSet<Resource> = self
            .jobs
            .values()
            .filter_map(|job| match &job.state {
                JobState::Parked { resource, .. } => Some(resource.clone()),
                _ => None,
            })
            .collect();
        Ok(resources.into_iter().collect())
    }

    fn term(&mut self) -> Result<Option<Term>, Self::Error> {
        Ok(self.term.clone())
    }

    fn put_term(&mut self, term: &Term) -> Result<(), Self::Error> {
        self.term = Some(term.clone());
        Ok(())
    }

    fn unrecorded(&mut self, limit: usize) -> Result<Vec<JobId>, Self::Error> {
        Ok(self.ended(|job| !self.recorded.contains(&job.id), limit))
    }

    fn put_recorded(&mut self, id: JobId) -> Result<(), Self::Error> {
        self.recorded.insert(id);
        Ok(())
    }

    fn forgettable(&mut self, before: Timestamp, limit: usize) -> Result<Vec<JobId>, Self::Error> {
        let old = |job: &Job| job.updated_at < before && self.recorded.contains(&job.id);
        Ok(self.ended(old, limit))
    }

    fn forget(&mut self, id: JobId) -> Result<(), Self::Error> {
        self.jobs.remove(&id);
        self.recorded.remove(&id);
        Ok(())
    }
}
