//! Runs the reaper and the sweeper of [`drs_protocol::upkeep`] against the real ports.

use std::collections::BTreeSet;

use drs_backend::{Backend, JobFilter};
use drs_model::{Job, Phase, PointId};
use drs_protocol::upkeep::{Action, Event, Upkeep};
use drs_runtime::{Shutdown, clock};
use drs_vault::Vault;

pub use drs_protocol::upkeep::UpkeepPace as UpkeepConfig;

/// Runs until no new jobs are to be taken. A store that is down is asked again at the next look.
pub async fn upkeep(backend: Backend, config: UpkeepConfig, shutdown: Shutdown) {
    let mut upkeep = Upkeep::new(config, clock::now());
    loop {
        let mut events = vec![Event::Tick];
        while let Some(event) = events.pop() {
            for action in upkeep.step(clock::now(), event) {
                events.extend(perform(&backend, action).await);
            }
        }
        tokio::select! {
            () = shutdown.draining() => return,
            () = crate::drive::until(upkeep.next_tick()) => {}
        }
    }
}

async fn perform(backend: &Backend, action: Action) -> Option<Event> {
    let now = clock::now();
    match action {
        Action::Reap(limit) => {
            let jobs = backend.store.reap(now, limit).await;
            Some(Event::Reaped(reported("reap", jobs)))
        }
        Action::Sweep(stale, limit) => {
            let jobs = backend.store.sweep(now, stale, limit).await;
            Some(Event::Swept(reported("sweep", jobs)))
        }
        Action::Publish(job) => {
            crate::worker::publish(backend, &job).await;
            None
        }
    }
}

/// Removes from the vault what jobs left unfinished that are over and could not take it back (the
/// process died in the middle of that). Of jobs that are not known to be over, nothing is touched.
pub async fn tidy_vault(backend: &Backend, vault: &dyn Vault) {
    let over = JobFilter {
        phases: vec![Phase::Failed, Phase::Cancelled],
        limit: JobFilter::LIMIT_MAX,
        ..JobFilter::default()
    };
    let over: BTreeSet<PointId> = match backend.store.list(&over).await {
        Ok(jobs) => jobs.iter().map(|job| job.id.into()).collect(),
        Err(error) => return tracing::warn!(%error, "the vault is tidied at the next start"),
    };
    match vault.sweep_unfinished(&|point| !over.contains(&point)).await {
        Ok(0) => {}
        Ok(bytes) => tracing::info!(bytes, "removed what dead jobs had left in the vault"),
        Err(error) => tracing::warn!(%error, "the vault is tidied at the next start"),
    }
}

fn reported(what: &str, jobs: Result<Vec<Job>, drs_backend::BackendError>) -> Vec<Job> {
    jobs.unwrap_or_else(|error| {
        tracing::warn!(%error, "{what} failed, trying again at the next look");
        Vec::new()
    })
}
