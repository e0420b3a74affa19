//! What a step is, and the narrow context it works in.

use std::sync::Arc;

use async_trait::async_trait;
use drs_hypervisor::Driver;
use drs_model::{Fault, Grip, Job, JobKind, PointId, RestoreTarget, StepMark};
use drs_protocol::session::{StepMode, StepPlan};
use drs_transport::Argv;
use drs_vault::Vault;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::children::Children;
use crate::limits::Limits;
use crate::pairs::Pairs;
use crate::reporter::Reporter;
use crate::spool::Spool;

/// One of the VMs of a job. A job that has one VM, or only a host, has it on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// What is read: the VM of every job but for the counterpart of a replication.
    Source,
    /// What is made.
    Target,
}

/// The drivers of a job's hosts; none for a job without a host.
#[derive(Clone, Default)]
pub(crate) struct Hosts {
    pub(crate) source: Option<Arc<dyn Driver>>,
    pub(crate) target: Option<Arc<dyn Driver>>,
}

impl Hosts {
    pub(crate) fn driver(&self, side: Side) -> Option<&Arc<dyn Driver>> {
        match side {
            Side::Source => self.source.as_ref(),
            Side::Target => self.target.as_ref(),
        }
    }
}

/// A VM of the job on its host, and who asks there.
pub(crate) struct Place {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) grip: Grip,
}

/// All that a step may touch.
#[derive(Clone)]
pub(crate) struct StepContext {
    /// The job, with the outputs of the steps before.
    pub(crate) job: Job,
    /// Recovery points.
    pub(crate) vault: Arc<dyn Vault>,
    /// The hosts.
    pub(crate) hosts: Hosts,
    /// How fast data may be moved.
    pub(crate) limits: Limits,
    /// Archives on their way.
    pub(crate) spool: Spool,
    /// The pair that gets a new counterpart.
    pub(crate) pairs: Pairs,
    /// The jobs that this one submits.
    pub(crate) children: Children,
    /// Log and progress.
    pub(crate) report: Reporter,
}

impl StepContext {
    /// The driver of the job's host.
    pub(crate) fn driver(&self, side: Side) -> Result<&Arc<dyn Driver>, Fault> {
        let missing = || Fault::internal("a step needs a host and the job has none");
        self.hosts.driver(side).ok_or_else(missing)
    }

    /// A VM of the job on its host.
    pub(crate) fn place(&self, side: Side) -> Result<Place, Fault> {
        let spec = &self.job.spec;
        let vm = match side {
            Side::Source => spec.vm(),
            Side::Target => spec.counterpart().or_else(|| spec.vm()),
        };
        let vm = vm.ok_or_else(|| Fault::internal("a step needs a VM and the job has none"))?;
        let grip = Grip { job: self.job.id, fence: self.job.fence, vm: vm.clone() };
        Ok(Place { driver: Arc::clone(self.driver(side)?), grip })
    }

    /// The VM that is read.
    pub(crate) fn source(&self) -> Result<Place, Fault> {
        self.place(Side::Source)
    }

    /// The VM that is made.
    pub(crate) fn target(&self) -> Result<Place, Fault> {
        self.place(Side::Target)
    }

    /// The point that the job restores: its own, when it makes it itself.
    pub(crate) fn point(&self) -> PointId {
        self.job.spec.point().unwrap_or_else(|| self.job.id.into())
    }

    /// Where the job restores to.
    pub(crate) fn restore_target(&self) -> Result<&RestoreTarget, Fault> {
        let missing = || Fault::internal("a restore step in a job that restores nothing");
        self.job.spec.restore_target().ok_or_else(missing)
    }

