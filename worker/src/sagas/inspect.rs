//! `inspect`: ask a host what it is and which VMs it has.

use async_trait::async_trait;
use drs_model::Fault;
use drs_protocol::session::StepPlan;
use serde_json::{Value, json};

use crate::saga::{Saga, Side, Step, StepContext};

pub(crate) fn saga() -> Saga {
    Saga { steps: vec![Box::new(Inspect)], at_loss: |_| None }
}

struct Inspect;

#[async_trait]
impl Step for Inspect {
    fn plan(&self) -> StepPlan {
        StepPlan::free("inspect")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let driver = ctx.driver(Side::Source)?;
        let report = driver.check().await?;
        for warning in &report.warnings {
            ctx.report.warn(warning).await;
        }
        let vms = driver.inventory().await?;
        ctx.report.info(format!("{}, {} VMs", report.hypervisor, vms.len())).await;
        Ok(json!({ "report": report, "vms": vms }))
    }
}
