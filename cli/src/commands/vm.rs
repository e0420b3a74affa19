//! `drs vm`

use drs_hypervisor::VmDescription;
use drs_model::{Disk, HostName, Nic, VmRef, VmSummary};
use serde::Serialize;

use crate::args::catalog::VmCommand;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::output::table::{Table, sheet};
use crate::output::{Output, units};
use crate::place::Place;

pub(super) async fn run(place: &Place, output: Output, command: VmCommand) -> Outcome<Exit> {
    match command {
        VmCommand::List { host } => list(place, output, host).await,
        VmCommand::Show { vm } => show(place, output, vm).await,
    }
}

async fn list(place: &Place, output: Output, host: HostName) -> Outcome<Exit> {
    let vms = place.driver(&host).await?.inventory().await?;
    output.answer(&vms, || {
        let headings = Table::new(["NAME", "STATE", "LABEL", "FORM", "ID"]);
        let row = |table: Table, vm: &VmSummary| {
            table.row([
                vm.name.to_string(),
                vm.power.to_string(),
                or_dash(&vm.label),
                vm.form.to_string(),
                vm.native_id.clone(),
            ])
        };
        vms.iter().fold(headings, row).to_string()
    })?;
    Ok(Exit::Success)
}

/// What is not known, or not said of containers, is a dash.
fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// A VM as `--json` shows it.
#[derive(Serialize)]
struct VmView {
    vm: VmRef,
    #[serde(flatten)]
    description: VmDescription,
}

async fn show(place: &Place, output: Output, vm: VmRef) -> Outcome<Exit> {
    let description = place.driver(&vm.host).await?.describe(&vm.name).await?;
    let view = VmView { vm, description };
    output.answer(&view, || text(&view))?;
    Ok(Exit::Success)
}

fn text(view: &VmView) -> String {
    let spec = &view.description.spec;
    let head = sheet([
        ("VM", view.vm.to_string()),
        ("state", view.description.power.to_string()),
        ("label", or_dash(&spec.label)),
        ("form", spec.form.to_string()),
        ("id", spec.native_id.clone()),
        ("CPUs", spec.vcpus.to_string()),
        ("memory", units::bytes(spec.memory_mib.saturating_mul(1024 * 1024))),
        ("machine", or_dash(&spec.machine)),
        ("guest agent", if spec.guest_agent { "configured" } else { "none" }.to_owned()),
        ("protected", units::bytes(spec.protected_bytes())),
    ]);
    format!("{head}\n{}\n{}", disk_table(&spec.disks), nic_table(&spec.nics))
}

/// Disks, and whether a backup covers them.
pub(super) fn disk_table(disks: &[Disk]) -> String {
    let headings = Table::new(["DISK", "SIZE", "FORMAT", "SOURCE", "PROTECTED"]);
    let row = |table: Table, disk: &Disk| {
        let protected = match disk.unprotected_reason.as_str() {
            _ if disk.protected => "yes".to_owned(),
            reason => format!("no: {reason}"),
        };
        table.row([
            disk.name.clone(),
            units::bytes(disk.size_bytes),
            disk.format.clone(),
            disk.source.clone(),
            protected,
        ])
    };
    disks.iter().fold(headings, row).to_string()
}

fn nic_table(nics: &[Nic]) -> String {
    let headings = Table::new(["MAC", "NETWORK", "MODEL"]);
    let row = |table: Table, nic: &Nic| {
        table.row([nic.mac.clone(), nic.network.clone(), nic.model.clone()])
    };
    nics.iter().fold(headings, row).to_string()
}
