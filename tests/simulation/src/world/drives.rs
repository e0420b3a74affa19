//! One claimed job in a worker: what its session decides is done, as the product's worker does it.

use drs_model::SignedDuration;
use drs_protocol::session::{Action, Event, Session};
use drs_protocol::store::SettleAnswer;

use super::World;
use super::workers::TTL;
use crate::agenda::{DriveId, Note, Place, Purpose, Serial, StoreCall, WorkerId};
use crate::store::{Call, Driver};

/// A session and what it has going.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) session: Session,
    pub(super) tag: u64,
    pub(super) activity: Option<Activity>,
    /// The holds that were taken: where, and the unit on the host.
    pub(super) held: Vec<(Place, u64)>,
    /// When the next tick was ordered for.
    ticks_at: u64,
}

impl Drive {
    pub(super) fn new(session: Session, tag: u64) -> Self {
        Self { session, tag, activity: None, held: Vec::new(), ticks_at: 0 }
    }
}

/// What a drive does on a host, one thing at a time.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    pub(super) serial: Serial,
    pub(super) what: Doing,
    /// The host has answered.
    pub(super) answered: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Doing {
    /// Taking the holds, the next one is this.
    Holding(usize),
    Running(usize),
    Undoing(usize),
}

impl World<'_> {
    pub(super) fn drive(&self, worker: WorkerId, drive: DriveId) -> Option<&Drive> {
        self.workers.get(&worker)?.drives.get(&drive)
    }

    pub(super) fn drive_mut(&mut self, worker: WorkerId, drive: DriveId) -> Option<&mut Drive> {
        self.workers.get_mut(&worker)?.drives.get_mut(&drive)
    }

    /// Tells a session what happened and does what it wants.
    pub(super) fn happened(&mut self, worker: WorkerId, id: DriveId, event: Event) {
        if let Event::Settled(SettleAnswer::Settled { woken }) = &event {
            self.publish_all(woken);
        }
        let now = self.time();
        let Some(drive) = self.drive_mut(worker, id) else { return };
        let told = event.clone();
        let actions = drive.session.step(now, event);
        let job = drive.session.job().id;
        self.tell(|| format!("w{worker} drive {id} {job}: {told:?} -> {actions:?}"));
        for action in actions {
            self.perform(worker, id, action);
        }
        self.order_tick(worker, id);
    }

    fn order_tick(&mut self, worker: WorkerId, id: DriveId) {
        let now = self.time();
        let t = self.t;
        let Some(drive) = self.drive_mut(worker, id) else { return };
        let wait = drive.session.next_tick().duration_since(now).max(SignedDuration::ZERO);
        let when = t + wait.as_millis() as u64;
        if drive.ticks_at < t || when < drive.ticks_at {
            drive.ticks_at = when.max(t + 1);
            let wait = drive.ticks_at - t;
            self.note(worker, wait..wait + 1, Note::Tick(id));
        }
    }

    pub(super) fn tick(&mut self, worker: WorkerId, id: DriveId) {
        let t = self.t;
        let Some(drive) = self.drive_mut(worker, id) else { return };
        drive.ticks_at = t.saturating_sub(1);
        self.happened(worker, id, Event::Tick);
    }

    fn perform(&mut self, worker: WorkerId, id: DriveId, action: Action) {
        let Some(drive) = self.drive_mut(worker, id) else { return };
        match action {
            Action::Hold => self.begin_activity(worker, id, Doing::Holding(0)),
            Action::Run(n) => self.begin_activity(worker, id, Doing::Running(n)),
            Action::Undo(n) => self.begin_activity(worker, id, Doing::Undoing(n)),
            Action::Abort => drive.activity = None,
            Action::Release => self.release_holds(worker, id),
            Action::Ack => {
                let tag = drive.tag;
                self.ack(worker, tag);
            }
            Action::End => self.end(worker, id),
            Action::Log(record) => {
                self.call_of(worker, id, true, |who, _| Call::Log { who, record });
            }
            Action::Beat { accepted } => {
                self.call_of(worker, id, false, |who, _| Call::Beat { who, ttl: TTL, accepted });
            }
            Action::Reassert => self.call_of(worker, id, true, |who, session| Call::Reassert {
                known: Box::new(session.job().clone()),
                worker: who.worker,
                ttl: TTL,
            }),
            Action::Refence(seen) => {
                self.call_of(worker, id, true, |who, _| Call::Refence { who, seen });
            }
            Action::Finish(outcome) => {
                self.call_of(worker, id, true, |who, _| Call::Finish { who, outcome });
            }
            Action::HandOver(how) => {
                self.call_of(worker, id, true, |who, _| Call::HandOver { who, how });
            }
        }
    }

    fn call_of(
        &mut self,
        worker: WorkerId,
        drive: DriveId,
        insist: bool,
        call: impl FnOnce(Driver, &Session) -> Call,
    ) {
        let Some(session) = self.drive(worker, drive).map(|drive| &drive.session) else { return };
        let who = Driver {
            job: session.job().id,
            worker: format!("w{worker}"),
            fence: session.job().fence,
        };
        let call = call(who, session);
        self.send_call(StoreCall { from: worker, purpose: Purpose::Drive { drive, insist }, call });
    }

    /// The session is over; a hold that is still there is dropped with its connection.
    fn end(&mut self, worker: WorkerId, id: DriveId) {
        self.note(worker, 1..50, Note::Poll);
        let Some(of) = self.workers.get_mut(&worker) else { return };
        let Some(drive) = of.drives.remove(&id) else { return };
        let (job, name) = (drive.session.job().id, of.name.clone());
        if self.oracle.relieved.remove(&(job, name)) {
            // What the store lost after it had confirmed may be known to nobody now.
            self.excuse();
        } else if !self.oracle.ended.contains_key(&job)
            && !self.store.jobs().iter().any(|known| known.id == job)
        {
            // Who knew the job last has to see that somebody knows it.
            self.oracle.owed.insert(job);
        }
    }
}
