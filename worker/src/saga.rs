//! What a step is, and the narrow context it works in.

use std::sync::Arc;

use async_trait::async_trait;
use drs_hypervisor::Driver;
use drs_model::{Fault, Grip, Host, Job, JobKind, StepMark};
use drs_protocol::session::StepPlan;
use drs_transport::Argv;
use drs_vault::Vault;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::reporter::Reporter;

/// All that a step may touch.
#[derive(Clone)]
pub(crate) struct StepContext {
    /// The job, with the outputs of the steps before.
    pub(crate) job: Job,
    /// Recovery points.
    pub(crate) vault: Arc<dyn Vault>,
    /// The job's host and its driver; `None` for a job without a host.
    pub(crate) host: Option<(Host, Arc<dyn Driver>)>,
    /// Log and progress.
    pub(crate) report: Reporter,
}

impl StepContext {
    /// The driver of the job's host.
    pub(crate) fn driver(&self) -> Result<&dyn Driver, Fault> {
        match &self.host {
            Some((_, driver)) => Ok(driver.as_ref()),
            None => Err(Fault::internal("a step needs a host and the job has none")),
        }
    }

    /// Who asks, towards the host guard.
    pub(crate) fn grip(&self) -> Result<Grip, Fault> {
        match self.job.spec.vm() {
            Some(vm) => Ok(Grip { job: self.job.id, fence: self.job.fence, vm: vm.clone() }),
            None => Err(Fault::internal("a step needs a VM and the job has none")),
        }
    }

    /// What an earlier step handed on; `None` when it has not run.
    pub(crate) fn output_of<T: DeserializeOwned>(&self, step: &str) -> Result<Option<T>, Fault> {
        let done =
            |entry: &&drs_model::StepRecord| entry.step == step && entry.mark == StepMark::Done;
        let Some(record) = self.job.steps.iter().find(done) else { return Ok(None) };
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

    /// What it means that the command of a detached step ended with this exit code; `log` is the
    /// end of its output.
    fn command_failed(&self, code: i32, log: &str) -> Fault {
        Fault::internal(format!("a command ended with exit code {code}: {log}"))
    }
}

/// The steps of a job kind, and what the host does when the worker dies while it holds the VM.
pub(crate) struct Saga {
    pub(crate) steps: Vec<Box<dyn Step>>,
    pub(crate) at_loss: fn(&StepContext) -> Option<Argv>,
}

impl Saga {
    pub(crate) fn plan(&self) -> Vec<StepPlan> {
        self.steps.iter().map(|step| step.plan()).collect()
    }
}
