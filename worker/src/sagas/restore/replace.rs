//! Taking the place of another VM: put it aside, exchange the names, and in the end destroy it.

use std::time::Duration;

use async_trait::async_trait;
use drs_hypervisor::{DriverError, ImportPlan, ReplacedVm, VmDescription};
use drs_model::{Fault, FaultClass, FaultCode, PowerAction, PowerState, ReplacePolicy};
use drs_protocol::session::StepPlan;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::saga::{Place, Side, Step, StepContext, output};

/// A shutdown that fails after so long has failed because the guest did not do it; one that fails sooner
/// was not even asked for.
const DEAF_AFTER: Duration = Duration::from_secs(60);

/// What `aside` hands on.
#[derive(Serialize, Deserialize)]
struct PutAside {
    /// The old VM ran before.
    ran: bool,
}

/// The old VM under the name that it has before the exchange; `None` when it is gone or another VM has
/// that name by now.
async fn find(place: &Place, old: &ReplacedVm) -> Result<Option<VmDescription>, Fault> {
    match place.driver.describe(&old.name).await {
        Ok(found) => Ok(Some(found).filter(|found| found.spec.native_id == old.native_id)),
        Err(DriverError::VmNotFound { .. }) => Ok(None),
        Err(error) => Err(error.fault()),
    }
}

/// The old VM is off.
pub(super) struct Aside;

impl Aside {
    /// Shuts the old VM down, unless it is a copy that was to be off: one that runs may serve by now.
    async fn shut_down(ctx: &StepContext, old: &ReplacedVm) -> Result<bool, Fault> {
        let place = ctx.target()?;
        let host = &place.grip.vm.host;
        let Some(found) = find(&place, old).await? else {
            return Err(Fault::transient(
                FaultCode::InUse,
                format!("{host}/{} is not the VM any more that was to be replaced", old.name),
                "The job plans anew with what is there now.",
            ));
        };
        if found.power == PowerState::Off {
            return Ok(false);
        }
        if old.policy == ReplacePolicy::RefreshCopy {
            return Err(Fault::permanent(
                FaultCode::InUse,
                format!("the copy {host}/{} is {}: it is not replaced", old.name, found.power),
                "If it is not needed, shut it down and give the command again (with another `--key`, if it \
                 had one).",
            ));
        }
        ctx.report.info(format!("shutting down {host}/{}", old.name)).await;
        let asked = tokio::time::Instant::now();
        let switched = place.driver.power(&place.grip, &old.name, PowerAction::Shutdown).await;
        switched.map(|_| true).map_err(|error| match asked.elapsed() >= DEAF_AFTER {
            true => undecided(error.fault(), &place, old),
            false => error.fault(),
        })
    }
}

/// A guest that does not shut down may be in the midst of its work: only a person can say that its power
/// may be cut. What was restored so far stays for the time of the decision.
fn undecided(fault: Fault, place: &Place, old: &ReplacedVm) -> Fault {
    if fault.code != FaultCode::HypervisorFailed {
        return fault;
    }
    let name = format!("{}/{}", place.grip.vm.host, old.name);
    Fault::new(
        FaultClass::NeedsOperator,
        fault.code,
        format!("the new VM is ready, but {name} does not shut down: {}", fault.message),
        format!(
            "Shut {name} down or switch it off yourself, on its host; then `drs job retry` puts the new \
             VM in its place. `drs job cancel` takes the new VM back and leaves {name} as it is."
        ),
    )
}

#[async_trait]
impl Step for Aside {
    fn plan(&self) -> StepPlan {
        StepPlan::held("aside")
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        let Some(old) = plan.displaced() else { return Ok(Value::Null) };
        // When an earlier worker has shut it down already, the plan knows that it ran.
        let ran = Self::shut_down(ctx, old).await? || old.running;
        ctx.crash_point("aside", "midway");
        output(&PutAside { ran })
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        let Some(old) = plan.displaced() else { return Ok(()) };
        let ran = ctx.output_of::<PutAside>("aside")?.map_or(old.running, |aside| aside.ran);
        let place = ctx.target()?;
        if !ran {
            return Ok(());
        }
        match find(&place, old).await? {
            Some(found) if found.power == PowerState::Off => {
                place.driver.power(&place.grip, &old.name, PowerAction::Start).await?;
                let text = format!("{}/{} runs again", place.grip.vm.host, old.name);
                ctx.report.info(text).await;
            }
            Some(_) => {}
            None => ctx.report.warn(format!("{} is not there any more", old.name)).await,
        }
        Ok(())
    }
}

/// The new VM has its final name.
pub(super) struct Exchange;

#[async_trait]
impl Step for Exchange {
    fn plan(&self) -> StepPlan {
        StepPlan::held("exchange")
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        if let Some(old) = plan.displaced() {
            let place = ctx.target()?;
            place.driver.exchange(&place.grip, &plan).await?;
            let text = format!("{} is in its place, the old VM is {}", plan.name, old.aside);
            ctx.report.info(text).await;
        }
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        if plan.displaced().is_some() {
            let place = ctx.target()?;
            place.driver.exchange_back(&place.grip, &plan).await?;
        }
        Ok(())
    }
}

/// The old VM is gone, if that is its policy.
pub(super) struct Destroy;

#[async_trait]
impl Step for Destroy {
    fn plan(&self) -> StepPlan {
        StepPlan::held("destroy")
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        let Some(old) = plan.displaced() else { return Ok(Value::Null) };
        let place = ctx.target()?;
        let name = format!("{}/{}", place.grip.vm.host, old.aside);
        if old.policy.destroys() {
            place.driver.destroy_displaced(&place.grip, &plan).await?;
            ctx.report.info(format!("{name}, the VM before, is destroyed")).await;
        } else {
            ctx.report.info(format!("{name}, the VM before, is kept, off")).await;
        }
        Ok(Value::Null)
    }
}
