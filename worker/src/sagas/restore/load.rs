//! Filling an import with an archive that the host loads.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use drs_hypervisor::ImportPlan;
use drs_model::Fault;
use drs_protocol::session::StepPlan;
use drs_transport::{Argv, Rates};
use drs_vault::StoredPoint;
use serde_json::Value;

use crate::saga::{Side, Step, StepContext, output};
use crate::sagas::copy::{SinkOutlet, VaultInlet, pump};
use crate::sagas::{ferry, staging};

/// The archive's name in the spool. On the host it has the name that its hypervisor wants.
const PACKED: &str = "packed";
/// The archive's name while it is made.
const PACKING: &str = "packing";

pub(super) fn steps() -> [Box<dyn Step>; 3] {
    [Box::new(Pack), Box::new(Push), Box::new(Load)]
}

struct Pack;

impl Pack {
    /// Makes the archive in the spool of this machine.
    async fn pack(ctx: &StepContext) -> Result<PathBuf, Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        let StoredPoint { manifest, .. } = ctx.vault.get(ctx.point()).await?;
        let unfinished = ctx.spool.file(ctx.job.id, PACKING).await?;
        let packed = ctx.spool.file(ctx.job.id, PACKED).await?;
        ctx.report.begin("pack", manifest.size_bytes());
        let mut source = VaultInlet::new(Arc::clone(&ctx.vault), &manifest);
        let place = ctx.target()?;
        let mut sink = SinkOutlet(staging(&place)?.pack(&plan, &unfinished).await?);
        pump(ctx, "pack", &Rates::default(), &mut source, &mut sink).await?;
        sink.0.finish().await?;
        let renamed = tokio::fs::rename(&unfinished, &packed).await;
        renamed.map_err(|error| Fault::spool(&unfinished, &error))?;
        Ok(packed)
    }

    /// The archive in the spool of this machine. An earlier worker may have packed it on another.
    async fn packed(ctx: &StepContext) -> Result<PathBuf, Fault> {
        let packed = ctx.spool.file(ctx.job.id, PACKED).await?;
        if tokio::fs::try_exists(&packed).await.unwrap_or(false) {
            return Ok(packed);
        }
        Self::pack(ctx).await
    }
}

#[async_trait]
impl Step for Pack {
    fn plan(&self) -> StepPlan {
        StepPlan::free("pack")
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        Self::pack(ctx).await?;
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        ctx.spool.clear(ctx.job.id).await
    }
}

struct Push;

#[async_trait]
impl Step for Push {
    fn plan(&self) -> StepPlan {
        StepPlan::free("push")
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        let local = Pack::packed(ctx).await?;
        let size_bytes = tokio::fs::metadata(&local).await.map_or(0, |found| found.len());
        let place = ctx.target()?;
        let staging = staging(&place)?;
        let path = staging.load_path(&place.grip, &plan, size_bytes).await?;
        ctx.report.begin("push", size_bytes);
        ferry::push(ctx, &staging.remote(), &local, &path).await?;
        ctx.report.info(format!("{path} has {size_bytes} bytes")).await;
        output(&path)
    }
}

struct Load;

#[async_trait]
impl Step for Load {
    fn plan(&self) -> StepPlan {
        StepPlan::detached("load")
    }

    fn side(&self) -> Side {
        Side::Target
    }

    fn command(&self, ctx: &StepContext) -> Result<Option<Argv>, Fault> {
        let (plan, path): (ImportPlan, String) = (ctx.needs("plan")?, ctx.needs("push")?);
        let place = ctx.target()?;
        let limit = ctx.limits.of_job();
        Ok(Some(staging(&place)?.load_command(&place.grip, &plan, &path, limit)))
    }

    fn tells_progress(&self) -> bool {
        true
    }

    fn progress(&self, ctx: &StepContext, log: &str) -> Option<(u64, u64)> {
        staging(&ctx.target().ok()?).ok()?.progress(log)
    }

    fn command_failed(&self, ctx: &StepContext, _code: i32, log: &str) -> Fault {
        let told = || {
            let (place, plan) = (ctx.target()?, ctx.needs::<ImportPlan>("plan")?);
            Ok(staging(&place)?.command_fault(&place.grip, Some(&plan), log))
        };
        told().unwrap_or_else(|fault| fault)
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        ctx.spool.clear(ctx.job.id).await?;
        Ok(Value::Null)
    }
}
