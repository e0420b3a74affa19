//! What a session must know of a saga's steps, and how it paces itself.

use drs_model::SignedDuration;

/// How a step works with the host guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepMode {
    /// It changes nothing on a host.
    Free,
    /// It works while the session holds the VM; it ends with the worker.
    Held,
    /// It is a command that outlives the worker; a later one attaches to it.
    Detached,
}

/// What the session must know of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepPlan {
    /// Its name, unique in the saga and stable: it stands in logs.
    pub name: &'static str,
    /// How it works with the guard.
    pub mode: StepMode,
    /// Its effect does not outlive the worker until the last step of its run of volatile steps is
    /// done. After a crash the whole run is undone and starts again.
    pub volatile: bool,
    /// Its failure fails the job and takes back nothing that was done before it.
    pub keeps_rest: bool,
    /// Once it is done, nothing up to and with it is taken back any more: what follows fails or is
    /// cancelled for itself.
    pub barrier: bool,
    /// It prepares for what comes behind a barrier: when the job ends there otherwise than done, it is
    /// taken back all the same.
    pub provisional: bool,
}

impl StepPlan {
    /// A step that changes nothing on a host.
    #[must_use]
    pub const fn free(name: &'static str) -> Self {
        Self {
            name,
            mode: StepMode::Free,
            volatile: false,
            keeps_rest: false,
            barrier: false,
            provisional: false,
        }
    }

    /// A step that works while the session holds the VM.
    #[must_use]
    pub const fn held(name: &'static str) -> Self {
        Self { mode: StepMode::Held, ..Self::free(name) }
    }

    /// A command that outlives the worker.
    #[must_use]
    pub const fn detached(name: &'static str) -> Self {
        Self { mode: StepMode::Detached, ..Self::free(name) }
    }

    /// The same step, volatile.
    #[must_use]
    pub const fn volatile(self) -> Self {
        Self { volatile: true, ..self }
    }

    /// The same step, as the end of what stays.
    #[must_use]
    pub const fn barrier(self) -> Self {
        Self { barrier: true, ..self }
    }

    /// The same step, as a preparation for what comes behind a barrier.
    #[must_use]
    pub const fn provisional(self) -> Self {
        Self { provisional: true, ..self }
    }

    /// The same step, keeping the rest when it fails.
    #[must_use]
    pub const fn keeping_rest(self) -> Self {
        Self { keeps_rest: true, ..self }
    }
}

/// How the session paces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How often the lease is renewed.
    pub beat: SignedDuration,
    /// Attempts after which a fault that may pass is final.
    pub attempts_max: u32,
    /// Wait before the second attempt; it doubles with each further one.
    pub backoff: SignedDuration,
    /// Longest wait between attempts.
    pub backoff_max: SignedDuration,
    /// Wait when the hypervisor or another job has the VM.
    pub busy_wait: SignedDuration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            beat: SignedDuration::from_secs(20),
            attempts_max: 5,
            backoff: SignedDuration::from_secs(5),
            backoff_max: SignedDuration::from_secs(300),
            busy_wait: SignedDuration::from_secs(30),
        }
    }
}
