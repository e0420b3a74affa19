//! Planning the counterpart before there is a point.

use async_trait::async_trait;
use drs_hypervisor::{ImportPlan, ImportRequest, VmDescription};
use drs_model::{Fault, RecoveryPoint, VmSpec};
use drs_protocol::session::StepPlan;
use drs_runtime::clock;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::saga::{Side, Step, StepContext, output};
use crate::sagas::restore;

/// What `foresee` hands on.
#[derive(Serialize, Deserialize)]
pub(super) struct Foreseen {
    /// The source as it was.
    pub(super) spec: VmSpec,
    /// The import that is right while the source stays so.
    pub(super) plan: ImportPlan,
}

/// The import is planned from what the source is now.
pub(super) struct Foresee;

#[async_trait]
impl Step for Foresee {
    fn plan(&self) -> StepPlan {
        StepPlan::free("foresee")
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let source = ctx.source()?;
        let (id, vm, kind) = (ctx.job.id.into(), source.grip.vm, source.driver.kind());
        let VmDescription { spec, native_config, .. } = source.driver.describe(&vm.name).await?;
        let point =
            RecoveryPoint::expected(id, vm, kind, spec.clone(), native_config, clock::now());
        let request = ImportRequest { point: &point, target: ctx.restore_target()? };
        let plan = ctx.driver(Side::Target)?.plan_import(ctx.job.id, &request).await?;
        restore::tell(ctx, &plan).await;
        output(&Foreseen { spec, plan })
    }
}

/// Removes what was made of the import that was foreseen; nothing when there was none yet.
pub(super) async fn remove(ctx: &StepContext) -> Result<(), Fault> {
    let Some(foreseen) = ctx.output_of::<Foreseen>("foresee")? else { return Ok(()) };
    let place = ctx.target()?;
    Ok(place.driver.remove_import(&place.grip, &foreseen.plan).await?)
}

/// Room is made for the import, before the source is frozen: a frozen disk costs its host space.
pub(super) struct Prepare;

#[async_trait]
impl Step for Prepare {
    fn plan(&self) -> StepPlan {
        StepPlan::held("prepare").volatile().provisional()
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let Foreseen { plan, .. } = ctx.needs("foresee")?;
        let place = ctx.target()?;
        place.driver.allocate(&place.grip, &plan).await?;
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        remove(ctx).await
    }
}
