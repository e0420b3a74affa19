//! `backup`: make a recovery point of a VM.
//!
//! | step | guard | effect | undo |
//! |---|---|---|---|
//! | inspect | free | the VM is there and has something to protect | |
//! | clean | held | leavings of an earlier, dead export of this VM and records older than 30 days are gone | |
//! | export | held, volatile | the disks are frozen at an instant and open | close it, drop its mark |
//! | copy | held, volatile | every protected disk is in the vault, durable, not listed | drop it |
//! | close | held | the export is ended, the mark for the next one stays | drop the mark |
//! | commit | free | the manifest is written: the point exists | remove the point |

use std::time::Duration;

use async_trait::async_trait;
use drs_hypervisor::{DiskSource, Driver, Export, ExportEnd, VmDescription};
use drs_model::{
    Disk, DiskContent, Extent, Fault, FaultCode, Grip, PointId, RecoveryPoint, Timestamp,
};
use drs_protocol::session::StepPlan;
use drs_runtime::clock;
use drs_vault::{DiskWriter, PointWriter, VaultError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::MissedTickBehavior;

use crate::saga::{Saga, Step, StepContext, output};

/// How long a host remembers how the commands of a job ended.
const HOST_RECORDS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often the VM is looked at while its disks are read.
const DANGER_LOOK: Duration = Duration::from_secs(3);

pub(crate) fn saga() -> Saga {
    Saga {
        steps: vec![
            Box::new(Inspect),
            Box::new(Clean),
            Box::new(OpenExport),
            Box::new(Copy),
            Box::new(CloseExport),
            Box::new(Commit),
        ],
        at_loss: |ctx| ctx.driver().ok()?.export_at_loss(&ctx.grip().ok()?),
    }
}

/// What `copy` hands on.
#[derive(Serialize, Deserialize)]
struct Copied {
    disks: Vec<DiskContent>,
    completed_at: Timestamp,
}

struct Inspect;

#[async_trait]
impl Step for Inspect {
    fn plan(&self) -> StepPlan {
        StepPlan::free("inspect")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let vm = &ctx.grip()?.vm;
        let VmDescription { spec, power, .. } = ctx.driver()?.describe(&vm.name).await?;
        let protected = spec.disks.iter().filter(|disk| disk.protected).count();
        for disk in spec.disks.iter().filter(|disk| !disk.protected) {
            let text = format!("disk {} is not covered: {}", disk.name, disk.unprotected_reason);
            ctx.report.warn(text).await;
        }
        if protected == 0 {
            return Err(Fault::permanent(
                FaultCode::InvalidInput,
                format!("{vm} has no disk that a backup can cover"),
                "Look at its disks with `drs vm show`.",
            ));
        }
        let text = format!("{vm} is {power}, {protected} disks, {} bytes", spec.protected_bytes());
        ctx.report.info(text).await;
        Ok(Value::Null)
    }
}

struct Clean;

#[async_trait]
impl Step for Clean {
    fn plan(&self) -> StepPlan {
        StepPlan::held("clean")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        close(ctx, ExportEnd::Abandoned).await?;
        if let Err(error) = ctx.driver()?.guard().forget(HOST_RECORDS_KEPT).await {
            ctx.report.warn(format!("old records stay on the host: {error}")).await;
        }
        Ok(Value::Null)
    }
}

async fn close(ctx: &StepContext, end: ExportEnd) -> Result<(), Fault> {
    Ok(ctx.driver()?.close_export(&ctx.grip()?, end).await?)
}

struct OpenExport;

#[async_trait]
impl Step for OpenExport {
    fn plan(&self) -> StepPlan {
        StepPlan::held("export").volatile()
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let export = ctx.driver()?.open_export(&ctx.grip()?).await?;
        for warning in &export.warnings {
            ctx.report.warn(warning).await;
        }
        let text = format!("frozen at {}, {}", export.consistent_at, export.consistency);
        ctx.report.info(text).await;
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
        let export: Export = ctx.needs("export")?;
        let id = PointId::from(ctx.job.id);
        // Disks of an earlier attempt belong to another instant.
        discard(ctx, id).await?;
        let mut point = ctx.vault.begin(id).await?;
        let total_bytes = export.description.spec.protected_bytes();
        ctx.report.begin("copy", total_bytes);
        let mut copy = Copying { ctx, grip: ctx.grip()?, export: &export, before: 0 };
        let mut disks = Vec::new();
        for disk in export.description.spec.disks.iter().filter(|disk| disk.protected) {
            let content = copy.disk(point.as_mut(), disk).await?;
            let text = format!(
                "disk {}: {} of {} bytes are data, {} bytes in the vault",
                disk.name, content.data_bytes, content.size_bytes, content.stored_bytes
            );
            ctx.report.info(text).await;
            disks.push(content);
        }
        output(&Copied { disks, completed_at: clock::now() })
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        discard(ctx, ctx.job.id.into()).await
    }
}

async fn discard(ctx: &StepContext, id: PointId) -> Result<(), Fault> {
    let point = ctx.vault.begin(id).await?;
    Ok(point.discard().await?)
}

/// A copy that is under way: one disk after the other, each with several requests in flight.
struct Copying<'a> {
    ctx: &'a StepContext,
    grip: Grip,
    export: &'a Export,
    /// Bytes of the disks that are done.
    before: u64,
}

