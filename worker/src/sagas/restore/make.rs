//! Checking what was written and making a VM of it.

use async_trait::async_trait;
use drs_hypervisor::ImportPlan;
use drs_model::{Fault, FaultCode};
use drs_protocol::session::StepPlan;
use drs_transport::Argv;
use serde_json::Value;

use super::remove;
use crate::saga::{Side, Step, StepContext};

/// Longest piece of a check's output that is told.
const SAID_CHARS_MAX: usize = 500;

/// The host has checked what was written.
pub(super) struct Check;

#[async_trait]
impl Step for Check {
    fn plan(&self) -> StepPlan {
        StepPlan::detached("check")
    }

    fn side(&self) -> Side {
        Side::Target
    }

    fn command(&self, ctx: &StepContext) -> Result<Option<Argv>, Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        Ok(ctx.driver(Side::Target)?.check_command(&plan))
    }

    fn command_failed(&self, _ctx: &StepContext, code: i32, log: &str) -> Fault {
        let surplus = log.chars().count().saturating_sub(SAID_CHARS_MAX);
        let said: String = log.chars().skip(surplus).collect();
        Fault::transient(
            FaultCode::HypervisorFailed,
            format!("the host found the restored disks unsound (exit code {code}): {said}"),
            "The job restores them again; if it stays, check the host's storage.",
        )
    }

    async fn run(&self, _ctx: &StepContext) -> Result<Value, Fault> {
        Ok(Value::Null)
    }
}

/// The VM is there, off.
pub(super) struct Define;

#[async_trait]
impl Step for Define {
    fn plan(&self) -> StepPlan {
        StepPlan::held("define")
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        let place = ctx.target()?;
        place.driver.define(&place.grip, &plan).await?;
        let text = format!("{}/{} is defined", place.grip.vm.host, plan.made_as);
        ctx.report.info(text).await;
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        remove(ctx).await
    }
}
