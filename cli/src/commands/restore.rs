//! `drs restore`

use drs_hypervisor::{ImportPlan, ImportRequest, PlannedDisk};
use drs_model::{
    Fault, FaultCode, JobId, JobSpec, RecoveryPoint, ReplicationPair, RestoreTarget, Transfer,
    VmForm, VmRef,
};
use drs_vault::{StoredPoint, Vault};
use serde::Serialize;

use super::backup::{movable, moved};
use super::pair::{networks, storage};
use crate::args::jobs::RestoreArgs;
use crate::args::values::{PointChoice, Target};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::find;
use crate::output::table::Table;
use crate::output::{Output, plain, units};
use crate::place::Place;
use crate::submission::{self, Request};

pub(super) async fn run(place: &Place, output: Output, args: RestoreArgs) -> Outcome<Exit> {
    let pair = match &args.pair {
        Some(name) => Some(place.backend.catalog.pair(name).await?),
        None => None,
    };
    let point = choose(&*place.vault()?, output, &args.point, pair.as_ref()).await?;
    let target = match (&pair, &args.to) {
        (Some(pair), _) => pair_target(pair, &args),
        (None, Some(to)) => free_target(to, &args, &point)?,
        (None, None) => return Err(Fault::internal("neither --pair nor --to").into()),
    };
    let id = args.submission.job_id();
    let transfer = Transfer::from(&args.transport);
    if args.dry_run {
        let plan = plan(place, id, &point.manifest, &target, transfer).await?;
        return shown(output, &point, &target, transfer, plan);
    }
    let spec = JobSpec::Restore { point: point.manifest.id, target: target.clone(), transfer };
    let latest_of = match &args.point {
        PointChoice::Latest | PointChoice::LatestOf(_) => Some(point.manifest.source.clone()),
        PointChoice::Id(_) => None,
    };
    let request = Request::new(id, spec).with_latest_of(latest_of);
    let preflight = async { plan(place, id, &point.manifest, &target, transfer).await.map(drop) };
    submission::run(place, output, &args.submission, request, preflight).await
}

/// The point that is meant. A point of another VM never goes through a pair's mapping.
async fn choose(
    vault: &dyn Vault,
    output: Output,
    choice: &PointChoice,
    pair: Option<&ReplicationPair>,
) -> Outcome<StoredPoint> {
    let point = match (choice, pair) {
        (PointChoice::Latest, Some(pair)) => find::latest(vault, output, &pair.source).await?,
        (PointChoice::Latest, None) => {
            return Err(Failure::invalid(
                "with --to, `latest` does not say of which VM",
                "Write `latest:HOST/VM`, or a point's id (`drs point list`).",
            ));
        }
        (PointChoice::LatestOf(vm), _) => find::latest(vault, output, vm).await?,
        (PointChoice::Id(id), _) => find::point(vault, id).await?,
    };
    let (id, source) = (point.manifest.id, &point.manifest.source);
    if let Some(pair) = pair.filter(|pair| pair.source != *source) {
        return Err(Failure::invalid(
            format!("point {id} is of {source}, the pair {} protects {}", pair.name, pair.source),
            "Restore it with `--to HOST[/NAME]`.",
        ));
    }
    if !point.is_good() {
        return Err(Fault::permanent(
            FaultCode::PointDamaged,
            format!("recovery point {id} was found damaged when it was verified"),
            "Restore another one: `drs point list`.",
        )
        .into());
    }
    Ok(point)
}

fn pair_target(pair: &ReplicationPair, args: &RestoreArgs) -> RestoreTarget {
    let mut vm = pair.target();
    if let Some(name) = &args.name {
        vm.name = name.clone();
    }
    RestoreTarget {
        // Under another name it is a copy beside the counterpart, not the counterpart.
        pair: (vm == pair.target()).then(|| pair.name.clone()),
        vm,
        networks: pair.networks.clone(),
        storage: pair.storage.clone(),
        keep_macs: pair.keep_macs,
        start: args.start,
        replace: args.replace,
    }
}

fn free_target(to: &Target, args: &RestoreArgs, point: &StoredPoint) -> Outcome<RestoreTarget> {
    let name = match (&to.name, &args.name) {
        (Some(name), Some(other)) if name != other => {
            return Err(Failure::invalid(
                format!("--to names the VM {name}, --as names it {other}"),
                "Name it once.",
            ));
        }
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) => point.manifest.source.name.clone(),
    };
    Ok(RestoreTarget {
        vm: VmRef { host: to.host.clone(), name },
        networks: networks(&args.mapping),
        storage: storage(&args.mapping),
        keep_macs: args.mapping.new_macs != Some(true),
        start: args.start,
        replace: args.replace,
        pair: None,
    })
}

/// What a restore would make, when nothing speaks against it.
pub(super) async fn plan(
    place: &Place,
    id: JobId,
    point: &RecoveryPoint,
    target: &RestoreTarget,
    transfer: Transfer,
) -> Outcome<ImportPlan> {
    let driver = place.driver(&target.vm.host).await?;
    movable(&*driver, transfer).await?;
    Ok(driver.plan_import(id, &ImportRequest { point, target }).await?)
}

/// A plan as `--json` shows it.
#[derive(Serialize)]
struct PlanView<'a> {
    dry_run: bool,
    point: drs_model::PointId,
    target: &'a RestoreTarget,
    transfer: Transfer,
    plan: ImportPlan,
}

fn shown(
    output: Output,
    point: &StoredPoint,
    target: &RestoreTarget,
    transfer: Transfer,
    plan: ImportPlan,
) -> Outcome<Exit> {
    let view = PlanView { dry_run: true, point: point.manifest.id, target, transfer, plan };
    output.answer(&view, || {
        format!(
            "would make {} from recovery point {} of {}, {}\n\n{}",
            made(target, &view.plan),
            view.point,
            point.manifest.source,
            moved(transfer),
            plan_text(target, &view.plan)
        )
    })?;
    Ok(Exit::Success)
}

/// The VM that a plan makes.
pub(super) fn made(target: &RestoreTarget, plan: &ImportPlan) -> VmRef {
    VmRef { host: target.vm.host.clone(), name: plan.name.clone() }
}

/// A plan as a person reads it: disks, and remarks; what becomes of a VM that is there is among them.
pub(super) fn plan_text(target: &RestoreTarget, plan: &ImportPlan) -> String {
    let what = match plan.form {
        VmForm::Machine => "DISK",
        VmForm::Container => "VOLUME",
    };
    let headings = Table::new([what, "SIZE", "FORMAT", "PLACE"]);
    let row = |table: Table, disk: &PlannedDisk| {
        let size = units::bytes(disk.size_bytes);
        table.row([disk.name.clone(), size, disk.format.clone(), disk.path.clone()])
    };
    let mut text = format!("{}\n", plan.disks.iter().fold(headings, row));
    for remark in &plan.remarks {
        text.push_str(&format!("- {}\n", plain(remark)));
    }
    if let Some(old) = plan.displaced().filter(|old| old.running) {
        text.push_str(&format!("- {} runs: it is shut down when the new VM is ready\n", old.name));
    }
    if target.replace.is_some() && plan.replaces.is_none() {
        text.push_str(&format!("- {} is not there: nothing is replaced\n", target.vm));
    }
    let then = if target.start { "it is started" } else { "it is not started" };
    text.push_str(&format!("- {then}\n"));
    text
}