    /// What an earlier step handed on; `None` when it has not run, or nothing of it is known but its end.
    pub(crate) fn output_of<T: DeserializeOwned>(&self, step: &str) -> Result<Option<T>, Fault> {
        let done =
            |entry: &&drs_model::StepRecord| entry.step == step && entry.mark == StepMark::Done;
        let record = self.job.steps.iter().find(done).filter(|record| !record.output.is_null());
        let Some(record) = record else { return Ok(None) };
        serde_json::from_value(record.output.clone()).map(Some).map_err(|error| {
            Fault::internal(format!("the output of step {step} cannot be read: {error}"))
        })
    }

    /// What an earlier step handed on.
    pub(crate) fn needs<T: DeserializeOwned>(&self, step: &str) -> Result<T, Fault> {
        self.output_of(step)?
            .ok_or_else(|| Fault::internal(format!("step {step} has not left its output")))
    }

    pub(crate) fn crash_point(&self, step: &str, moment: &str) {
        crate::crash::point(self.kind(), step, moment);
    }

    pub(crate) fn kind(&self) -> JobKind {
        self.job.spec.kind()
    }
}

/// A step's output as it is logged.
pub(crate) fn output<T: Serialize>(value: &T) -> Result<Value, Fault> {
    serde_json::to_value(value)
        .map_err(|error| Fault::internal(format!("a step's output cannot be written: {error}")))
}

/// One idempotent step of a saga.
#[async_trait]
pub(crate) trait Step: Send + Sync {
    /// Its name and how it works with the guard.
    fn plan(&self) -> StepPlan;

    /// The VM whose guard it works under.
    fn side(&self) -> Side {
        Side::Source
    }

    /// Does it, also when it was done before in part or in full. For a detached step: runs after its
    /// command has ended with exit code 0.
    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault>;

    /// Takes it back, also when it was done in part or not at all.
    async fn undo(&self, _ctx: &StepContext) -> Result<(), Fault> {
        Ok(())
    }

    /// The command of a detached step; `None` when this job has nothing to run there.
    fn command(&self, _ctx: &StepContext) -> Result<Option<Argv>, Fault> {
        Ok(None)
    }

    /// Whether the output of a detached step's command tells how far it is.
    fn tells_progress(&self) -> bool {
        false
    }

    /// How far the command of a detached step is, done and total bytes, from its output so far (of a
    /// long one, from its end).
    fn progress(&self, _ctx: &StepContext, _log: &str) -> Option<(u64, u64)> {
        None
    }

    /// What it means that the command of a detached step ended with this exit code; `log` is the
    /// end of its output.
    fn command_failed(&self, _ctx: &StepContext, code: i32, log: &str) -> Fault {
        Fault::internal(format!("a command ended with exit code {code}: {log}"))
    }
}

/// The steps of a job kind, and what the source's host does when the worker dies while it holds the VM.
pub(crate) struct Saga {
    pub(crate) steps: Vec<Box<dyn Step>>,
    pub(crate) at_loss: fn(&StepContext) -> Option<Argv>,
}

impl Saga {
    pub(crate) fn plan(&self) -> Vec<StepPlan> {
        self.steps.iter().map(|step| step.plan()).collect()
    }

    /// The VMs that are to be held: those of the held steps that may still run or be undone, which
    /// are those behind the last barrier that was reached.
    pub(crate) fn held(&self, job: &Job) -> Vec<Side> {
        if job.spec.counterpart().is_none() {
            return vec![Side::Source];
        }
        let passed = |step: &dyn Step| {
            let plan = step.plan();
            let done = |entry: &drs_model::StepRecord| {
                entry.step == plan.name && entry.mark == StepMark::Done
            };
            plan.barrier && job.steps.iter().any(done)
        };
        let barrier = self.steps.iter().rposition(|step| passed(step.as_ref()));
        let open = self.steps.iter().skip(barrier.map_or(0, |n| n + 1));
        let held: Vec<Side> = open
            .filter(|step| step.plan().mode == StepMode::Held)
            .map(|step| step.side())
            .collect();
        [Side::Source, Side::Target].into_iter().filter(|side| held.contains(side)).collect()
    }
}
