//! `drs backup`

use drs_hypervisor::VmDescription;
use drs_model::{JobSpec, PowerState, VmRef};
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
        return plan(place, output, &vm).await;
    }
    let preflight = async { protectable(&describe(place, &vm).await?, &vm) };
    let spec = JobSpec::Backup { vm: vm.clone() };
    let request = Request::new(args.submission.job_id(), spec);
    submission::run(place, output, &args.submission, request, preflight).await
}

async fn describe(place: &Place, vm: &VmRef) -> Outcome<VmDescription> {
    Ok(place.driver(&vm.host).await?.describe(&vm.name).await?)
}

fn protectable(description: &VmDescription, vm: &VmRef) -> Outcome<()> {
    if description.spec.disks.iter().any(|disk| disk.protected) {
        return Ok(());
    }
    Err(Failure::invalid(
        format!("{vm} has no disk that a backup covers"),
        format!("`drs vm show {}` says why for each disk.", crate::find::quoted(vm)),
    ))
}

async fn plan(place: &Place, output: Output, vm: &VmRef) -> Outcome<Exit> {
    let description = describe(place, vm).await?;
    protectable(&description, vm)?;
    let spec = &description.spec;
    let document = json!({
        "dry_run": true,
        "vm": vm,
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
            "would back up {vm}: {}, {consistency}\n\n{}",
            units::bytes(spec.protected_bytes()),
            super::vm::disk_table(&spec.disks)
        )
    })?;
    Ok(Exit::Success)
}
