//! What people do: the plan of jobs, cancels, and decisions about jobs that wait for one.

use std::collections::BTreeSet;

use drs_model::{Job, JobId, JobSpec, JobState, Need, VmRef};
use drs_protocol::store::{CancelAnswer, RetryAnswer};

use super::hosts::Target;
use super::{Planned, World};
use crate::agenda::{Happening, Place};
use crate::kinds::Kind;
use crate::store::{Call, Reply};

/// Jobs that move data on a host at one time.
const HOST_SLOTS: u32 = 2;

fn host_name(host: usize) -> String {
    format!("host{host}")
}

fn target(place: Place) -> Target {
    let text = format!("{}/vm{}", host_name(place.host), place.machine);
    match text.parse::<VmRef>() {
        Ok(vm) => Target { place, vm },
        Err(error) => panic!("{text} is a VM: {error}"),
    }
}

impl World<'_> {
    pub(super) fn plan(&mut self, seed: u64) {
        let half = self.scenario.faulty_for * 500;
        for n in 0..self.scenario.jobs {
            let kind = *self.dice.pick(&Kind::WORK).unwrap_or(&Kind::Stream);
            let machine = self.dice.between(0..(self.location.len() / 2) as u64) as usize;
            let scheduled = self.dice.percent(70);
            let due = self.dice.between(0..half);
            self.add(seed, n, kind, machine, due, scheduled);
            let submitters = if scheduled { self.schedulers.len() } else { 1 };
            for scheduler in 0..submitters {
                let when = due + self.dice.between(0..1_000);
                self.agenda.at(when, Happening::Submit { scheduler, job: n });
            }
            if self.dice.percent(15) {
                let when = due + self.dice.between(500..300_000);
                self.agenda.at(when, Happening::Cancel(n));
            }
        }
    }

    fn add(&mut self, seed: u64, n: usize, kind: Kind, machine: usize, due: u64, scheduled: bool) {
        let here = Place { host: self.location[machine], machine };
        let copy = machine + self.location.len() / 2;
        let there = Place { host: (here.host + 1) % self.hosts.len(), machine: copy };
        self.location[copy] = there.host;
        let places: Vec<Target> = match kind {
            // The other way round, now and then, as a fail-back would take them.
            Kind::Replicate if n.is_multiple_of(3) => vec![target(there), target(here)],
            Kind::Replicate => vec![target(here), target(there)],
            _ => vec![target(here)],
        };
        let mut needs: Vec<Need> = places.iter().map(|t| Need::vm(t.vm.clone())).collect();
        let hosts: BTreeSet<_> = places.iter().map(|t| t.vm.host.clone()).collect();
        needs.extend(hosts.into_iter().map(|host| Need::host_slot(host, HOST_SLOTS)));
        if kind == Kind::Staged {
            needs.push(Need::dump_slot(places[0].vm.host.clone()));
        }
        let id = JobId::from_key(&format!("{seed}/{n}"));
        let spec = JobSpec::backup(places[0].vm.clone());
        let record = Job::new(id, spec, needs, self.time());
        self.index.insert(id, n);
        let submitted = false;
        self.jobs.push(Planned { record, kind, places, due, scheduled, submitted });
    }

    /// A person cancels a job, and insists until the store has heard it.
    pub(super) fn cancel(&mut self, job: usize) {
        if !self.store_up || !self.jobs[job].submitted {
            return self.after(5_000..15_000, Happening::Cancel(job));
        }
        let reply = self.ask(&Call::Cancel(self.jobs[job].record.id));
        match reply {
            Reply::Cancelled(CancelAnswer::Cancelled { woken }) => self.publish_all(&woken),
            Reply::Cancelled(CancelAnswer::Asked { publish: Some(job) }) => {
                self.publish(&job);
            }
            _ => {}
        }
    }

    /// A person decides that every job that waits for a decision goes on.
    pub(super) fn operator(&mut self) {
        if self.store_up {
            let waiting: Vec<JobId> = self
                .store
                .jobs()
                .into_iter()
                .filter(|job| job.state == JobState::NeedsOperator)
                .map(|job| job.id)
                .collect();
            for id in waiting {
                self.count("operator decided");
                if let Reply::Retried(RetryAnswer::Woken(job)) = self.ask(&Call::Retry(id)) {
                    self.publish(&job);
                }
            }
        }
        self.after(40_000..80_000, Happening::Operator);
    }

    /// One job for each VM, when everything else should be over.
    pub(super) fn probe(&mut self) {
        self.probed = true;
        let (first, seed) = (self.jobs.len(), self.jobs.first().map(|job| job.record.id));
        for machine in 0..self.location.len() / 2 {
            let n = first + machine;
            let due = self.t;
            self.add(
                seed.map_or(0, |id| id.0.as_u128() as u64),
                n,
                Kind::Probe,
                machine,
                due,
                true,
            );
            self.agenda.at(due, Happening::Submit { scheduler: 0, job: n });
        }
    }
}