impl Copying<'_> {
    async fn disk(
        &mut self,
        point: &mut dyn PointWriter,
        disk: &Disk,
    ) -> Result<DiskContent, Fault> {
        let driver = self.ctx.driver()?;
        let mut source = driver.read_disk(&self.grip, self.export, disk).await?;
        let mut writer = point.disk(&disk.name, disk.size_bytes).await?;
        self.pump(driver, source.as_mut(), writer.as_mut()).await?;
        let content = writer.finish().await?;
        self.before += disk.size_bytes;
        let before = self.before;
        self.ctx.report.progress(|progress| progress.done_bytes = before);
        Ok(content)
    }

    async fn pump(
        &self,
        driver: &dyn Driver,
        source: &mut dyn DiskSource,
        writer: &mut dyn DiskWriter,
    ) -> Result<(), Fault> {
        let mut look = tokio::time::interval(DANGER_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.tick().await;
        let transfer = async {
            while let Some(extent) = source.next().await? {
                self.moved(&extent);
                writer.write(extent).await?;
                self.ctx.crash_point("copy", "midway");
            }
            Ok::<(), Fault>(())
        };
        tokio::pin!(transfer);
        loop {
            tokio::select! {
                biased;
                end = &mut transfer => return end,
                _ = look.tick() => {
                    let danger = driver.export_danger(&self.grip, self.export).await;
                    if let Some(fault) = danger? {
                        return Err(fault);
                    }
                }
            }
        }
    }

    fn moved(&self, extent: &Extent) {
        let done = self.before + extent.end();
        let bytes = extent.data.len() as u64;
        self.ctx.report.progress(|progress| {
            progress.done_bytes = done;
            progress.moved_bytes += bytes;
        });
    }
}

struct CloseExport;

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

struct Commit;

impl Commit {
    fn manifest(ctx: &StepContext) -> Result<RecoveryPoint, Fault> {
        let export: Export = ctx.needs("export")?;
        let copied: Copied = ctx.needs("copy")?;
        Ok(RecoveryPoint {
            id: ctx.job.id.into(),
            source: ctx.grip()?.vm,
            hypervisor: ctx.driver()?.kind(),
            consistent_at: export.consistent_at,
            completed_at: copied.completed_at,
            consistency: export.consistency,
            spec: export.description.spec,
            native_config: export.description.native_config,
            disks: copied.disks,
        })
    }
}

#[async_trait]
impl Step for Commit {
    fn plan(&self) -> StepPlan {
        StepPlan::free("commit")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let manifest = Self::manifest(ctx)?;
        let point = ctx.vault.begin(manifest.id).await?;
        point.commit(&manifest).await?;
        ctx.report.info(format!("recovery point {} is complete", manifest.id)).await;
        output(&manifest.id)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        // A commit that was interrupted may still be under way: this waits for its end.
        drop(ctx.vault.begin(ctx.job.id.into()).await?);
        match ctx.vault.remove(ctx.job.id.into()).await {
            Ok(()) | Err(VaultError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.fault()),
        }
    }
}
