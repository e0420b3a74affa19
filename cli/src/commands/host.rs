//! `drs host`

use std::path::Path;

use drs_hypervisor::{DriverError, HostReport};
use drs_model::{DiskPlace, Fault, FaultCode, Host, HostName, HypervisorKind};
use drs_runtime::environment;
use drs_transport::{Argv, TransportError};
use serde::Serialize;

use crate::args::catalog::{HostAddArgs, HostCommand, HostEditArgs};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::table::{Table, sheet};
use crate::output::{Output, units};
use crate::place::{Place, absolute};
use crate::wiring;

pub(super) async fn run(place: &Place, output: Output, command: HostCommand) -> Outcome<Exit> {
    match command {
        HostCommand::Add(args) => add(place, output, args).await,
        HostCommand::List => list(place, output).await,
        HostCommand::Check { name, accept_key } => check(place, output, name, accept_key).await,
        HostCommand::Edit(args) => edit(place, output, args).await,
        HostCommand::Remove { name } => remove(place, output, name).await,
    }
}

/// A host and what it said of itself.
#[derive(Serialize)]
struct Checked {
    host: Host,
    report: HostReport,
}

impl Checked {
    fn text(&self) -> String {
        let report = &self.report;
        let mut text = sheet([
            ("host", self.host.name.to_string()),
            ("site", self.host.site.to_string()),
            ("hypervisor", report.hypervisor.clone()),
            ("VMs", report.vms.to_string()),
            ("free space", units::bytes(report.free_bytes)),
        ]);
        for warning in &report.warnings {
            text.push_str(&format!("warning: {}\n", crate::output::plain(warning)));
        }
        text
    }
}

async fn add(place: &Place, output: Output, args: HostAddArgs) -> Outcome<Exit> {
    let taken = |host: &Host| host.name == args.name;
    if place.backend.catalog.hosts().await?.iter().any(taken) {
        return Err(Fault::permanent(
            FaultCode::AlreadyExists,
            format!("host {} exists already", args.name),
            "Choose another name, or remove it first with `drs host remove`.",
        )
        .into());
    }
    let host = described(&args)?;
    let connected = wiring::driver(host.clone(), &place.dir.simulated());
    let report = match connected {
        Ok(driver) => driver.check().await,
        Err(error) => Err(error),
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => return Err(not_added(place, &error, &host).await),
    };
    place.backend.catalog.add_host(&host).await?;
    let checked = Checked { host, report };
    output.answer(&checked, || checked.text())?;
    Ok(Exit::Success)
}

fn described(args: &HostAddArgs) -> Outcome<Host> {
    let host = Host {
        name: args.name.clone(),
        site: args.site.clone(),
        kind: args.driver,
        address: args.address.clone(),
        key_file: args.key.as_deref().map(key_file).transpose()?,
        host_keys: args.accept_key.clone().into_iter().collect(),
        image_dir: args.images.clone(),
        dump_dir: args.dump_dir.clone(),
        slots: args.slots,
        bytes_per_second: args.bandwidth.and_then(|rate| rate.0),
    };
    places_fit(&host)?;
    Ok(host)
}

fn key_file(path: &Path) -> Outcome<String> {
    let path = absolute(path)?;
    let text = path.to_str().ok_or_else(|| {
        Failure::invalid("the key's path is no text in UTF-8", "Choose another path.")
    })?;
    Ok(text.to_owned())
}

fn places_fit(host: &Host) -> Outcome<()> {
    host.image_dir.as_ref().map_or(Ok(()), |images| place_fits(host, images, "--images"))?;
    if host.dump_dir.is_some() && !host.kind.stages_archives() {
        return Err(Failure::invalid(
            format!("VMs of {} hosts cannot be staged as archives", host.kind),
            "Leave out `--dump-dir`.",
        ));
    }
    Ok(())
}

/// Restored disks go into a folder or into a storage; `option` said where.
pub(super) fn place_fits(host: &Host, disks: &str, option: &str) -> Outcome<()> {
    let Host { name, kind, .. } = host;
    match (kind.disk_place(), disks.starts_with('/')) {
        (DiskPlace::Storage, true) => Err(Failure::invalid(
            format!("{name} is a {kind} host: disks go into a storage, not a folder"),
            format!(
                "Name a storage's id with `{option}`, for example local-lvm (`pvesm status` lists them)."
            ),
        )),
        (DiskPlace::Folder, false) => Err(Failure::invalid(
            format!("{name} is a {kind} host: disks go into a folder, and one begins with /"),
            format!("Name a folder with `{option}`, for example /var/lib/libvirt/images."),
        )),
        _ => Ok(()),
    }
}

async fn edit(place: &Place, output: Output, args: HostEditArgs) -> Outcome<Exit> {
    let mut host = place.backend.catalog.host(&args.name).await?;
    if let Some(address) = args.address {
        host.address = address;
    }
    if let Some(key) = &args.key {
        host.key_file = Some(key_file(key)?);
    }
    if let Some(images) = args.images {
        host.image_dir = Some(images);
    }
    if let Some(dump_dir) = args.dump_dir {
        host.dump_dir = Some(dump_dir);
    }
    if let Some(slots) = args.slots {
        host.slots = slots;
    }
    if let Some(rate) = args.bandwidth {
        host.bytes_per_second = rate.0;
    }
    places_fit(&host)?;
    // A description that no driver takes is not kept.
    wiring::driver(host.clone(), &place.dir.simulated())?;
    place.backend.catalog.update_host(&host).await?;
    output.answer(&host, || table(std::slice::from_ref(&host)))?;
    Ok(Exit::Success)
}

