//! The reaper and the sweeper: what moves jobs that nobody drives, paced by a pure state machine.
//!
//! Both are reconcilers: no input but time, idempotent, harmless when several processes run them.
//! The **reaper** takes jobs from workers whose lease ran out; the **sweeper** publishes jobs whose
//! message was lost and wakes waiters whose resource is free.

use drs_model::{Job, SignedDuration, Timestamp};

/// How the reaper and the sweeper pace themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpkeepPace {
    /// Time between two looks of the reaper.
    pub reap_every: SignedDuration,
    /// No look of the reaper for so long after one that the store did not answer: workers that live renew
    /// their leases first, which ran out while nobody could.
    pub reap_pause: SignedDuration,
    /// Time between two looks of the sweeper.
    pub sweep_every: SignedDuration,
    /// A message not claimed for this long is published again, and then after twice as long each time (see
    /// [`crate::store::unclaimed_since`]).
    pub stale: SignedDuration,
    /// Most jobs per look; a full look is followed by another at once.
    pub batch: usize,
}

impl Default for UpkeepPace {
    fn default() -> Self {
        Self {
            reap_every: SignedDuration::from_secs(5),
            reap_pause: SignedDuration::from_secs(25),
            sweep_every: SignedDuration::from_secs(5),
            stale: SignedDuration::from_secs(30),
            batch: 200,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The store answered to `Reap`.
    Reaped(Vec<Job>),
    /// The store did not answer to `Reap`.
    ReapFailed,
    /// The store answered to `Sweep`; an empty answer stands for a store that is down, too.
    Swept(Vec<Job>),
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Call `reap` with this limit.
    Reap(usize),
    /// Call `sweep` with this age and limit.
    Sweep(SignedDuration, usize),
    /// Publish the job's message, and call `published` when the broker has it.
    Publish(Box<Job>),
}

/// The reaper and the sweeper of one process.
#[derive(Debug, Clone)]
pub struct Upkeep {
    pace: UpkeepPace,
    next_reap: Timestamp,
    next_sweep: Timestamp,
}

impl Upkeep {
    /// Both are due at once.
    #[must_use]
    pub fn new(pace: UpkeepPace, now: Timestamp) -> Self {
        Self { pace, next_reap: now, next_sweep: now }
    }

    /// When the next `Tick` is wanted.
    #[must_use]
    pub fn next_tick(&self) -> Timestamp {
        self.next_reap.min(self.next_sweep)
    }

    /// Takes what happened, returns what to do, in order.
    pub fn step(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => {}
            Event::Reaped(jobs) => {
                if jobs.len() >= self.pace.batch {
                    self.next_reap = now;
                }
                actions.extend(jobs.into_iter().map(|job| Action::Publish(Box::new(job))));
            }
            Event::ReapFailed => self.next_reap = now + self.pace.reap_pause,
            Event::Swept(jobs) => {
                if jobs.len() >= self.pace.batch {
                    self.next_sweep = now;
                }
                actions.extend(jobs.into_iter().map(|job| Action::Publish(Box::new(job))));
            }
        }
        // A clock that was put back must not keep anybody waiting for as long as it was wrong.
        self.next_reap = self.next_reap.min(now + self.pace.reap_every.max(self.pace.reap_pause));
        self.next_sweep = self.next_sweep.min(now + self.pace.sweep_every);
        if now >= self.next_reap {
            self.next_reap = now + self.pace.reap_every;
            actions.push(Action::Reap(self.pace.batch));
        }
        if now >= self.next_sweep {
            self.next_sweep = now + self.pace.sweep_every;
            actions.push(Action::Sweep(self.pace.stale, self.pace.batch));
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use drs_model::{JobId, JobSpec};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    #[test]
    fn both_look_at_once_and_then_on_time() {
        let mut upkeep = Upkeep::new(UpkeepPace::default(), at(0));
        assert_eq!(upkeep.step(at(0), Event::Tick).len(), 2);
        assert!(upkeep.step(at(4), Event::Tick).is_empty());
        assert_eq!(upkeep.next_tick(), at(5));
        assert_eq!(upkeep.step(at(5), Event::Tick).len(), 2);
    }

    #[test]
    fn after_a_store_that_was_away_living_workers_renew_their_leases_first() {
        let mut upkeep = Upkeep::new(UpkeepPace::default(), at(0));
        upkeep.step(at(0), Event::Tick);
        let sweep = |actions: Vec<Action>| actions.iter().all(|a| matches!(a, Action::Sweep(..)));
        assert!(sweep(upkeep.step(at(5), Event::ReapFailed)));
        assert!(sweep(upkeep.step(at(29), Event::Tick)));
        assert!(upkeep.step(at(30), Event::Tick).contains(&Action::Reap(200)));
    }

    #[test]
    fn a_clock_that_is_put_back_stops_nothing() {
        let mut upkeep = Upkeep::new(UpkeepPace::default(), at(3600));
        upkeep.step(at(3600), Event::Tick);
        assert!(upkeep.step(at(0), Event::Tick).is_empty());
        assert!(upkeep.next_tick() <= at(5));
        assert_eq!(upkeep.step(at(25), Event::Tick).len(), 2);
    }

    #[test]
    fn a_full_look_publishes_and_looks_again_at_once() {
        let pace = UpkeepPace { batch: 1, ..UpkeepPace::default() };
        let mut upkeep = Upkeep::new(pace, at(0));
        upkeep.step(at(0), Event::Tick);
        let host = "dc".parse().expect("a name");
        let job = Job::new(JobId::from_key("a"), JobSpec::Inspect { host }, vec![], at(0));
        let actions = upkeep.step(at(1), Event::Reaped(vec![job.clone()]));
        assert_eq!(actions, [Action::Publish(Box::new(job)), Action::Reap(1)]);
    }
}
