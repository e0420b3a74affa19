//! `backup`: make a recovery point of a VM.
//!
//! As a stream, through the worker:
//!
//! | step | guard | effect | undo |
//! |---|---|---|---|
//! | inspect | free | the VM is there and has something to protect | |
//! | clean | held | leavings of an earlier, dead export of this VM and records older than 30 days are gone | |
//! | export | held, volatile | the contents are frozen at an instant and open | close it, drop its mark |
//! | copy | held, volatile | every content is in the vault, durable, not listed | drop it |
//! | close | held | the export is ended, the mark for the next one stays | drop the mark |
//! | commit | free | the manifest is written: the point exists | remove the point |
//!
//! Staged, as an archive that the hypervisor's own tool makes on its host:
//!
//! | step | guard | effect | undo |
//! |---|---|---|---|
//! | inspect | free | as above, and the host can stage | |
//! | clean | held | as above, and nobody else dumps on this host | |
//! | dump | detached | the archive is on the host | end the dump, remove it |
//! | locate | free | the archive is complete, its path and size are known | |
//! | fetch | free | it is in the spool too; a broken transfer goes on where it stopped | remove it there |
//! | copy | free, volatile | every content is in the vault, durable, not listed | drop it |
//! | close | held | the archive is gone from the host and from the spool | as done |
//! | commit | free | as above | as above |
//!
//! The spool belongs to one machine: a worker that has not got the archive fetches it before it copies.

mod staged;
mod stream;

use std::time::Duration;

use async_trait::async_trait;
use drs_hypervisor::{Export, ExportEnd, StagedArchive, VmDescription};
use drs_model::{
    Content, DiskContent, Fault, FaultCode, RecoveryPoint, Timestamp, TransferMethod, VmForm,
    VmSpec,
};
use drs_protocol::session::StepPlan;
use drs_vault::VaultError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use stream::{CloseExport, OpenExport};

use super::{staging, suits};
use crate::saga::{Saga, Step, StepContext, output};

/// How long a host remembers how the commands of a job ended.
const HOST_RECORDS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) fn saga(method: TransferMethod) -> Saga {
    let mut steps = steps(method);
    steps.push(Box::new(Commit { barrier: false }));
    Saga { steps, at_loss: at_loss(method) }
}

/// The steps of a backup before its commit.
pub(super) fn steps(method: TransferMethod) -> Vec<Box<dyn Step>> {
    let mut steps: Vec<Box<dyn Step>> = vec![Box::new(Inspect(method)), Box::new(Clean(method))];
    match method {
        TransferMethod::Stream => steps.extend(stream::steps()),
        TransferMethod::Staged => steps.extend(staged::steps()),
    }
    steps
}

/// What the host does when the worker dies while it holds the VM: of a stream nothing is of use then,
/// while an archive is.
pub(super) fn at_loss(method: TransferMethod) -> fn(&StepContext) -> Option<drs_transport::Argv> {
    match method {
        TransferMethod::Stream => |ctx| {
            let place = ctx.source().ok()?;
            place.driver.export_at_loss(&place.grip)
        },
        TransferMethod::Staged => |_| None,
    }
}

/// What `copy` hands on.
#[derive(Serialize, Deserialize)]
pub(super) struct Copied {
    pub(super) disks: Vec<DiskContent>,
    pub(super) completed_at: Timestamp,
}

/// The VM is there and has something to protect, and its host can do what is asked.
pub(super) struct Inspect(pub(super) TransferMethod);

#[async_trait]
impl Step for Inspect {
    fn plan(&self) -> StepPlan {
        StepPlan::free("inspect")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let place = ctx.source()?;
        let vm = &place.grip.vm;
        if ctx.job.spec.counterpart() == Some(vm) {
            return Err(Fault::permanent(
                FaultCode::InvalidInput,
                format!("{vm} cannot be its own counterpart"),
                "Name another VM or another host for the counterpart.",
            ));
        }
        suits(ctx, &place, self.0).await?;
        let VmDescription { spec, power, .. } = place.driver.describe(&vm.name).await?;
        let contents = spec.contents();
        if contents.is_empty() {
            return Err(Fault::permanent(
                FaultCode::InvalidInput,
                format!("{vm} has no disk that a backup can cover"),
                "Look at its disks with `drs vm show`.",
            ));
        }
        ctx.report.info(format!("{vm} is {power}, {}", extent_of(&spec, &contents))).await;
        Ok(Value::Null)
    }
}

fn extent_of(spec: &VmSpec, contents: &[Content]) -> String {
    match spec.form {
        VmForm::Machine => format!("{} disks, {} bytes", contents.len(), spec.protected_bytes()),
        VmForm::Container => "a container".to_owned(),
    }
}

/// Nothing of an earlier export is left, and none of another one is in the way.
pub(super) struct Clean(pub(super) TransferMethod);

#[async_trait]
impl Step for Clean {
    fn plan(&self) -> StepPlan {
        StepPlan::held("clean")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        close(ctx, ExportEnd::Abandoned).await?;
        let place = ctx.source()?;
        if let Err(error) = place.driver.guard().forget(HOST_RECORDS_KEPT).await {
            ctx.report.warn(format!("old records stay on the host: {error}")).await;
        }
        if self.0 == TransferMethod::Staged {
            staging(&place)?.dump_admitted(&place.grip).await?;
        }
        Ok(Value::Null)
    }
}

async fn close(ctx: &StepContext, end: ExportEnd) -> Result<(), Fault> {
    let place = ctx.source()?;
    Ok(place.driver.close_export(&place.grip, end).await?)
}

async fn tell(ctx: &StepContext, export: &Export) {
    for warning in &export.warnings {
        ctx.report.warn(warning).await;
    }
    let text = format!("frozen at {}, {}", export.consistent_at, export.consistency);
    ctx.report.info(text).await;
}

/// The export that the point was read from.
fn export_of(ctx: &StepContext) -> Result<Export, Fault> {
    match ctx.output_of::<Export>("export")? {
        Some(export) => Ok(export),
        None => export_in(ctx.needs("locate")?),
    }
}

/// What a dumped archive tells of its VM.
fn export_in(archive: StagedArchive) -> Result<Export, Fault> {
    archive.export.ok_or_else(|| Fault::internal("an archive was dumped and tells no VM"))
}

/// The point exists. As a barrier: nothing before it is taken back any more.
pub(super) struct Commit {
    pub(super) barrier: bool,
}

impl Commit {
    fn manifest(ctx: &StepContext) -> Result<RecoveryPoint, Fault> {
        let export = export_of(ctx)?;
        let copied: Copied = ctx.needs("copy")?;
        let place = ctx.source()?;
        Ok(RecoveryPoint {
            id: ctx.job.id.into(),
            source: place.grip.vm,
            hypervisor: place.driver.kind(),
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
        let plan = StepPlan::free("commit");
        if self.barrier { plan.barrier() } else { plan }
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
