//! `drs replicate`

use drs_hypervisor::{ImportPlan, VmDescription};
use drs_model::{
    HypervisorKind, JobId, JobSpec, RecoveryPoint, ReplicationPair, RestoreTarget, Transfer,
    TransferMethod,
};
use drs_runtime::clock;
use serde::Serialize;

use super::{backup, restore};
use crate::args::jobs::ReplicateArgs;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::output::{Output, units};
use crate::place::Place;
use crate::submission::{self, Request};

pub(super) async fn run(place: &Place, output: Output, args: ReplicateArgs) -> Outcome<Exit> {
    let pair = place.backend.catalog.pair(&args.pair).await?;
    let transfer = Transfer::from(&args.transport);
    let id = args.submission.job_id();
    let wanted = Wanted { id, target: counterpart(&pair, &args), pair, transfer };
    if args.dry_run {
        return wanted.shown(place, output).await;
    }
    let spec = JobSpec::Replicate {
        source: wanted.pair.source.clone(),
        target: wanted.target.clone(),
        transfer,
    };
    let preflight = async { wanted.plan(place).await.map(drop) };
    let request = Request::new(id, spec);
    submission::run(place, output, &args.submission, request, preflight).await
}

fn counterpart(pair: &ReplicationPair, args: &ReplicateArgs) -> RestoreTarget {
    let target = pair.counterpart();
    RestoreTarget { start: args.start, replace: args.replace.or(target.replace), ..target }
}

/// Which side can be staged is the job's own choice: each does what it can.
fn streamed(transfer: Transfer) -> Transfer {
    Transfer { method: TransferMethod::Stream, ..transfer }
}

/// What will be replicated, when nothing speaks against it on the source's side.
pub(super) async fn ready(
    place: &Place,
    pair: &ReplicationPair,
    transfer: Transfer,
) -> Outcome<VmDescription> {
    for host in [&pair.source.host, &pair.target_host] {
        let driver = place.driver(host).await?;
        if driver.staging().is_some() {
            backup::movable(&*driver, transfer).await?;
        }
    }
    backup::ready(place, &pair.source, streamed(transfer)).await
}

/// A replication that is asked for.
struct Wanted {
    id: JobId,
    pair: ReplicationPair,
    target: RestoreTarget,
    transfer: Transfer,
}

/// A plan as `--json` shows it.
#[derive(Serialize)]
struct PlanView<'a> {
    dry_run: bool,
    source: &'a drs_model::VmRef,
    target: &'a RestoreTarget,
    transfer: Transfer,
    plan: ImportPlan,
}

impl Wanted {
    /// What would be made, when nothing speaks against it.
    async fn plan(&self, place: &Place) -> Outcome<(VmDescription, ImportPlan)> {
        let description = ready(place, &self.pair, self.transfer).await?;
        let kind = place.driver(&self.pair.source.host).await?.kind();
        let point = self.expected(&description, kind);
        let streamed = streamed(self.transfer);
        let plan = restore::plan(place, self.id, &point, &self.target, streamed).await?;
        Ok((description, plan))
    }

    /// The point that the job would make, as far as it is known before.
    fn expected(&self, description: &VmDescription, hypervisor: HypervisorKind) -> RecoveryPoint {
        RecoveryPoint::expected(
            self.id.into(),
            self.pair.source.clone(),
            hypervisor,
            description.spec.clone(),
            description.native_config.clone(),
            clock::now(),
        )
    }

    async fn shown(&self, place: &Place, output: Output) -> Outcome<Exit> {
        let (description, plan) = self.plan(place).await?;
        let (source, target) = (&self.pair.source, &self.target);
        let view = PlanView { dry_run: true, source, target, transfer: self.transfer, plan };
        output.answer(&view, || {
            let how = match self.transfer.method {
                TransferMethod::Stream => "one read feeds the vault and the counterpart",
                TransferMethod::Staged => "first the recovery point, then the counterpart from it",
            };
            format!(
                "would back {source} up ({}) and make {} from it: {how}\n\n{}",
                units::bytes(description.spec.protected_bytes()),
                restore::made(target, &view.plan),
                restore::plan_text(target, &view.plan)
            )
        })?;
        Ok(Exit::Success)
    }
}
