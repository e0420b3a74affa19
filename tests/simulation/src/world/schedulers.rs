//! Schedulers: each submits every run that is due, and keeps house.

use drs_model::Timestamp;
use drs_protocol::store::CreateAnswer;
use drs_protocol::upkeep::{Action, Event, Upkeep, UpkeepPace};

use super::World;
use crate::agenda::{Happening, Millis};
use crate::store::{Call, Reply};

#[derive(Debug)]
pub(super) struct Scheduler {
    upkeep: Upkeep,
    pub(super) frozen_until: Millis,
}

impl Scheduler {
    pub(super) fn new() -> Self {
        Self { upkeep: Upkeep::new(UpkeepPace::default(), Timestamp::UNIX_EPOCH), frozen_until: 0 }
    }
}

impl World<'_> {
    fn frozen(&mut self, scheduler: usize, what: Happening) -> bool {
        let until = self.schedulers[scheduler].frozen_until;
        let frozen = until > self.t;
        if frozen {
            self.agenda.at(until, what);
        }
        frozen
    }

    pub(super) fn submit(&mut self, scheduler: usize, job: usize) {
        let what = Happening::Submit { scheduler, job };
        if self.frozen(scheduler, what.clone()) {
            return;
        }
        if !self.store_up {
            return self.after(3_000..6_000, what);
        }
        self.create(job);
    }

    /// The record first, then the message.
    fn create(&mut self, job: usize) {
        let mut record = self.jobs[job].record.clone();
        if self.history.contains(&record.id) {
            return;
        }
        record.created_at = self.time();
        record.updated_at = record.created_at;
        record.state = drs_model::JobState::Queued { not_before: record.created_at };
        let id = record.id;
        self.jobs[job].submitted = true;
        let Reply::Created(answer) = self.ask(&Call::Create(Box::new(record.clone()))) else {
            return;
        };
        if answer == CreateAnswer::Created && self.publish(&record) {
            self.ask(&Call::Published(id));
        }
    }

    /// What is due and not known to be over is submitted once more: a store may have lost it.
    pub(super) fn anti_entropy(&mut self, scheduler: usize) {
        if self.frozen(scheduler, Happening::AntiEntropy(scheduler)) {
            return;
        }
        for job in 0..self.jobs.len() {
            if self.store_up && self.jobs[job].scheduled && self.jobs[job].due < self.t {
                self.create(job);
            }
        }
        self.after(55_000..65_000, Happening::AntiEntropy(scheduler));
    }

    pub(super) fn upkeep(&mut self, scheduler: usize) {
        if self.frozen(scheduler, Happening::Upkeep(scheduler)) {
            return;
        }
        let now = self.time();
        let mut events = vec![Event::Tick];
        while let Some(event) = events.pop() {
            for action in self.schedulers[scheduler].upkeep.step(now, event) {
                events.extend(self.keep_house(action));
            }
        }
        let next = self.schedulers[scheduler].upkeep.next_tick();
        let wait = next.duration_since(now).as_millis().max(1) as u64;
        self.after(wait..wait + 1, Happening::Upkeep(scheduler));
    }

    fn keep_house(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Reap(limit) => {
                let reaped = if self.store_up { self.ask(&Call::Reap(limit)) } else { NOTHING };
                let Reply::Reaped(jobs) = reaped else { return Some(Event::Reaped(Vec::new())) };
                Some(Event::Reaped(jobs))
            }
            Action::Sweep(stale, limit) => {
                let call = Call::Sweep { stale, limit };
                let swept = if self.store_up { self.ask(&call) } else { NOTHING };
                let Reply::Swept(jobs) = swept else { return Some(Event::Swept(Vec::new())) };
                Some(Event::Swept(jobs))
            }
            Action::Publish(job) => {
                if self.publish(&job) && self.store_up {
                    self.ask(&Call::Published(job.id));
                }
                None
            }
        }
    }

    /// The history keeps the ends of jobs, whatever becomes of the store.
    pub(super) fn record(&mut self) {
        if self.store_up {
            let over = self.store.jobs().into_iter().filter(|job| job.state.is_terminal());
            self.history.extend(over.map(|job| job.id));
        }
        self.after(8_000..12_000, Happening::Record);
    }
}

/// What a store that is down says.
const NOTHING: Reply = Reply::Published;
