//! How many bytes may pass in a second: limits that transfers share.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Bytes that are let pass at a time: who shares a limit takes turns of this size.
const TURN_BYTES: u64 = 64 * 1024;
/// Most bytes that pass at once after a pause.
const BURST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A number of bytes per second, shared behind an `Arc` by all transfers that it holds for.
///
/// Whoever comes takes the next free stretch of time, so that transfers share it in turns. What a pause
/// leaves unused is made up for by one second's bytes or 4 MiB, whichever is less.
#[derive(Debug)]
pub struct RateLimit {
    bytes_per_second: NonZeroU64,
    /// Until then the limit is given away.
    taken: Mutex<Instant>,
}

impl RateLimit {
    /// A limit that nobody uses yet.
    #[must_use]
    pub fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second, taken: Mutex::new(Instant::now()) }
    }

    /// The limit.
    #[must_use]
    pub fn bytes_per_second(&self) -> NonZeroU64 {
        self.bytes_per_second
    }

    /// Takes the time that the bytes cost; they may pass when it is over.
    fn take(&self, bytes: u64, now: Instant) -> Instant {
        let burst = self.cost(BURST_BYTES_MAX).min(Duration::from_secs(1));
        let earliest = now.checked_sub(burst).unwrap_or(now);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = earliest.max(*taken) + self.cost(bytes);
        *taken
    }

    fn cost(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The limits that one transfer keeps: its job's, its host's, its site's. The slowest counts. None by
/// default.
#[derive(Clone, Default)]
pub struct Rates(Vec<Arc<RateLimit>>);

impl Rates {
    /// With one more limit.
    #[must_use]
    pub fn and(mut self, limit: Arc<RateLimit>) -> Self {
        self.0.push(limit);
        self
    }

    /// Returns when so many bytes may pass. Giving up in between uses up to 64 KiB of each limit.
    pub async fn pass(&self, bytes: u64) {
        let mut left = bytes;
        while left > 0 && !self.0.is_empty() {
            let turn = left.min(TURN_BYTES);
            let now = Instant::now();
            if let Some(free) = self.0.iter().map(|limit| limit.take(turn, now)).max()
                && free > now
            {
                sleep_until(free).await;
            }
            left -= turn;
        }
    }
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|limit| limit.bytes_per_second)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn limit(bytes_per_second: u64) -> Arc<RateLimit> {
        Arc::new(RateLimit::new(NonZeroU64::new(bytes_per_second).expect("not zero")))
    }

    /// Seconds of virtual time that the bytes take, in packets.
    async fn seconds(rates: &Rates, bytes: u64, packet: u64) -> f64 {
        let start = Instant::now();
        for _ in 0..bytes / packet {
            rates.pass(packet).await;
        }
        start.elapsed().as_secs_f64()
    }

    #[track_caller]
    fn about(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 0.02, "{found} s, not {expected} s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_for_packets_of_any_size() {
        for packet in [100, 32 * 1024, 5 * MIB] {
            let rates = Rates::default().and(limit(MIB));
            about(seconds(&rates, 20 * MIB, packet).await, 20.0);
        }
        about(seconds(&Rates::default().and(limit(1000 * MIB)), 2000 * MIB, 32 * 1024).await, 2.0);
        assert!(seconds(&Rates::default(), 20 * MIB, MIB).await == 0.0, "no limit");
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_limit_counts() {
        for slowest in 0..3 {
            let speeds = [0, 1, 2].map(|n| if n == slowest { MIB } else { (3 + n) * MIB });
            let rates = speeds.into_iter().fold(Rates::default(), |all, s| all.and(limit(s)));
            about(seconds(&rates, 20 * MIB, 32 * 1024).await, 20.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_jobs_share_a_limit_in_equal_parts() {
        let host = limit(2 * MIB);
        let of_host = || Rates::default().and(host.clone());
        let (small, large) = (of_host(), of_host());
        let (one, other) =
            tokio::join!(seconds(&small, 10 * MIB, 1024), seconds(&large, 10 * MIB, 1024));
        about(one, 10.0);
        about(other, 10.0);
        // Large packets take turns, too: the small transfer does not wait for the large one's end.
        let (one, other) =
            tokio::join!(seconds(&small, 4 * MIB, 64 * 1024), seconds(&large, 40 * MIB, 20 * MIB));
        about(one, 4.0);
        about(other, 22.0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_job_may_not_use_is_left_to_the_other() {
        let host = limit(4 * MIB);
        let slow = Rates::default().and(limit(MIB)).and(host.clone());
        let fast = Rates::default().and(host);
        let (one, other) =
            tokio::join!(seconds(&slow, 10 * MIB, 32 * 1024), seconds(&fast, 30 * MIB, 32 * 1024));
        about(one, 10.0);
        about(other, 10.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_made_up_for_by_a_second_or_4_mib_at_most() {
        for (speed, burst) in [(MIB, MIB), (100 * MIB, 4 * MIB)] {
            let rates = Rates::default().and(limit(speed));
            tokio::time::sleep(Duration::from_secs(3600)).await;
            assert!(seconds(&rates, burst, 64 * 1024).await < 0.01);
            about(seconds(&rates, 50 * speed, 64 * 1024).await, 50.0);
        }
    }
}
