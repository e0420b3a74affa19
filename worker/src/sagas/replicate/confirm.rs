//! Behind the barrier: go on with what the one pass has filled, or fill the counterpart from the vault.

use async_trait::async_trait;
use drs_model::Fault;
use drs_protocol::session::StepPlan;
use serde_json::Value;

use super::foresee::{self, Foreseen};
use super::pass::Passed;
use crate::saga::{Side, Step, StepContext, output};
use crate::sagas::restore::{self, Confirmed};

/// Name of the step whose undo removes what the one pass has filled.
const PLAN: &str = "plan";

/// It is known whether the import holds the point.
pub(super) struct Confirm;

#[async_trait]
impl Step for Confirm {
    fn plan(&self) -> StepPlan {
        StepPlan::free("confirm").volatile()
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let reached = ctx.output_of::<Passed>("copy")?.is_some_and(|passed| passed.reached);
        let begun_before = ctx.job.steps.iter().any(|entry| entry.step == PLAN);
        let filled = reached && !begun_before;
        if !filled {
            ctx.report.info("the counterpart is filled from the vault").await;
        }
        output(&Confirmed { filled })
    }
}

/// The plan of the import is settled.
pub(super) struct Settle;

#[async_trait]
impl Step for Settle {
    fn plan(&self) -> StepPlan {
        StepPlan::held(PLAN).volatile()
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        if restore::is_filled(ctx)? {
            let Foreseen { plan, .. } = ctx.needs("foresee")?;
            return output(&plan);
        }
        foresee::remove(ctx).await?;
        output(&restore::plan(ctx).await?)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        foresee::remove(ctx).await
    }
}
