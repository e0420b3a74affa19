//! `restore`: make a VM from a recovery point.
//!
//! | step | guard | effect | undo |
//! |---|---|---|---|
//! | plan | free | names, paths and networks are decided; nothing of them is there yet | |
//! | allocate | held, volatile (staged: not) | room is made: a name or number is taken, empty disks are there | remove the import |
//! | copy | held, volatile | as a stream: the import holds the point, durable | |
//! | pack | free | staged: an archive of the point is in the spool | remove it there |
//! | push | free | staged: it is on the host; a broken transfer goes on where it stopped | |
//! | load | detached | staged: the host has made the VM from it; it is gone from the spool | end the load |
//! | check | detached | the host has checked what was written | end the check |
//! | define | held | the VM is there under the name it is made as, off | remove the import |
//! | aside | held | the VM whose place it takes is off | start it, if it ran |
//! | exchange | held | the new VM has the final name, the old one the name it keeps aside | take it back |
//! | start | held, keeps the rest | if no VM is displaced: the new one runs, when that was asked | cut its power |
//! | prove | held, barrier | if one is: the new one runs, when that was asked | cut its power |
//! | adopt | free | the pair's counterpart is the new VM, if that has another name than the old one | |
//! | destroy | held | the old VM and its disks are gone, if that is its policy | |
//!
//! Removing the import takes everything away that the job has made on the host, staged archives too.
//!
//! # The old VM
//! A VM that does not start stays as it is: hours of copying are not thrown away for a bridge that is
//! down. But when another VM was put aside for it, everything up to the proof is undone, in reverse order,
//! so that the old VM stands and runs as before. Only the proof makes that final. What comes after it is
//! tried again for itself: first the pair, so that it never names a VM that is gone, then the old VM.

mod adopt;
mod load;
mod make;
mod replace;
mod start;
mod stream;

use async_trait::async_trait;
use drs_hypervisor::{ImportPlan, ImportRequest};
use drs_model::{Fault, TransferMethod};
use drs_protocol::session::StepPlan;
use drs_vault::StoredPoint;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use stream::{Allocate, Fill};

use super::suits;
use crate::saga::{Saga, Side, Step, StepContext, output};

pub(super) fn saga(method: TransferMethod) -> Saga {
    Saga { steps: steps(method, "copy"), at_loss: |_| None }
}

/// The steps of a restore; `copy` names the one that copies, unique in its saga.
pub(super) fn steps(method: TransferMethod, copy: &'static str) -> Vec<Box<dyn Step>> {
    let mut steps: Vec<Box<dyn Step>> = vec![Box::new(Plan(method))];
    match method {
        TransferMethod::Stream => {
            steps.push(Box::new(Allocate { volatile: true }));
            steps.push(Box::new(Fill(copy)));
        }
        TransferMethod::Staged => {
            steps.push(Box::new(Allocate { volatile: false }));
            steps.extend(load::steps());
        }
    }
    steps.extend(landing());
    steps
}

/// The steps after the import holds the point.
pub(super) fn landing() -> Vec<Box<dyn Step>> {
    vec![
        Box::new(make::Check),
        Box::new(make::Define),
        Box::new(replace::Aside),
        Box::new(replace::Exchange),
        Box::new(start::Start),
        Box::new(start::Prove),
        Box::new(adopt::Adopt),
        Box::new(replace::Destroy),
    ]
}

/// What `confirm` of a replication says: its one pass has filled the import already.
#[derive(Serialize, Deserialize)]
pub(super) struct Confirmed {
    pub(super) filled: bool,
}

/// Whether the import holds the point already.
pub(super) fn is_filled(ctx: &StepContext) -> Result<bool, Fault> {
    Ok(ctx.output_of::<Confirmed>("confirm")?.is_some_and(|confirmed| confirmed.filled))
}

/// Decides what the import makes of the job's point, and tells.
pub(super) async fn plan(ctx: &StepContext) -> Result<ImportPlan, Fault> {
    let target = ctx.restore_target()?;
    let StoredPoint { manifest, .. } = ctx.vault.get(ctx.point()).await?;
    let place = ctx.target()?;
    let import = ImportRequest { point: &manifest, target };
    let plan = place.driver.plan_import(ctx.job.id, &import).await?;
    let text =
        format!("restoring {} as of {} to {}", manifest.source, manifest.consistent_at, target.vm);
    ctx.report.info(text).await;
    tell(ctx, &plan).await;
    Ok(plan)
}

/// Tells what is remarkable of a plan.
pub(super) async fn tell(ctx: &StepContext, plan: &ImportPlan) {
    for remark in &plan.remarks {
        ctx.report.info(remark).await;
    }
}

struct Plan(TransferMethod);

#[async_trait]
impl Step for Plan {
    fn plan(&self) -> StepPlan {
        StepPlan::free("plan")
    }

    fn side(&self) -> Side {
        Side::Target
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        suits(ctx, &ctx.target()?, self.0).await?;
        output(&plan(ctx).await?)
    }
}

/// Removes what the import made; nothing when there was no plan yet.
async fn remove(ctx: &StepContext) -> Result<(), Fault> {
    let Some(plan) = ctx.output_of::<ImportPlan>("plan")? else { return Ok(()) };
    let place = ctx.target()?;
    Ok(place.driver.remove_import(&place.grip, &plan).await?)
}