/// Why a host was not added. For a key, the remedy is the whole command that accepts it; for a host of
/// another hypervisor than was said, the one that adds it.
async fn not_added(place: &Place, error: &DriverError, host: &Host) -> Failure {
    let mut fault = error.fault();
    if let Some(found) = other_kind(place, error, host).await {
        let (name, hypervisor) = (&host.name, &found.report.hypervisor);
        fault = Fault::permanent(
            FaultCode::InvalidInput,
            format!("{name} runs {hypervisor}, not {}; it was not added", host.kind),
            format!("Say so: {}", add_command(place, &found.host)),
        );
    }
    if let DriverError::Transport(
        TransportError::KeyUnknown { fingerprint, .. }
        | TransportError::KeyChanged { fingerprint, .. },
    ) = error
    {
        fault.message = format!("{}; the host was not added", fault.message);
        fault.remedy = format!(
            "Compare it with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on the \
             host; if it is the same: {}",
            add_command(place, &Host { host_keys: vec![fingerprint.clone()], ..host.clone() })
        );
    }
    fault.into()
}

/// The host as one of another hypervisor, when it lacks what the one that was said needs and is one.
async fn other_kind(place: &Place, error: &DriverError, host: &Host) -> Option<Checked> {
    let lacking = matches!(error, DriverError::Unsupported(_) | DriverError::Failed { .. });
    if !host.kind.is_reached_over_ssh() || !lacking {
        return None;
    }
    let others = HypervisorKind::ALL.into_iter().filter(|kind| *kind != host.kind);
    for kind in others.filter(|kind| kind.is_reached_over_ssh()) {
        // What means nothing there is left out.
        let dump_dir = host.dump_dir.clone().filter(|_| kind.stages_archives());
        let host = Host { kind, image_dir: None, dump_dir, ..host.clone() };
        let Ok(driver) = wiring::driver(host.clone(), &place.dir.simulated()) else { continue };
        if let Ok(report) = driver.check().await {
            return Some(Checked { host, report });
        }
    }
    None
}

/// The command that adds the host, ready for a shell.
fn add_command(place: &Place, host: &Host) -> String {
    let mut command = Argv::new("drs");
    if environment::default_data_dir().as_deref() != Some(place.dir.root()) {
        command = command.args(["--data-dir".to_owned(), place.dir.root().display().to_string()]);
    }
    command = command.args(["host", "add", host.name.as_str(), "--address", &host.address]);
    command = command.args(["--site", host.site.as_str()]);
    if let Some(key) = &host.key_file {
        command = command.args(["--key", key]);
    }
    if let Some(images) = &host.image_dir {
        command = command.args(["--images", images]);
    }
    if host.kind != HypervisorKind::default() {
        command = command.args(["--driver", host.kind.as_str()]);
    }
    if let Some(folder) = &host.dump_dir {
        command = command.args(["--dump-dir", folder]);
    }
    if let Some(rate) = host.bytes_per_second {
        command = command.arg("--bandwidth").arg(rate.to_string());
    }
    if host.slots != Host::SLOTS_DEFAULT {
        command = command.arg("--slots").arg(host.slots.to_string());
    }
    for key in &host.host_keys {
        command = command.args(["--accept-key", key]);
    }
    command.quoted()
}

async fn list(place: &Place, output: Output) -> Outcome<Exit> {
    let hosts = place.backend.catalog.hosts().await?;
    output.answer(&hosts, || table(&hosts))?;
    Ok(Exit::Success)
}

fn table(hosts: &[Host]) -> String {
    let headings = Table::new(["NAME", "SITE", "DRIVER", "ADDRESS", "SLOTS", "BANDWIDTH"]);
    let row = |table: Table, host: &Host| {
        table.row([
            host.name.to_string(),
            host.site.to_string(),
            host.kind.to_string(),
            host.address.clone(),
            host.slots.to_string(),
            units::rate(host.bytes_per_second),
        ])
    };
    hosts.iter().fold(headings, row).to_string()
}

async fn check(
    place: &Place,
    output: Output,
    name: HostName,
    accept_key: Option<String>,
) -> Outcome<Exit> {
    let mut host = place.backend.catalog.host(&name).await?;
    let accepts = accept_key.is_some();
    if let Some(fingerprint) = accept_key {
        host.host_keys = vec![fingerprint];
    }
    let driver = wiring::driver(host.clone(), &place.dir.simulated())?;
    let report = driver.check().await?;
    if accepts {
        place.backend.catalog.update_host(&host).await?;
        output.say(&format!("the key of host {name} is accepted"));
    }
    let checked = Checked { host, report };
    output.answer(&checked, || checked.text())?;
    Ok(Exit::Success)
}

async fn remove(place: &Place, output: Output, name: HostName) -> Outcome<Exit> {
    let host = place.backend.catalog.host(&name).await?;
    place.backend.remove_host(&name).await?;
    output.answer(&host, || format!("host {name} is removed; its recovery points stay"))?;
    Ok(Exit::Success)
}
