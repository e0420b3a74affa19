//! Whether the slots of a worker have anything to do.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drs_model::JobId;
use tokio::time::{Instant, sleep_until};

/// What the slots do, together.
#[derive(Debug)]
pub(crate) struct Occupancy(Mutex<State>);

#[derive(Debug)]
struct State {
    busy: usize,
    /// Since when no slot is busy, if none is.
    idle_since: Instant,
    latest: Option<JobId>,
}

impl Default for Occupancy {
    fn default() -> Self {
        Self(Mutex::new(State { busy: 0, idle_since: Instant::now(), latest: None }))
    }
}

/// A slot that has a job; it has none any more when this is dropped.
pub(crate) struct Busy<'a>(&'a Occupancy);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy -= 1;
        state.idle_since = Instant::now();
    }
}

impl Occupancy {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot has a job.
    pub(crate) fn begins(&self, job: JobId) -> Busy<'_> {
        let mut state = self.state();
        state.busy += 1;
        state.latest = Some(job);
        Busy(self)
    }

    /// The job that was begun last.
    pub(crate) fn latest(&self) -> Option<JobId> {
        self.state().latest
    }

    /// Resolves when no slot had a job for this long.
    pub(crate) async fn idle_for(&self, limit: Duration) {
        loop {
            let until = {
                let state = self.state();
                let idle_since = if state.busy == 0 { state.idle_since } else { Instant::now() };
                idle_since + limit
            };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_with_a_job_is_not_idle() {
        let (occupancy, limit) = (Occupancy::default(), Duration::from_secs(10));
        let began = Instant::now();
        let busy = occupancy.begins(JobId::from_key("a"));
        let works = async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            drop(busy);
        };
        tokio::join!(works, occupancy.idle_for(limit));
        assert_eq!(began.elapsed().as_secs(), 35);
        assert_eq!(occupancy.latest(), Some(JobId::from_key("a")));
    }
}
