//! Starting the new VM, with nothing or with an old VM at stake.

use async_trait::async_trait;
use drs_hypervisor::{DriverError, ImportPlan};
use drs_model::{Fault, FaultCode, PowerAction, PowerState};
use drs_protocol::session::StepPlan;
use serde_json::Value;

use crate::saga::{Side, Step, StepContext};

/// The new VM when it is to be started at this step: `displaces` tells whether one that has taken the
/// place of another is meant.
fn to_start(ctx: &StepContext, displaces: bool) -> Result<Option<ImportPlan>, Fault> {
    let plan: ImportPlan = ctx.needs("plan")?;
    let wanted = ctx.restore_target()?.start && plan.displaced().is_some() == displaces;
    Ok(wanted.then_some(plan))
}

async fn start(ctx: &StepContext, plan: &ImportPlan) -> Result<(), Fault> {
    let place = ctx.target()?;
    place.driver.power(&place.grip, &plan.name, PowerAction::Start).await?;
    ctx.report.info(format!("{}/{} is started", place.grip.vm.host, plan.name)).await;
    Ok(())
}

/// A VM that does not start stays: to restore once more would find its name taken.
fn there_but_off(ctx: &StepContext, plan: &ImportPlan, fault: Fault) -> Fault {
    let Ok(target) = ctx.restore_target() else { return fault };
    let vm = format!("{}/{}", target.vm.host, plan.name);
    Fault {
        message: format!("{vm} is there and could not be started: {}", fault.message),
        remedy: format!(
            "Do not restore again; when the reason is mended, start the VM with `drs power start \
             {vm}`. {}",
            fault.remedy
        )
        .trim_end()
        .to_owned(),
        ..fault
    }
}

async fn stop(ctx: &StepContext, plan: &ImportPlan) -> Result<(), Fault> {
    let place = ctx.target()?;
    match place.driver.power(&place.grip, &plan.name, PowerAction::Stop).await {
        Err(DriverError::VmNotFound { .. }) => Ok(()),
        stopped => Ok(stopped.map(drop)?),
    }
}

/// A new VM that stands for itself runs, when that was asked.
pub(super) struct Start;

#[async_trait]
impl Step for Start {
    fn plan(&self) -> StepPlan {
        StepPlan::held("start").keeping_rest()
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        if let Some(plan) = to_start(ctx, false)? {
            start(ctx, &plan).await.map_err(|fault| there_but_off(ctx, &plan, fault))?;
        }
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        match to_start(ctx, false)? {
            Some(plan) => stop(ctx, &plan).await,
            None => Ok(()),
        }
    }
}

/// A new VM that has taken the place of another has proven itself: it runs, or has passed its check when
/// it is not to be started.
pub(super) struct Prove;

#[async_trait]
impl Step for Prove {
    fn plan(&self) -> StepPlan {
        StepPlan::held("prove").barrier()
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let Some(plan) = to_start(ctx, true)? else { return Ok(Value::Null) };
        start(ctx, &plan).await?;
        ctx.crash_point("prove", "midway");
        let place = ctx.target()?;
        let power = place.driver.describe(&plan.name).await?.power;
        if power != PowerState::Running {
            return Err(Fault::transient(
                FaultCode::HypervisorFailed,
                format!("{}/{} was started and is {power}", place.grip.vm.host, plan.name),
                "The VM before is put back as it was; look at the new one's log on that host.",
            ));
        }
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        match to_start(ctx, true)? {
            Some(plan) => stop(ctx, &plan).await,
            None => Ok(()),
        }
    }
}
