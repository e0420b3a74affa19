//! `power`: start, shut down or stop a VM.

use async_trait::async_trait;
use drs_model::{Fault, JobSpec};
use drs_protocol::session::StepPlan;
use serde_json::{Value, json};

use crate::saga::{Saga, Step, StepContext};

pub(crate) fn saga() -> Saga {
    Saga { steps: vec![Box::new(Switch)], at_loss: |_| None }
}

struct Switch;

#[async_trait]
impl Step for Switch {
    fn plan(&self) -> StepPlan {
        StepPlan::held("switch")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let JobSpec::Power { vm, action } = &ctx.job.spec else {
            return Err(Fault::internal("a power step in a job of another kind"));
        };
        let place = ctx.source()?;
        let state = place.driver.power(&place.grip, &vm.name, *action).await?;
        ctx.report.info(format!("{vm} is {state}")).await;
        Ok(json!({ "power": state }))
    }
}
