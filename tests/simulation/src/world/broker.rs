//! The broker: messages that come at least once, as long as it does not lose them.

use std::collections::{BTreeMap, VecDeque};

use drs_model::Job;
use drs_protocol::store::JobMessage;

use super::World;
use crate::agenda::{Note, Peer, WorkerId};

#[derive(Debug)]
pub(super) struct Broker {
    pub(super) up: bool,
    pub(super) ready: VecDeque<JobMessage>,
    /// Delivered and not acknowledged, by delivery tag.
    pub(super) unacked: BTreeMap<u64, (WorkerId, JobMessage)>,
}

impl Default for Broker {
    fn default() -> Self {
        Self { up: true, ready: VecDeque::new(), unacked: BTreeMap::new() }
    }
}

impl World<'_> {
    /// Publishes a job's message. A message may be doubled, and it may be lost unconfirmed. `false` when
    /// it is not confirmed.
    pub(super) fn publish(&mut self, job: &Job) -> bool {
        if !self.broker.up {
            return false;
        }
        let troubled = !self.quiet && !self.scenario.faults.is_empty();
        if troubled && self.dice.percent(5) {
            self.count("message lost");
            return false;
        }
        self.broker.ready.push_back(job.into());
        if troubled && self.dice.percent(5) {
            self.count("message doubled");
            self.broker.ready.push_back(job.into());
        }
        self.wake_workers();
        !troubled || !self.dice.percent(3)
    }

    pub(super) fn publish_all(&mut self, jobs: &[Job]) {
        for job in jobs {
            self.publish(job);
        }
    }

    pub(super) fn wake_workers(&mut self) {
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            self.note(id, 1..200, Note::Poll);
        }
    }

    pub(super) fn ack(&mut self, worker: WorkerId, tag: u64) {
        if self.broker.up && !self.cuts.contains(&(worker, Peer::Broker)) {
            self.broker.unacked.remove(&tag);
        }
    }

    /// What a worker has not acknowledged comes again, to anybody.
    pub(super) fn requeue(&mut self, worker: WorkerId) {
        let unacked = std::mem::take(&mut self.broker.unacked);
        for (tag, (to, message)) in unacked {
            if to == worker {
                self.broker.ready.push_back(message);
            } else {
                self.broker.unacked.insert(tag, (to, message));
            }
        }
        self.wake_workers();
    }

    /// A message goes back to the queue at once.
    pub(super) fn return_message(&mut self, tag: u64) {
        if let Some((_, message)) = self.broker.unacked.remove(&tag) {
            self.broker.ready.push_back(message);
            self.wake_workers();
        }
    }
}
