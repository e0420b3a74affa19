//! The steps of a backup that are its own when it is staged.

use std::path::PathBuf;

use async_trait::async_trait;
use drs_hypervisor::{ExportEnd, StagedArchive};
use drs_model::{Fault, FaultCode};
use drs_protocol::session::StepPlan;
use drs_runtime::clock;
use drs_transport::{Argv, Rates};
use serde_json::Value;

use super::{Copied, close, export_in, tell};
use crate::saga::{Step, StepContext, output};
use crate::sagas::copy::{HostInlet, VaultOutlet, discard, pump, total_bytes};
use crate::sagas::{ferry, staging};

pub(super) fn steps() -> [Box<dyn Step>; 5] {
    [Box::new(Dump), Box::new(Locate), Box::new(Fetch), Box::new(Copy), Box::new(Close)]
}

struct Dump;

#[async_trait]
impl Step for Dump {
    fn plan(&self) -> StepPlan {
        StepPlan::detached("dump")
    }

    fn command(&self, ctx: &StepContext) -> Result<Option<Argv>, Fault> {
        let place = ctx.source()?;
        Ok(Some(staging(&place)?.dump_command(&place.grip, ctx.limits.of_job())))
    }

    fn tells_progress(&self) -> bool {
        true
    }

    fn progress(&self, ctx: &StepContext, log: &str) -> Option<(u64, u64)> {
        staging(&ctx.source().ok()?).ok()?.progress(log)
    }

    fn command_failed(&self, ctx: &StepContext, _code: i32, log: &str) -> Fault {
        let place = match ctx.source() {
            Ok(place) => place,
            Err(fault) => return fault,
        };
        staging(&place).map_or_else(|fault| fault, |s| s.command_fault(&place.grip, None, log))
    }

    async fn run(&self, _ctx: &StepContext) -> Result<Value, Fault> {
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        close(ctx, ExportEnd::Abandoned).await
    }
}

struct Locate;

#[async_trait]
impl Step for Locate {
    fn plan(&self) -> StepPlan {
        StepPlan::free("locate")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let place = ctx.source()?;
        let archive = staging(&place)?.dumped(&place.grip).await?;
        tell(ctx, &export_in(archive.clone())?).await;
        ctx.report.info(format!("{} has {} bytes", archive.path, archive.size_bytes)).await;
        output(&archive)
    }
}

struct Fetch;

impl Fetch {
    /// Brings the archive into the spool, or what is missing of it.
    async fn fetch(ctx: &StepContext, archive: &StagedArchive) -> Result<PathBuf, Fault> {
        let place = ctx.source()?;
        let local = ctx.spool.file(ctx.job.id, archive.file_name()).await?;
        let remote = staging(&place)?.remote();
        ctx.report.begin("fetch", archive.size_bytes);
        let moved = ferry::fetch(ctx, &remote, &archive.path, &local).await?;
        if moved != archive.size_bytes {
            return Err(Fault::transient(
                FaultCode::HypervisorFailed,
                format!("{} had {} bytes and has {moved} now", archive.path, archive.size_bytes),
                "Nobody but DR Switch may write into its folder on the host; the job starts again.",
            ));
        }
        Ok(local)
    }

    /// The archive in the spool of this machine. An earlier worker may have fetched it to another.
    async fn fetched(ctx: &StepContext, archive: &StagedArchive) -> Result<PathBuf, Fault> {
        let local = ctx.spool.file(ctx.job.id, archive.file_name()).await?;
        match tokio::fs::metadata(&local).await {
            Ok(found) if found.len() == archive.size_bytes => Ok(local),
            _ => Self::fetch(ctx, archive).await,
        }
    }
}

#[async_trait]
impl Step for Fetch {
    fn plan(&self) -> StepPlan {
        StepPlan::free("fetch")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        Self::fetch(ctx, &ctx.needs("locate")?).await?;
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        ctx.spool.clear(ctx.job.id).await
    }
}

struct Copy;

#[async_trait]
impl Step for Copy {
    fn plan(&self) -> StepPlan {
        StepPlan::free("copy").volatile()
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let place = ctx.source()?;
        let archive: StagedArchive = ctx.needs("locate")?;
        let local = Fetch::fetched(ctx, &archive).await?;
        let contents = export_in(archive.clone())?.description.spec.contents();
        ctx.report.begin("copy", total_bytes(&contents));
        let mut vault = VaultOutlet::begin(ctx, contents).await?;
        let mut source = HostInlet(staging(&place)?.unpack(&archive, &local).await?);
        pump(ctx, "copy", &Rates::default(), &mut source, &mut vault).await?;
        let disks = vault.finish(&ctx.report).await?;
        output(&Copied { disks, completed_at: clock::now() })
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        discard(ctx).await
    }
}

struct Close;

#[async_trait]
impl Step for Close {
    fn plan(&self) -> StepPlan {
        StepPlan::held("close")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        close(ctx, ExportEnd::Complete).await?;
        ctx.spool.clear(ctx.job.id).await?;
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        close(ctx, ExportEnd::Abandoned).await?;
        ctx.spool.clear(ctx.job.id).await
    }
}
