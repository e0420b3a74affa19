//! `fan_out`: find out what a subject stands for now, and submit one job for each.

use std::collections::BTreeSet;

use async_trait::async_trait;
use drs_model::{
    Fault, FaultCode, HostName, JobSpec, PairName, ReplicationPair, Subject, Transfer, VmRef, Work,
};
use drs_protocol::session::StepPlan;
use futures::stream::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use crate::children::Child;
use crate::saga::{Saga, Side, Step, StepContext};

/// Jobs that are being submitted at one time.
const AT_ONCE: usize = 16;

pub(crate) fn saga() -> Saga {
    Saga { steps: vec![Box::new(FanOut)], at_loss: |_| None }
}

/// A job to submit, and what tells it from its siblings.
type Wanted = (String, JobSpec);

struct FanOut;

#[async_trait]
impl Step for FanOut {
    fn plan(&self) -> StepPlan {
        StepPlan::free("fan_out")
    }

    async fn run(&self, ctx: &StepContext) -> Result<Value, Fault> {
        let JobSpec::FanOut { subject, work, transfer } = &ctx.job.spec else {
            return Err(Fault::internal("a fan-out step in a job of another kind"));
        };
        let wanted = match work {
            Work::Backup => backups(ctx, subject, *transfer).await?,
            Work::Replicate => replications(ctx, subject, *transfer).await?,
            Work::Verify => verifications(ctx, subject).await?,
        };
        ctx.crash_point("fan_out", "midway");
        if wanted.is_empty() {
            ctx.report.warn(format!("{subject}: there is nothing to {work}")).await;
        }
        let submissions = wanted.into_iter().map(|wanted| submit(ctx, wanted));
        let children: Vec<Child> =
            futures::stream::iter(submissions).buffer_unordered(AT_ONCE).try_collect().await?;
        let left_out = children.iter().filter(|child| **child == Child::LeftOut).count();
        let submitted = children.len() - left_out;
        ctx.report.info(format!("{submitted} jobs submitted, {left_out} left out")).await;
        Ok(json!({ "submitted": submitted, "left_out": left_out }))
    }
}

async fn submit(ctx: &StepContext, (subject, spec): Wanted) -> Result<Child, Fault> {
    let child = ctx.children.submit(&ctx.job, &subject, spec).await?;
    if child == Child::LeftOut {
        let text = format!("{subject} is left out: the job of the time before is not over");
        ctx.report.warn(text).await;
    }
    Ok(child)
}

async fn pair(ctx: &StepContext, name: &PairName) -> Result<ReplicationPair, Fault> {
    Ok(ctx.children.catalog().pair(name).await?)
}

async fn backups(
    ctx: &StepContext,
    subject: &Subject,
    transfer: Transfer,
) -> Result<Vec<Wanted>, Fault> {
    let vms = match subject {
        Subject::Vm(vm) => vec![vm.clone()],
        Subject::Pair(name) => vec![pair(ctx, name).await?.source],
        Subject::Host(host) => inventory(ctx, host).await?,
    };
    let backup = |vm: VmRef| (vm.to_string(), JobSpec::Backup { vm, transfer });
    Ok(vms.into_iter().map(backup).collect())
}

async fn inventory(ctx: &StepContext, host: &HostName) -> Result<Vec<VmRef>, Fault> {
    let vms = ctx.driver(Side::Source)?.inventory().await?;
    Ok(vms.into_iter().map(|vm| VmRef { host: host.clone(), name: vm.name }).collect())
}

async fn replications(
    ctx: &StepContext,
    subject: &Subject,
    transfer: Transfer,
) -> Result<Vec<Wanted>, Fault> {
    let pairs = match subject {
        Subject::Pair(name) => vec![pair(ctx, name).await?],
        Subject::Vm(_) | Subject::Host(_) => ctx.children.catalog().pairs().await?,
    };
    let meant = |pair: &ReplicationPair| match subject {
        Subject::Pair(_) => true,
        Subject::Vm(vm) => pair.source == *vm,
        Subject::Host(host) => pair.source.host == *host,
    };
    let replicate =
        |pair: ReplicationPair| (pair.name.to_string(), JobSpec::replicate(&pair, transfer));
    Ok(pairs.into_iter().filter(meant).map(replicate).collect())
}

async fn verifications(ctx: &StepContext, subject: &Subject) -> Result<Vec<Wanted>, Fault> {
    let listing = ctx.vault.list().await?;
    let vms: BTreeSet<VmRef> = match subject {
        Subject::Vm(vm) => [vm.clone()].into(),
        Subject::Pair(name) => [pair(ctx, name).await?.source].into(),
        Subject::Host(host) => {
            let sources = listing.points.iter().map(|point| &point.manifest.source);
            sources.filter(|vm| vm.host == *host).cloned().collect()
        }
    };
    let mut wanted = Vec::new();
    for vm in vms {
        match (listing.latest_good(&vm), subject) {
            (Some(point), _) => {
                wanted.push((vm.to_string(), JobSpec::Verify { point: point.manifest.id }));
            }
            (None, Subject::Host(_)) => {
                ctx.report.warn(format!("{vm} has no good recovery point")).await;
            }
            (None, Subject::Vm(_) | Subject::Pair(_)) => return Err(no_point(&vm)),
        }
    }
    Ok(wanted)
}

fn no_point(vm: &VmRef) -> Fault {
    Fault::permanent(
        FaultCode::PointNotFound,
        format!("there is no good recovery point of {vm} to verify"),
        "Make one: `drs backup`.",
    )
}
