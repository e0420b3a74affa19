//! The guards of the protocol that a run can do without, to see that each of them is needed.

use std::fmt;

/// A guard of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// The host refuses a token older than the newest it has seen.
    HostFence,
    /// The host remembers how a detached command ended.
    ExitRecord,
    /// The host lets one job have a VM.
    Holder,
    /// A cancelled command leaves a tombstone.
    Tombstone,
    /// What a worker writes to the store needs the lease and its token.
    StoreCas,
    /// A job whose lease ran out keeps what it holds.
    LockKept,
    /// A worker brings a record back that the store lost.
    Reassert,
    /// A token below the host's is replaced by one above it.
    Refence,
    /// Jobs whose message was lost are published again.
    Sweep,
    /// Jobs whose lease ran out are given to another worker.
    Reap,
    /// The message is acknowledged when the host has accepted, not when it is delivered.
    LateAck,
    /// A job that is submitted twice is one job.
    IdempotentCreate,
    /// What a job frees is offered to who waits for it, at once.
    Wake,
    /// A claim takes all that the job needs, or nothing.
    AllOrNothing,
}

impl Guard {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::HostFence,
        Self::ExitRecord,
        Self::Holder,
        Self::Tombstone,
        Self::StoreCas,
        Self::LockKept,
        Self::Reassert,
        Self::Refence,
        Self::Sweep,
        Self::Reap,
        Self::LateAck,
        Self::IdempotentCreate,
        Self::Wake,
        Self::AllOrNothing,
    ];

    /// Everything that a host does.
    pub const OF_THE_HOST: [Self; 4] =
        [Self::HostFence, Self::ExitRecord, Self::Holder, Self::Tombstone];

    /// What is missing where a lock is a key with a time-out in a store (`SET NX PX`), and nothing more.
    pub const NAIVE_LOCK_LACKS: [Self; 6] = [
        Self::HostFence,
        Self::ExitRecord,
        Self::Holder,
        Self::Tombstone,
        Self::StoreCas,
        Self::LockKept,
    ];
}

/// The guards that a run does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed(u32);

impl Removed {
    /// None: the protocol as it is.
    pub const NONE: Self = Self(0);

    /// These.
    #[must_use]
    pub fn these(guards: &[Guard]) -> Self {
        Self(guards.iter().fold(0, |bits, guard| bits | 1 << *guard as u32))
    }

    /// Whether a guard is among them.
    #[must_use]
    pub fn lacks(self, guard: Guard) -> bool {
        self.0 & (1 << guard as u32) != 0
    }
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("all guards");
        }
        let lacking: Vec<Guard> = Guard::ALL.into_iter().filter(|g| self.lacks(*g)).collect();
        write!(f, "without {lacking:?}")
    }
}
