//! What is going to happen, in the order of virtual time.

use std::collections::BTreeMap;

use drs_model::{FencingToken, Grip, GuardAnswer};
use drs_protocol::session::Event;
use drs_protocol::store::ClaimAnswer;

use crate::store::Call;

/// Milliseconds since the world began.
pub(crate) type Millis = u64;
pub(crate) type WorkerId = u32;
pub(crate) type DriveId = u64;
/// Numbers what a worker does on a host, one after the other.
pub(crate) type Serial = u64;

/// A VM as a host knows it. The same machine may be known to several hosts when it moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) host: usize,
    pub(crate) machine: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Happening {
    Fault,
    Heal(Heal),
    /// The store's copy for a roll-back is made.
    Save,
    /// The faults are over.
    Quiet,
    /// One job for each VM, to see that it can be worked with.
    Probe,
    /// The oracles look at who waits.
    Watch,
    Submit {
        scheduler: usize,
        job: usize,
    },
    AntiEntropy(usize),
    Upkeep(usize),
    /// Finished jobs are copied into the history.
    Record,
    /// A person looks for jobs that wait for a decision.
    Operator,
    Cancel(usize),
    /// What a worker has not acknowledged comes again.
    Requeue(WorkerId),
    ToWorker(WorkerId, Note),
    CallArrives(StoreCall),
    CommandArrives(Command),
    UnitEnds {
        place: Place,
        unit: u64,
    },
    LinkCheck {
        place: Place,
        unit: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Store,
    Broker,
    Host(usize),
}

#[derive(Debug, Clone)]
pub(crate) enum Heal {
    Store,
    Clock,
    Broker,
    Cut(WorkerId, Peer),
    Host(usize),
    Worker,
}

/// What reaches a worker. A frozen one learns it when it thaws, a dead one never.
#[derive(Debug, Clone)]
pub(crate) enum Note {
    Poll,
    ClaimAnswered {
        tag: u64,
        answer: Option<ClaimAnswer>,
    },
    Event {
        drive: DriveId,
        serial: Option<Serial>,
        event: Event,
    },
    Tick(DriveId),
    AskAgain(StoreCall),
    /// The host answered to a hold or to a start.
    Guarded {
        drive: DriveId,
        serial: Serial,
        place: Place,
        unit: u64,
        answer: GuardAnswer,
    },
    /// The host began to serve.
    Serving {
        drive: DriveId,
        serial: Serial,
    },
    TimedOut {
        drive: DriveId,
        serial: Serial,
    },
    /// Time to look at a detached command.
    Follow {
        drive: DriveId,
        serial: Serial,
    },
    /// A hold ended.
    HoldLost {
        drive: DriveId,
        unit: u64,
    },
    Exit,
}

/// A call on its way to the store.
#[derive(Debug, Clone)]
pub(crate) struct StoreCall {
    pub(crate) from: WorkerId,
    pub(crate) purpose: Purpose,
    pub(crate) call: Call,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Claim {
        tag: u64,
    },
    /// Repeated until the store answers, if `insist`.
    Drive {
        drive: DriveId,
        insist: bool,
    },
}

/// A command on its way to a host.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) from: WorkerId,
    pub(crate) drive: DriveId,
    pub(crate) serial: Serial,
    pub(crate) place: Place,
    pub(crate) grip: Grip,
    pub(crate) op: Op,
    /// How long the work takes.
    pub(crate) takes: Millis,
    /// Its exit code.
    pub(crate) code: i32,
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Hold,
    Release {
        unit: u64,
        fence: FencingToken,
    },
    /// A command that ends with its connection.
    Serve {
        step: &'static str,
    },
    Start {
        step: &'static str,
        name: String,
    },
    /// Ends the detached command of that name, then takes the step back.
    Undo {
        step: &'static str,
        name: Option<String>,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Agenda {
    entries: BTreeMap<(Millis, u64), Happening>,
    count: u64,
}

impl Agenda {
    pub(crate) fn at(&mut self, when: Millis, what: Happening) {
        self.count += 1;
        self.entries.insert((when, self.count), what);
    }

    pub(crate) fn next(&mut self) -> Option<(Millis, Happening)> {
        self.entries.pop_first().map(|((when, _), what)| (when, what))
    }
}
