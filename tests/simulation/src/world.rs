//! A world: its parts, and the loop that lets things happen in it.

mod broker;
mod calls;
mod drives;
mod faults;
mod hosts;
mod links;
mod people;
mod schedulers;
mod watch;
mod workers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use drs_model::{Job, JobId, SignedDuration, Timestamp};

use crate::agenda::{Agenda, Happening, Millis, Note, Peer, WorkerId};
use crate::dice::Dice;
use crate::guards::{Guard, Removed};
use crate::kinds::Kind;
use crate::oracle::{Harm, Oracle, Violation};
use crate::scenario::Scenario;
use crate::store::Store;

use broker::Broker;
use hosts::Host;
use schedulers::Scheduler;
use workers::Worker;

/// How long after the faults everything must have come to its end, in milliseconds.
const PATIENCE: Millis = 4 * 3_600_000;
/// How many of the latest events a report tells.
const TOLD: usize = 300;

/// A job of a world.
#[derive(Debug, Clone)]
struct Planned {
    record: Job,
    kind: Kind,
    /// The VMs that it holds, the first one is the one it works on.
    places: Vec<hosts::Target>,
    due: Millis,
    /// Known to the schedulers; otherwise to nobody but the store and its message.
    scheduled: bool,
    submitted: bool,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What must not have happened and did; the run ends soon after the first.
    pub violations: Vec<Violation>,
    /// The latest events, when they were asked for.
    pub told: VecDeque<String>,
    /// How often things happened: faults, answers of hosts and stores, ends of jobs.
    pub counts: BTreeMap<String, u64>,
    /// Events in all.
    pub events: u64,
}

pub(crate) struct World<'a> {
    scenario: &'a Scenario,
    removed: Removed,
    store: &'a mut dyn Store,
    t: Millis,
    agenda: Agenda,
    dice: Dice,
    oracle: Oracle,
    report: Report,
    tells: bool,
    quiet: bool,
    store_up: bool,
    store_skew: i64,
    saved: bool,
    broker: Broker,
    hosts: Vec<Host>,
    /// Where each machine is.
    location: Vec<usize>,
    workers: BTreeMap<WorkerId, Worker>,
    schedulers: Vec<Scheduler>,
    cuts: BTreeSet<(WorkerId, Peer)>,
    jobs: Vec<Planned>,
    index: BTreeMap<JobId, usize>,
    history: BTreeSet<JobId>,
    probed: bool,
    serial: u64,
}

/// Lets a world run from its seed until everything has come to its end, or harm was seen. With
/// `tells` the report has the latest events.
pub fn simulate(
    seed: u64,
    scenario: &Scenario,
    removed: Removed,
    store: &mut dyn Store,
    tells: bool,
) -> Report {
    let mut world = World::new(seed, scenario, removed, store, tells);
    world.begin(seed);
    world.run();
    let mut report = std::mem::take(&mut world.report);
    report.violations = std::mem::take(&mut world.oracle.violations);
    for line in report.told.iter_mut().chain(report.violations.iter_mut().map(|v| &mut v.what)) {
        for (n, job) in world.jobs.iter().enumerate() {
            *line = line.replace(&job.record.id.to_string(), &format!("{:?}-{n}", job.kind));
        }
    }
    report
}

impl<'a> World<'a> {
    fn new(
        seed: u64,
        scenario: &'a Scenario,
        removed: Removed,
        store: &'a mut dyn Store,
        tells: bool,
    ) -> Self {
        let machines = scenario.hosts * scenario.vms * 2;
        Self {
            scenario,
            removed,
            store,
            t: 0,
            agenda: Agenda::default(),
            dice: Dice::new(seed),
            oracle: Oracle::default(),
            report: Report::default(),
            tells,
            quiet: false,
            store_up: true,
            store_skew: 0,
            saved: false,
            broker: Broker::default(),
            hosts: (0..scenario.hosts).map(|_| Host::new(machines)).collect(),
            location: (0..machines).map(|machine| machine % scenario.hosts).collect(),
            workers: BTreeMap::new(),
            schedulers: (0..scenario.schedulers).map(|_| Scheduler::new()).collect(),
            cuts: BTreeSet::new(),
            jobs: Vec::new(),
            index: BTreeMap::new(),
            history: BTreeSet::new(),
            probed: false,
            serial: 0,
        }
    }

