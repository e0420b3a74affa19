//! How large a small world is: its jobs, and what may go wrong in it how often.

use drs_protocol::session::StepPlan;

/// Something that goes wrong, or that a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A worker dies; another takes its place.
    Crash,
    /// A worker stands still, or is cut off from the store: its lease runs out while it lives.
    Pause,
    /// The store loses everything.
    Wipe,
    /// The host restarts.
    Reboot,
    /// A message is doubled.
    Double,
    /// A message is lost.
    Lose,
    /// A worker waits for the host no longer: its command arrives late, or the answer never does.
    Late,
    /// The answer of the store is lost, and the call is made again.
    Repeat,
    /// A command fails.
    Fail,
    /// A person cancels a job.
    Cancel,
    /// A worker is told to stop.
    Stop,
}

/// The bounds of a small world.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) name: &'static str,
    /// The steps of each job.
    pub(crate) plan: &'static [StepPlan],
    /// Each of these may happen once.
    pub(crate) troubles: &'static [Trouble],
    /// So many of them may happen in one history.
    pub(crate) at_most: u8,
    /// Histories are followed up to so many claims.
    pub(crate) claims: u8,
}

/// What has gone wrong so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Spent(u16);

impl Spent {
    pub(crate) fn may(self, scope: &Scope, trouble: Trouble) -> bool {
        let spent = self.0 & (1 << trouble as u16) != 0;
        scope.troubles.contains(&trouble) && !spent && self.0.count_ones() < scope.at_most.into()
    }

    pub(crate) fn note(&mut self, trouble: Trouble) {
        self.0 |= 1 << trouble as u16;
    }
}
