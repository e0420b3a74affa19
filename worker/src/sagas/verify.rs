//! `verify`: re-read a recovery point and compare it with its manifest.

use async_trait::async_trait;
use drs_model::{Fault, FaultCode, PointId};
use drs_protocol::session::StepPlan;
use drs_runtime::clock;
use serde_json::{Value, json};

use crate::saga::{Saga, Step, StepContext};

pub(crate) fn saga() -> Saga {
    Saga { steps: vec![Box::new(Verify)], at_loss: |_| None }
}

struct Verify;

fn point(ctx: &StepContext) -> Result<PointId, Fault> {
    ctx.job.spec.point().ok_or_else(|| Fault::internal("a verify job without a point"))
}

#[async_trait]
impl Step for Verify {
    fn plan(&self) -> StepPlan {
        StepPlan::free("verify")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let id = point(ctx)?;
        let stored = ctx.vault.get(id).await?;
        let total_bytes = stored.manifest.stored_bytes();
        ctx.report.begin("verify", total_bytes);
        let report = ctx
            .vault
            .verify(id, clock::now(), &|read| {
                ctx.report.progress(|progress| {
                    progress.done_bytes = read;
                    progress.moved_bytes = read;
                });
            })
            .await?;
        for damage in &report.damage {
            ctx.report.error(damage).await;
        }
        match report.damage.first() {
            None => Ok(json!({ "read_bytes": report.read_bytes })),
            Some(first) => Err(Fault::permanent(
                FaultCode::PointDamaged,
                format!("recovery point {id} is damaged: {first}"),
                "Do not trust this point: restore another one (`drs point list`) and check the vault's disk.",
            )),
        }
    }
}
