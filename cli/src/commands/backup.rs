//! `drs backup`

use drs_hypervisor::{Driver, VmDescription};
use drs_model::{Fault, FaultCode, JobSpec, PowerState, Transfer, TransferMethod, VmRef};
use drs_transport::Rsync;
use serde_json::json;

use crate::args::jobs::BackupArgs;
use crate::args::values::Source;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, units};
use crate::place::Place;
use crate::submission::{self, Request};

pub(super) async fn run(place: &Place, output: Output, args: BackupArgs) -> Outcome<Exit> {
    let vm = match args.source {
        Source::Vm(vm) => vm,
        Source::Pair(name) => place.backend.catalog.pair(&name).await?.source,
    };
    if args.dry_run {
        return plan(place, output, &vm, Transfer::from(&args.transport)).await;
    }
    let transfer = Transfer::from(&args.transport);
    let preflight = async { ready(place, &vm, transfer).await.map(drop) };
    let spec = JobSpec::Backup { vm: vm.clone(), transfer };
    let request = Request::new(args.submission.job_id(), spec);
    submission::run(place, output, &args.submission, request, preflight).await
}

/// What will be backed up, when nothing speaks against it.
pub(super) async fn ready(place: &Place, vm: &VmRef, transfer: Transfer) -> Outcome<VmDescription> {
    let driver = place.driver(&vm.host).await?;
    movable(&*driver, transfer).await?;
    let description = driver.describe(&vm.name).await?;
    protectable(&description, vm)?;
    Ok(description)
}

/// Not every hypervisor has archives that VMs could be staged as, and this machine needs rsync for them.
pub(super) async fn movable(driver: &dyn Driver, transfer: Transfer) -> Outcome<()> {
    if transfer.method == TransferMethod::Stream {
        return Ok(());
    }
    if driver.staging().is_some() {
        return Rsync::installed().await.map_err(|error| error.fault().into());
    }
    Err(Fault::permanent(
        FaultCode::Unsupported,
        format!("VMs of {} hosts cannot be staged as archives", driver.kind()),
        "Leave out `--staged`: the VM is streamed, and nothing is staged anywhere.",
    )
    .into())
}

fn protectable(description: &VmDescription, vm: &VmRef) -> Outcome<()> {
    if !description.spec.contents().is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(
        format!("{vm} has no disk that a backup covers"),
        format!("`drs vm show {}` says why for each disk.", crate::find::quoted(vm)),
    ))
}

/// How the data would travel, in words.
pub(super) fn moved(transfer: Transfer) -> String {
    let way = match transfer.method {
        TransferMethod::Stream => "streamed",
        TransferMethod::Staged => "staged as an archive",
    };
    match transfer.bytes_per_second {
        None => way.to_owned(),
        limit => format!("{way}, at most {}", units::rate(limit)),
    }
}

async fn plan(place: &Place, output: Output, vm: &VmRef, transfer: Transfer) -> Outcome<Exit> {
    let description = ready(place, vm, transfer).await?;
    let spec = &description.spec;
    let document = json!({
        "dry_run": true,
        "vm": vm,
        "transfer": transfer,
        "power": description.power,
        "guest_agent": spec.guest_agent,
        "protected_bytes": spec.protected_bytes(),
        "disks": spec.disks,
    });
    output.answer(&document, || {
        let consistency = match (description.power, spec.guest_agent) {
            (PowerState::Off, _) => "it is off: the point holds it as it was shut down",
            (_, true) => "its guest agent is asked to freeze the file systems for an instant",
            (_, false) => "it has no guest agent: the point is as after a power cut",
        };
        format!(
            "would back up {vm}: {}, {}; {consistency}\n\n{}",
            units::bytes(spec.protected_bytes()),
            moved(transfer),
            super::vm::disk_table(&spec.disks)
        )
    })?;
    Ok(Exit::Success)
}
