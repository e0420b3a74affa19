//! Runs the reaper and the sweeper of [`drs_protocol::upkeep`] against the real ports.

use drs_backend::Backend;
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
            let jobs = match backend.store.reap(now, limit).await {
                Ok(jobs) => jobs,
                Err(error) => {
                    tracing::warn!(%error, "reap failed, trying again later");
                    return Some(Event::ReapFailed);
                }
            };
            if !jobs.is_empty() {
                let value = jobs.len();
                tracing::info!(target: "drs::metric", name = "drs_takeovers_total", value);
            }
            Some(Event::Reaped(jobs))
        }
        Action::Sweep(stale, limit) => {
            let swept = backend.store.sweep(now, stale, limit).await;
            Some(Event::Swept(swept.unwrap_or_else(|error| {
                tracing::warn!(%error, "sweep failed, trying again at the next look");
                Vec::new()
            })))
        }
        Action::Publish(job) => {
            if backend.publish(&job).await
                && let Err(error) = backend.store.published(clock::now(), job.id).await
            {
                tracing::debug!(job = %job.id, %error, "its publication was not noted");
            }
            None
        }
    }
}
