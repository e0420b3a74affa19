//! How a simulated copy passes its time, and where it breaks.

use std::time::Duration;

use tokio::time::Instant;

use crate::DriverError;

/// The time of one copy of all disks, spread over their length.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    total: Duration,
    /// Breaks the copy half way.
    failure: Option<DriverError>,
}

impl Pace {
    /// A copy that takes this long from now on.
    pub(super) fn new(total: Duration, failure: Option<DriverError>) -> Self {
        Self { start: Instant::now(), total, failure }
    }

    /// Waits until `done` of `all` may be done.
    pub(super) async fn reach(&mut self, done: u64, all: u64) -> Result<(), DriverError> {
        if 2 * done >= all
            && let Some(failure) = self.failure.take()
        {
            return Err(failure);
        }
        if !self.total.is_zero() {
            tokio::time::sleep_until(self.start + share(self.total, done, all)).await;
        }
        Ok(())
    }
}

/// The part of a time that belongs to `part` of `all` bytes; all of it at most.
fn share(time: Duration, part: u64, all: u64) -> Duration {
    time.mul_f64((part as f64 / all.max(1) as f64).min(1.0))
}