    fn begin(&mut self, seed: u64) {
        self.plan(seed);
        for _ in 0..self.scenario.workers {
            self.spawn();
        }
        for scheduler in 0..self.schedulers.len() {
            self.after(500..5_000, Happening::Upkeep(scheduler));
            self.after(50_000..70_000, Happening::AntiEntropy(scheduler));
        }
        self.after(1_000..2_000, Happening::Watch);
        self.after(5_000..6_000, Happening::Record);
        self.after(30_000..60_000, Happening::Operator);
        if !self.scenario.faults.is_empty() {
            self.after(4_000..5_000, Happening::Save);
            self.after(5_000..20_000, Happening::Fault);
        }
        self.agenda.at(self.scenario.faulty_for * 1000, Happening::Quiet);
    }

    fn run(&mut self) {
        let mut harmed_at = None;
        while let Some((when, what)) = self.agenda.next() {
            self.t = when;
            self.report.events += 1;
            self.happen(what);
            if !self.oracle.violations.is_empty() && harmed_at.is_none() {
                harmed_at = Some(self.t);
            }
            if harmed_at.is_some_and(|at| self.t > at + 1_000) || self.all_is_over() {
                return;
            }
            if self.t > self.scenario.faulty_for * 1000 + PATIENCE {
                return self.not_over();
            }
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Fault => self.fault(),
            Happening::Heal(heal) => self.heal(&heal),
            Happening::Save => self.save(),
            Happening::Quiet => self.fall_quiet(),
            Happening::Probe => self.probe(),
            Happening::Watch => self.watch(),
            Happening::Submit { scheduler, job } => self.submit(scheduler, job),
            Happening::AntiEntropy(scheduler) => self.anti_entropy(scheduler),
            Happening::Upkeep(scheduler) => self.upkeep(scheduler),
            Happening::Record => self.record(),
            Happening::Operator => self.operator(),
            Happening::Cancel(job) => self.cancel(job),
            Happening::Requeue(worker) => self.requeue(worker),
            Happening::ToWorker(worker, note) => self.inform(worker, note),
            Happening::CallArrives(call) => self.call_arrives(call),
            Happening::CommandArrives(command) => self.command_arrives(command),
            Happening::UnitEnds { place, unit } => self.unit_ends(place, unit),
            Happening::LinkCheck { place, unit } => self.link_check(place, unit),
        }
    }

    fn after(&mut self, delay: std::ops::Range<u64>, what: Happening) {
        let when = self.t + self.dice.between(delay);
        self.agenda.at(when, what);
    }

    fn note(&mut self, worker: WorkerId, delay: std::ops::Range<u64>, note: Note) {
        self.after(delay, Happening::ToWorker(worker, note));
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.tells {
            if self.report.told.len() == TOLD {
                self.report.told.pop_front();
            }
            let line = format!("{:>9.3} s {}", self.t as f64 / 1000.0, what());
            self.report.told.push_back(line);
        }
    }

    fn count(&mut self, what: &str) {
        match self.report.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.report.counts.insert(what.to_owned(), 1)),
        }
    }

    fn harm(&mut self, harm: Harm, what: impl Into<String>) {
        let what = what.into();
        self.tell(|| format!("HARM {harm:?}: {what}"));
        self.oracle.harm(self.t, harm, what);
    }

    fn lacks(&self, guard: Guard) -> bool {
        self.removed.lacks(guard)
    }

    fn time(&self) -> Timestamp {
        clock(self.t as i64)
    }

    /// The clock by which the store decides.
    fn store_time(&self) -> Timestamp {
        clock(self.t as i64 + self.store_skew)
    }

    /// A job's place in the plan.
    fn planned(&self, job: JobId) -> &Planned {
        &self.jobs[self.index[&job]]
    }

    /// What people call a job.
    fn name(&self, job: JobId) -> String {
        let n = self.index[&job];
        format!("{:?}-{n}", self.jobs[n].kind)
    }
}

fn clock(millis: i64) -> Timestamp {
    let begin = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_800_000_000);
    begin + SignedDuration::from_millis(millis)
}
