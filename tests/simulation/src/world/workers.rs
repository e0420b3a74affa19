//! Workers: they take messages, claim jobs and give each to a session.

use std::collections::BTreeMap;

use drs_model::SignedDuration;
use drs_protocol::session::{Event, Pace, Session};
use drs_protocol::store::{ClaimAnswer, JobMessage};

use super::drives::Drive;
use super::{Guard, World};
use crate::agenda::{DriveId, Happening, Millis, Note, Peer, Purpose, StoreCall, WorkerId};
use crate::store::Call;

/// How long a lease lasts.
pub(super) const TTL: SignedDuration = SignedDuration::from_secs(60);
/// Jobs that a worker drives at one time.
const SLOTS: usize = 2;

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) frozen_until: Millis,
    pub(super) stopping: bool,
    /// Messages whose claim is under way, by delivery tag.
    pub(super) deliveries: BTreeMap<u64, JobMessage>,
    pub(super) drives: BTreeMap<DriveId, Drive>,
}

impl World<'_> {
    pub(super) fn spawn(&mut self) {
        let id = self.next_serial() as WorkerId;
        let worker = Worker {
            name: format!("w{id}"),
            frozen_until: 0,
            stopping: false,
            deliveries: BTreeMap::new(),
            drives: BTreeMap::new(),
        };
        self.workers.insert(id, worker);
        self.note(id, 10..500, Note::Poll);
    }

    /// Brings news to a worker: a dead one gets none, a frozen one when it thaws.
    pub(super) fn inform(&mut self, id: WorkerId, note: Note) {
        let Some(worker) = self.workers.get(&id) else { return };
        if worker.frozen_until > self.t {
            let when = worker.frozen_until;
            return self.agenda.at(when, Happening::ToWorker(id, note));
        }
        match note {
            Note::Poll => self.poll(id),
            Note::ClaimAnswered { tag, answer } => self.claim_answered(id, tag, answer),
            Note::Event { drive, serial, event } => {
                if serial.is_none() || self.activity_of(id, drive) == serial {
                    if serial.is_some() {
                        self.activity_over(id, drive);
                    }
                    self.happened(id, drive, event);
                }
            }
            Note::Tick(drive) => self.tick(id, drive),
            Note::AskAgain(call) => self.ask_again(call),
            Note::Guarded { drive, serial, place, unit, answer } => {
                self.guarded(id, drive, serial, place, unit, answer);
            }
            Note::Serving { drive, serial } => self.serving(id, drive, serial),
            Note::TimedOut { drive, serial } => self.timed_out(id, drive, serial),
            Note::Follow { drive, serial } => self.follow(id, drive, serial),
            Note::HoldLost { drive, unit } => self.hold_lost(id, drive, unit),
            Note::Exit => self.exit(id),
        }
    }

    /// Takes a message while a slot is free.
    fn poll(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let busy = worker.drives.len() + worker.deliveries.len() >= SLOTS;
        let cut = self.cuts.contains(&(id, Peer::Broker));
        if busy || worker.stopping || !self.broker.up || cut {
            return;
        }
        let Some(message) = self.broker.ready.pop_front() else { return };
        let tag = self.next_serial();
        self.broker.unacked.insert(tag, (id, message.clone()));
        if self.lacks(Guard::LateAck) {
            self.ack(id, tag);
        }
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.deliveries.insert(tag, message.clone());
        let name = worker.name.clone();
        let call = Call::Claim { message: Box::new(message), worker: name, ttl: TTL };
        self.send_call(StoreCall { from: id, purpose: Purpose::Claim { tag }, call });
        self.note(id, 10..200, Note::Poll);
    }

    fn claim_answered(&mut self, id: WorkerId, tag: u64, answer: Option<ClaimAnswer>) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.deliveries.remove(&tag);
        match answer {
            None => self.return_message(tag),
            Some(ClaimAnswer::Claimed(job)) => {
                let plan = self.planned(job.id).kind.plan();
                let session = Session::new(*job, plan, Pace::default(), self.time());
                let drive = self.next_serial();
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.drives.insert(drive, Drive::new(session, tag));
                }
                self.happened(id, drive, Event::Tick);
                if self.workers.get(&id).is_some_and(|worker| worker.stopping) {
                    self.happened(id, drive, Event::Stop);
                }
            }
            Some(ClaimAnswer::Parked { woken, .. }) => {
                self.publish_all(&woken);
                self.ack(id, tag);
            }
            Some(ClaimAnswer::Leased { .. } | ClaimAnswer::Waiting | ClaimAnswer::Done(_)) => {
                self.ack(id, tag);
            }
        }
        self.note(id, 1..50, Note::Poll);
    }

    /// A worker hands every job over and goes, with whatever it could not hand over in time.
    pub(super) fn terminate(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.stopping = true;
        let drives: Vec<DriveId> = worker.drives.keys().copied().collect();
        for drive in drives {
            self.happened(id, drive, Event::Stop);
        }
        self.note(id, 3_000..3_100, Note::Exit);
    }

    /// A worker's process ends: its connections close, its messages come again.
    pub(super) fn exit(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.remove(&id) else { return };
        let owed = worker.deliveries.values().map(|message| message.id);
        self.oracle.owed.extend(owed);
        let name = worker.name;
        self.tell(|| format!("{name} is gone"));
        self.after(500..20_000, Happening::Requeue(id));
        self.after(1_000..60_000, Happening::Heal(crate::agenda::Heal::Worker));
        self.excuse();
    }
}
