//! A pair follows its counterpart to another name.

use async_trait::async_trait;
use drs_hypervisor::ImportPlan;
use drs_model::Fault;
use drs_protocol::session::StepPlan;
use serde_json::Value;

use crate::pairs::Adoption;
use crate::saga::{Side, Step, StepContext};

/// The pair's counterpart is the new VM.
pub(super) struct Adopt;

#[async_trait]
impl Step for Adopt {
    fn plan(&self) -> StepPlan {
        StepPlan::free("adopt")
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        let target = ctx.restore_target()?;
        let Some(pair) = &target.pair else { return Ok(Value::Null) };
        if plan.displaced().is_none() || plan.name == target.vm.name {
            return Ok(Value::Null);
        }
        match ctx.pairs.adopt(pair, &target.vm, &plan.name).await? {
            Adoption::Adopted => {
                let text = format!("the counterpart of pair {pair} is {} now", plan.name);
                ctx.report.info(text).await;
            }
            Adoption::LeftAlone => {
                let text = format!("pair {pair} was changed meanwhile and stays as it is");
                ctx.report.warn(text).await;
            }
        }
        Ok(Value::Null)
    }
}
