//! Runs the reaper and the sweeper of [`drs_protocol::upkeep`] against the real ports.

use drs_backend::{Backend, BackendError};
use drs_model::Job;
use drs_protocol::upkeep::{Action, Event, Upkeep, UpkeepPace};
use drs_runtime::{Shutdown, clock};

/// Runs until no new jobs are to be taken. A store that is down is asked again at the next look.
///
/// Part of every [`Scheduler`](crate::Scheduler); a process that runs jobs without one runs this alone.
pub async fn upkeep(backend: Backend, pace: UpkeepPace, shutdown: Shutdown) {
    let mut upkeep = Upkeep::new(pace, clock::now());
    loop {
        let mut events = vec![Event::Tick];
        while let Some(event) = events.pop() {
            for action in upkeep.step(clock::now(), event) {
                events.extend(perform(&backend, action).await);
            }
        }
        tokio::select! {
            () = shutdown.draining() => return,
            () = clock::until(upkeep.next_tick()) => {}
        }
    }
}

async fn perform(backend: &Backend, action: Action) -> Option<Event> {
    let now = clock::now();
    match action {
        Action::Reap(limit) => {
            let jobs = reported("reap", backend.store.reap(now, limit).await);
            if !jobs.is_empty() {
                let value = jobs.len();
                tracing::info!(target: "drs::metric", name = "drs_takeovers_total", value);
            }
            Some(Event::Reaped(jobs))
        }
        Action::Sweep(stale, limit) => {
            let jobs = backend.store.sweep(now, stale, limit).await;
            Some(Event::Swept(reported("sweep", jobs)))
        }
        Action::Publish(job) => {
            backend.publish(&job).await;
            None
        }
    }
}

fn reported(what: &str, jobs: Result<Vec<Job>, BackendError>) -> Vec<Job> {
    jobs.unwrap_or_else(|error| {
        tracing::warn!(%error, "{what} failed, trying again at the next look");
        Vec::new()
    })
}
