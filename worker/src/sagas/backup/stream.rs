//! The steps of a backup that are its own as a stream.

use async_trait::async_trait;
use drs_hypervisor::{Export, ExportEnd};
use drs_model::Fault;
use drs_protocol::session::StepPlan;
use drs_runtime::clock;
use serde_json::Value;

use super::{Copied, close, tell};
use crate::saga::{Step, StepContext, output};
use crate::sagas::copy::{HostInlet, VaultOutlet, discard, pump, total_bytes, watched};

pub(super) fn steps() -> [Box<dyn Step>; 3] {
    [Box::new(OpenExport), Box::new(Copy), Box::new(CloseExport)]
}

/// The contents are frozen at an instant and open.
pub(in crate::sagas) struct OpenExport;

#[async_trait]
impl Step for OpenExport {
    fn plan(&self) -> StepPlan {
        StepPlan::held("export").volatile()
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let place = ctx.source()?;
        let export = place.driver.open_export(&place.grip).await?;
        tell(ctx, &export).await;
        output(&export)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        close(ctx, ExportEnd::Abandoned).await
    }
}

struct Copy;

#[async_trait]
impl Step for Copy {
    fn plan(&self) -> StepPlan {
        StepPlan::held("copy").volatile()
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let place = ctx.source()?;
        let export: Export = ctx.needs("export")?;
        let contents = export.description.spec.contents();
        ctx.report.begin("copy", total_bytes(&contents));
        let mut vault = VaultOutlet::begin(ctx, contents).await?;
        let transfer = async {
            let mut source = HostInlet(place.driver.read(&place.grip, &export).await?);
            pump(ctx, "copy", &ctx.limits.reading(), &mut source, &mut vault).await
        };
        watched(&place, &export, transfer).await?;
        let disks = vault.finish(&ctx.report).await?;
        output(&Copied { disks, completed_at: clock::now() })
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        discard(ctx).await
    }
}

/// The export is ended and has served its purpose.
pub(in crate::sagas) struct CloseExport;

#[async_trait]
impl Step for CloseExport {
    fn plan(&self) -> StepPlan {
        StepPlan::held("close")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        close(ctx, ExportEnd::Complete).await?;
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        close(ctx, ExportEnd::Abandoned).await
    }
}
