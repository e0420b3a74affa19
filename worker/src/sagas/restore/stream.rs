//! Making room for an import and filling it as a stream.

use std::sync::Arc;

use async_trait::async_trait;
use drs_hypervisor::ImportPlan;
use drs_model::Fault;
use drs_protocol::session::StepPlan;
use drs_vault::StoredPoint;
use serde_json::Value;

use super::{is_filled, remove};
use crate::saga::{Side, Step, StepContext};
use crate::sagas::copy::{SinkOutlet, VaultInlet, pump};

/// Room is made for the import.
pub(in crate::sagas) struct Allocate {
    /// What is written then ends with the worker.
    pub(in crate::sagas) volatile: bool,
}

#[async_trait]
impl Step for Allocate {
    fn plan(&self) -> StepPlan {
        let plan = StepPlan::held("allocate");
        if self.volatile { plan.volatile() } else { plan }
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        if !is_filled(ctx)? {
            let plan: ImportPlan = ctx.needs("plan")?;
            let place = ctx.target()?;
            place.driver.allocate(&place.grip, &plan).await?;
        }
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        remove(ctx).await
    }
}

/// The import holds the point; the step has this name.
pub(in crate::sagas) struct Fill(pub(in crate::sagas) &'static str);

#[async_trait]
impl Step for Fill {
    fn plan(&self) -> StepPlan {
        StepPlan::held(self.0).volatile()
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        if is_filled(ctx)? {
            return Ok(Value::Null);
        }
        let plan: ImportPlan = ctx.needs("plan")?;
        let StoredPoint { manifest, .. } = ctx.vault.get(ctx.point()).await?;
        ctx.report.begin(self.0, manifest.size_bytes());
        let mut source = VaultInlet::new(Arc::clone(&ctx.vault), &manifest);
        let place = ctx.target()?;
        let mut sink = SinkOutlet(place.driver.write(&place.grip, &plan).await?);
        pump(ctx, self.0, &ctx.limits.writing(), &mut source, &mut sink).await?;
        sink.0.finish().await?;
        Ok(Value::Null)
    }
}
