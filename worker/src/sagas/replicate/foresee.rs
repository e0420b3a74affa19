//! Planning the counterpart before there is a point.

use async_trait::async_trait;
use drs_hypervisor::{ImportPlan, ImportRequest, VmDescription};
use drs_model::{Consistency, Content, DiskContent, Fault, RecoveryPoint, VmSpec};
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

impl Foresee {
    /// The point as it would be if the source had nothing but zeros.
    fn provisional(ctx: &StepContext, description: VmDescription) -> Result<RecoveryPoint, Fault> {
        let VmDescription { spec, native_config, .. } = description;
        let source = ctx.source()?;
        let now = clock::now();
        let empty = |content: Content| DiskContent {
            name: content.name,
            size_bytes: content.size_bytes.unwrap_or(0),
            data_bytes: 0,
            stored_bytes: 0,
            digest: String::new(),
        };
        Ok(RecoveryPoint {
            id: ctx.job.id.into(),
            source: source.grip.vm,
            hypervisor: source.driver.kind(),
            consistent_at: now,
            completed_at: now,
            consistency: Consistency::Crash,
            disks: spec.contents().into_iter().map(empty).collect(),
            spec,
            native_config,
        })
    }
}

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
        let description = source.driver.describe(&source.grip.vm.name).await?;
        let spec = description.spec.clone();
        let point = Self::provisional(ctx, description)?;
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
