//! What goes wrong, and how it is healed.

use std::collections::BTreeSet;

use drs_model::JobId;

use super::World;
use super::hosts::Work;
use crate::agenda::{Happening, Heal, Peer, WorkerId};
use crate::scenario::FaultKind;

impl World<'_> {
    pub(super) fn fault(&mut self) {
        if self.quiet {
            return;
        }
        let kinds = self.scenario.faults.clone();
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        if let (Some(kind), Some(worker)) =
            (self.dice.pick(&kinds).copied(), self.dice.pick(&ids).copied())
        {
            self.count(&format!("fault {kind:?}"));
            self.tell(|| format!("FAULT {kind:?} (worker w{worker})"));
            self.strike(kind, worker);
        }
        let mean = self.scenario.fault_every * 1000;
        self.after(100..mean * 2, Happening::Fault);
    }

    fn strike(&mut self, kind: FaultKind, worker: WorkerId) {
        let host = self.dice.between(0..self.hosts.len() as u64) as usize;
        match kind {
            FaultKind::Crash => self.exit(worker),
            FaultKind::Terminate => self.terminate(worker),
            FaultKind::Freeze => self.freeze(worker),
            FaultKind::StoreDown => {
                self.store_up = false;
                self.after(1_000..200_000, Happening::Heal(Heal::Store));
            }
            FaultKind::StoreWiped => {
                self.store.wipe();
                self.store_lost();
            }
            FaultKind::StoreRolledBack if self.saved => {
                self.store.roll_back();
                self.store_lost();
            }
            FaultKind::StoreRolledBack => {}
            FaultKind::ClockJump => {
                self.store_skew = self.dice.between(0..1_200_000) as i64 - 600_000;
                self.after(5_000..300_000, Happening::Heal(Heal::Clock));
            }
            FaultKind::BrokerDown => {
                self.broker.up = false;
                self.after(1_000..200_000, Happening::Heal(Heal::Broker));
            }
            FaultKind::BrokerWiped => {
                self.broker.ready.clear();
                self.broker.unacked.clear();
                self.oracle.owed.clear();
                self.excuse();
            }
            FaultKind::ChannelLost => self.requeue(worker),
            FaultKind::CutHost => self.cut(worker, Peer::Host(host)),
            FaultKind::CutStore => self.cut(worker, Peer::Store),
            FaultKind::CutBroker => {
                self.cut(worker, Peer::Broker);
                self.after(30_000..31_000, Happening::Requeue(worker));
            }
            FaultKind::Reboot => self.power_cut(host),
            FaultKind::HostDown => {
                self.power_cut(host);
                self.hosts[host].up = false;
                self.after(5_000..200_000, Happening::Heal(Heal::Host(host)));
            }
            FaultKind::SchedulerFrozen => {
                let n = self.dice.between(0..self.schedulers.len() as u64) as usize;
                self.schedulers[n].frozen_until = self.t + self.dice.between(5_000..400_000);
            }
            FaultKind::Migrate => self.migrate(),
        }
    }

    fn freeze(&mut self, id: WorkerId) {
        let nap = self.dice.between(5_000..400_000);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.frozen_until = self.t + nap;
        }
        if nap > 30_000 {
            self.after(30_000..31_000, Happening::Requeue(id));
        }
    }

    fn cut(&mut self, worker: WorkerId, peer: Peer) {
        self.cuts.insert((worker, peer));
        self.after(5_000..250_000, Happening::Heal(Heal::Cut(worker, peer)));
    }

    /// A VM goes elsewhere; the hypervisor refuses that while something works on it.
    fn migrate(&mut self) {
        let machine = self.dice.between(0..(self.location.len() / 2) as u64) as usize;
        let from = self.location[machine];
        let busy = self.hosts[from].vms[machine].units.iter().any(|unit| unit.work != Work::Hold);
        if !busy && self.hosts[from].up {
            self.location[machine] = (from + 1) % self.hosts.len();
        }
    }

    pub(super) fn save(&mut self) {
        if self.quiet || !self.scenario.faults.contains(&FaultKind::StoreRolledBack) {
            return;
        }
        if self.store_up {
            self.store.save();
            self.saved = true;
        }
        self.after(4_000..15_000, Happening::Save);
    }

    fn store_lost(&mut self) {
        let jobs = self.store.jobs();
        self.oracle.store_became(&jobs);
        let submitted = self.jobs.iter().filter(|job| job.submitted).map(|job| job.record.id);
        self.oracle.shaken.extend(submitted);
        // What the history has is over, and is not submitted again.
        for n in 0..self.jobs.len() {
            let id = self.jobs[n].record.id;
            if self.history.contains(&id) && !jobs.iter().any(|job| job.id == id) {
                self.oracle.excused.insert(id);
            }
        }
        self.excuse();
    }

    /// Jobs of which nobody knows any more: submitted by a person, lost by the store, and neither in a
    /// message nor in the hands of a worker.
    pub(super) fn excuse(&mut self) {
        let stored: BTreeSet<JobId> = self.store.jobs().iter().map(|job| job.id).collect();
        let unacked = self.broker.unacked.values().map(|(_, message)| message);
        let mut known: BTreeSet<JobId> =
            self.broker.ready.iter().chain(unacked).map(|message| message.id).collect();
        for worker in self.workers.values() {
            known.extend(worker.deliveries.values().map(|message| message.id));
            known.extend(worker.drives.values().map(|drive| drive.session.job().id));
        }
        known.extend(&self.oracle.owed);
        for job in &self.jobs {
            let id = job.record.id;
            let lost = job.submitted && !job.scheduled && !stored.contains(&id);
            if lost && !known.contains(&id) && !self.oracle.ended.contains_key(&id) {
                self.oracle.excused.insert(id);
            }
        }
    }

    pub(super) fn heal(&mut self, heal: &Heal) {
        match heal {
            Heal::Store => self.store_up = true,
            Heal::Clock => self.store_skew = 0,
            Heal::Broker => {
                self.broker.up = true;
                let ids: BTreeSet<WorkerId> =
                    self.broker.unacked.values().map(|(worker, _)| *worker).collect();
                ids.into_iter().for_each(|id| self.requeue(id));
                self.wake_workers();
            }
            Heal::Cut(worker, peer) => {
                self.cuts.remove(&(*worker, *peer));
                self.wake_workers();
            }
            Heal::Host(host) => self.hosts[*host].up = true,
            Heal::Worker => self.spawn(),
        }
    }

    /// No more faults: all is healed, what is late may still come.
    pub(super) fn fall_quiet(&mut self) {
        self.quiet = true;
        self.tell(|| "quiet".into());
        self.heal(&Heal::Store);
        self.heal(&Heal::Clock);
        self.heal(&Heal::Broker);
        (0..self.hosts.len()).for_each(|host| self.heal(&Heal::Host(host)));
        self.cuts.clear();
        let late = self.scenario.late.1 * 1000;
        self.after(late..late + 1_000, Happening::Probe);
    }
}
