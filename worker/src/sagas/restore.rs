//! `restore`: make a VM from a recovery point.
//!
//! | step | guard | effect | undo |
//! |---|---|---|---|
//! | plan | free | names, paths and networks are decided; nothing of them is there yet | |
//! | allocate | held, volatile | empty staging disks | remove them |
//! | copy | held, volatile | the staging disks hold the point, durable | |
//! | check | detached | the host has checked the staging disks | end the check |
//! | define | held | the disks are in place and the VM is defined | remove VM and disks |
//! | start | held | the VM runs, when that was asked | cut its power |
//!
//! A VM that does not start stays as it is: hours of copying are not thrown away for a bridge that is
//! down.

use async_trait::async_trait;
use drs_hypervisor::{DiskSink, ImportPlan, ImportRequest, PlannedDisk};
use drs_model::{Fault, FaultCode, Grip, JobSpec, PointId, PowerAction, RestoreTarget};
use drs_protocol::session::StepPlan;
use drs_transport::Argv;
use drs_vault::{DiskReader, StoredPoint};
use serde_json::Value;

use crate::saga::{Saga, Step, StepContext, output};

pub(crate) fn saga() -> Saga {
    Saga {
        steps: vec![
            Box::new(Plan),
            Box::new(Allocate),
            Box::new(Copy),
            Box::new(Check),
            Box::new(Define),
            Box::new(Start),
        ],
        at_loss: |_| None,
    }
}

fn request(ctx: &StepContext) -> Result<(PointId, &RestoreTarget), Fault> {
    match &ctx.job.spec {
        JobSpec::Restore { point, target } => Ok((*point, target)),
        _ => Err(Fault::internal("a restore step in a job of another kind")),
    }
}

struct Plan;

#[async_trait]
impl Step for Plan {
    fn plan(&self) -> StepPlan {
        StepPlan::free("plan")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let (point, target) = request(ctx)?;
        let StoredPoint { manifest, .. } = ctx.vault.get(point).await?;
        let import = ImportRequest { point: &manifest, target };
        let plan = ctx.driver()?.plan_import(ctx.job.id, &import).await?;
        let text = format!(
            "restoring {} as of {} to {}",
            manifest.source, manifest.consistent_at, target.vm
        );
        ctx.report.info(text).await;
        for remark in &plan.remarks {
            ctx.report.info(remark).await;
        }
        output(&plan)
    }
}

struct Allocate;

#[async_trait]
impl Step for Allocate {
    fn plan(&self) -> StepPlan {
        StepPlan::held("allocate").volatile()
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        ctx.driver()?.create_disks(&ctx.grip()?, &plan).await?;
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        remove(ctx).await
    }
}

/// Removes what the import made; nothing when there was no plan yet.
async fn remove(ctx: &StepContext) -> Result<(), Fault> {
    let Some(plan) = ctx.output_of::<ImportPlan>("plan")? else { return Ok(()) };
    Ok(ctx.driver()?.remove_import(&ctx.grip()?, &plan).await?)
}

struct Copy;

#[async_trait]
impl Step for Copy {
    fn plan(&self) -> StepPlan {
        StepPlan::held("copy").volatile()
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let (point, _) = request(ctx)?;
        let plan: ImportPlan = ctx.needs("plan")?;
        let total_bytes = plan.disks.iter().map(|disk| disk.size_bytes).sum();
        ctx.report.begin("copy", total_bytes);
        let copying = Copying { ctx, grip: ctx.grip()?, plan: &plan };
        let mut before = 0;
        for disk in &plan.disks {
            copying.disk(point, disk, before).await?;
            before += disk.size_bytes;
            ctx.report.progress(|progress| progress.done_bytes = before);
        }
        Ok(Value::Null)
    }
}

struct Copying<'a> {
    ctx: &'a StepContext,
    grip: Grip,
    plan: &'a ImportPlan,
}

impl Copying<'_> {
    async fn disk(&self, point: PointId, disk: &PlannedDisk, before: u64) -> Result<(), Fault> {
        let mut reader = self.ctx.vault.read(point, &disk.name).await?;
        if reader.size_bytes() != disk.size_bytes {
            return Err(Fault::permanent(
                FaultCode::PointDamaged,
                format!(
                    "disk {} has {} bytes in the vault and {} in the manifest",
                    disk.name,
                    reader.size_bytes(),
                    disk.size_bytes
                ),
                "Do not trust this point: restore another one (`drs point list`).",
            ));
        }
        let mut sink = self.ctx.driver()?.write_disk(&self.grip, self.plan, disk).await?;
        self.pump(reader.as_mut(), sink.as_mut(), before).await?;
        Ok(sink.finish().await?)
    }

    async fn pump(
        &self,
        reader: &mut dyn DiskReader,
        sink: &mut dyn DiskSink,
        before: u64,
    ) -> Result<(), Fault> {
        while let Some(extent) = reader.next().await? {
            let (done, bytes) = (before + extent.end(), extent.data.len() as u64);
            sink.write(extent).await?;
            self.ctx.report.progress(|progress| {
                progress.done_bytes = done;
                progress.moved_bytes += bytes;
            });
            self.ctx.crash_point("copy", "midway");
        }
        Ok(())
    }
}

struct Check;

#[async_trait]
impl Step for Check {
    fn plan(&self) -> StepPlan {
        StepPlan::detached("check")
    }

    fn command(&self, ctx: &StepContext) -> Result<Option<Argv>, Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        Ok(ctx.driver()?.check_command(&plan))
    }

    fn command_failed(&self, code: i32, log: &str) -> Fault {
        Fault::transient(
            FaultCode::HypervisorFailed,
            format!("the host found the restored disks unsound (exit code {code}): {log}"),
            "The job restores them again; if it stays, check the host's storage.",
        )
    }

    async fn run(&self, _ctx: &StepContext) -> Result<Value, Fault> {
        Ok(Value::Null)
    }
}

struct Define;

#[async_trait]
impl Step for Define {
    fn plan(&self) -> StepPlan {
        StepPlan::held("define")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let plan: ImportPlan = ctx.needs("plan")?;
        ctx.driver()?.define(&ctx.grip()?, &plan).await?;
        ctx.report.info(format!("{} is defined", ctx.grip()?.vm)).await;
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        remove(ctx).await
    }
}

struct Start;

impl Start {
    async fn switch(ctx: &StepContext, action: PowerAction) -> Result<(), Fault> {
        ctx.driver()?.power(&ctx.grip()?, action).await?;
        Ok(())
    }
}

#[async_trait]
impl Step for Start {
    fn plan(&self) -> StepPlan {
        StepPlan::held("start").keeping_rest()
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let (_, target) = request(ctx)?;
        if target.start {
            Self::switch(ctx, PowerAction::Start).await?;
            ctx.report.info(format!("{} is started", target.vm)).await;
        }
        Ok(Value::Null)
    }

    async fn undo(&self, ctx: &StepContext) -> Result<(), Fault> {
        let (_, target) = request(ctx)?;
        if !target.start {
            return Ok(());
        }
        match Self::switch(ctx, PowerAction::Stop).await {
            Err(fault) if fault.code == FaultCode::VmNotFound => Ok(()),
            result => result,
        }
    }
}
