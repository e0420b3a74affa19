//! Everything that a small world is made of at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use drs_model::{FencingToken, GuardAnswer, Job, JobId, Phase, Resource};
use drs_protocol::guard::VmGuard;
use drs_protocol::session::{Event, Session};
use drs_simulation::Harm;
use drs_simulation::store::{Call, LedgerStore, Store};

use crate::scope::Spent;

/// A part of the real protocol, told from another by all that its `Debug` form says.
#[derive(Debug, Clone)]
pub(crate) struct Part<T> {
    value: Arc<T>,
    print: u64,
}

struct Printer(DefaultHasher);

impl Write for Printer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

impl<T: Debug + Clone> Part<T> {
    pub(crate) fn new(value: T) -> Self {
        let print = print(&value);
        Self { value: Arc::new(value), print }
    }

    pub(crate) fn get(&self) -> &T {
        &self.value
    }

    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let done = change(Arc::make_mut(&mut self.value));
        self.print = print(&*self.value);
        done
    }
}

impl<T> Part<T> {
    pub(crate) fn print(&self) -> u64 {
        self.print
    }
}

fn print(value: &impl Debug) -> u64 {
    let mut printer = Printer(DefaultHasher::new());
    write!(printer, "{value:?}").expect("a hasher takes everything");
    printer.0.finish()
}

impl<T> Hash for Part<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.print.hash(hasher);
    }
}

impl<T> PartialEq for Part<T> {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

/// Something on its way, and the worker that waits for what comes of it, if one still does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent<T> {
    pub(crate) what: Part<T>,
    pub(crate) asker: Option<usize>,
}

impl<T> Hash for Sent<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.what.print, self.asker).hash(hasher);
    }
}

/// A command on its way to the host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Command {
    pub(crate) job: usize,
    pub(crate) fence: FencingToken,
    pub(crate) op: Op,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    Hold,
    Release,
    Serve(&'static str),
    Start(&'static str),
    /// Takes back what a step did; one that was detached is cancelled first.
    Undo {
        step: &'static str,
        detached: bool,
    },
}

/// Something that is there on the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Unit {
    pub(crate) job: usize,
    pub(crate) fence: FencingToken,
    pub(crate) work: Work,
    /// Whose connection it hangs on, or who waits for it.
    pub(crate) asker: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Work {
    Hold,
    Served(&'static str),
    Detached(&'static str),
    Undo(&'static str),
}

/// What a worker is told and has not heard yet.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) enum News {
    /// The store's answer, or something of the worker's own.
    Event(Part<Event>),
    /// What the host says about the activity of the moment.
    Answer(Part<GuardAnswer>),
    /// What became of the activity of the moment.
    Outcome(Part<Event>),
}

impl News {
    fn place(&self) -> (u8, u64) {
        match self {
            Self::Event(event) => (0, event.print),
            Self::Answer(answer) => (1, answer.print),
            Self::Outcome(event) => (2, event.print),
        }
    }
}

/// The store, with what it says when it is asked about everything.
#[derive(Debug, Clone)]
pub(crate) struct Books {
    pub(crate) store: LedgerStore,
    pub(crate) jobs: Vec<Job>,
    pub(crate) held: Vec<(Resource, JobId)>,
}

impl Books {
    pub(crate) fn of(mut store: LedgerStore) -> Self {
        let (jobs, held) = (store.jobs(), store.held().unwrap_or_default());
        Self { store, jobs, held }
    }
}

/// What a drive does on the host, or within itself, one thing at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Activity {
    Holding,
    /// Running this step; its host has not answered yet.
    Running(usize),
    /// Looking at the detached command of this step from time to time.
    Following(usize),
    Undoing(usize),
}

/// A session, and what it has going.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Drive {
    pub(crate) session: Part<Session>,
    pub(crate) job: usize,
    pub(crate) unacked: bool,
    pub(crate) activity: Option<Activity>,
    pub(crate) inbox: Vec<News>,
}

#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) enum Slot {
    Free,
    /// The claim for this job's message is under way.
    Claiming(usize),
    Driving(Drive),
}

#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Worker {
    /// Which process it is in this place: a dead one is followed by another.
    pub(crate) life: u8,
    pub(crate) slot: Slot,
}

/// What was seen from outside of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Record {
    /// Who has the latest claim of each job, under which token.
    pub(crate) claims: BTreeMap<JobId, (String, FencingToken)>,
    /// How each job ended, as far as the store has not forgotten it.
    pub(crate) ended: BTreeMap<JobId, Phase>,
    /// Jobs that ended once.
    pub(crate) over: BTreeSet<JobId>,
    pub(crate) cancelled: BTreeMap<(usize, &'static str), FencingToken>,
    /// What steps did on the host and was not taken back; whether it is a detached command that succeeded.
    pub(crate) effects: BTreeMap<(usize, &'static str), bool>,
    /// The store has lost what it knew: what was done until then may be known to nobody.
    pub(crate) shaken: bool,
}

/// A small world at one moment.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct State {
    pub(crate) store: Part<Books>,
    /// How often the store was wiped; its clock has gone on meanwhile.
    pub(crate) wiped: u8,
    /// Messages that wait in the queue, by job.
    pub(crate) ready: Vec<u8>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) calls: Vec<Sent<Call>>,
    pub(crate) commands: Vec<Sent<Command>>,
    pub(crate) guard: Part<VmGuard>,
    pub(crate) boot: u64,
    pub(crate) units: Vec<Unit>,
    pub(crate) record: Record,
    pub(crate) spent: Spent,
    pub(crate) claims: u8,
    pub(crate) harm: Option<Harm>,
}

impl State {
    pub(crate) fn drive(&self, worker: usize) -> Option<&Drive> {
        match &self.workers[worker].slot {
            Slot::Driving(drive) => Some(drive),
            _ => None,
        }
    }

    pub(crate) fn drive_mut(&mut self, worker: usize) -> Option<&mut Drive> {
        match &mut self.workers[worker].slot {
            Slot::Driving(drive) => Some(drive),
            _ => None,
        }
    }

    /// What is under way has no order.
    pub(crate) fn in_order(mut self) -> Self {
        self.calls.sort_by_key(|sent| (sent.what.print, sent.asker));
        self.commands.sort_by_key(|sent| (sent.what.print, sent.asker));
        self.units.sort();
        for worker in &mut self.workers {
            if let Slot::Driving(drive) = &mut worker.slot {
                drive.inbox.sort_by_key(News::place);
            }
        }
        self
    }
}
