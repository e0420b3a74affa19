//! From a configuration to the neutral form. What a configuration leaves out has Proxmox's default.

use drs_model::{Disk, Firmware, VmForm, VmName, VmSpec};

use super::{Config, Properties, drive, net};
use crate::proxmox::guest::{Vmid, words};

/// MiB of memory of a guest whose configuration does not say.
const MEMORY_DEFAULT: u64 = 512;
/// What `machine:` means when it is not there.
const MACHINE_DEFAULT: &str = "pc";

/// The neutral form of a guest. Sizes of disks are those that the configuration tells, 0 where it
/// tells none; a container without a limit of cores has one.
pub(in crate::proxmox) fn spec(name: &VmName, vmid: Vmid, form: VmForm, config: &Config) -> VmSpec {
    let cores: u32 = config.number("cores").unwrap_or(1);
    let sockets: u32 = config.number("sockets").unwrap_or(1);
    let nics = config.entries().filter(|(key, _)| net::is_net(key));
    VmSpec {
        name: name.clone(),
        native_id: format!("{}/{vmid}", words(form).kind),
        label: label(form, config).to_owned(),
        form,
        vcpus: cores.saturating_mul(sockets).max(1),
        memory_mib: memory_mib(config),
        firmware: match config.get("bios") {
            Some("ovmf") => Firmware::Uefi,
            _ => Firmware::Bios,
        },
        machine: machine(form, config),
        disks: disks(form, config),
        nics: nics.map(|(_, value)| net::nic(form, value)).collect(),
        guest_agent: guest_agent(config),
    }
}

/// The guest's name, empty when it has none.
fn label(form: VmForm, config: &Config) -> &str {
    let key = match form {
        VmForm::Machine => "name",
        VmForm::Container => "hostname",
    };
    config.get(key).unwrap_or_default()
}

/// `4096`, or `current=4096,...`.
fn memory_mib(config: &Config) -> u64 {
    let properties = Properties::parse(config.get("memory").unwrap_or_default());
    properties.leading("current").and_then(|mib| mib.parse().ok()).unwrap_or(MEMORY_DEFAULT)
}

/// The machine type without the mark of Proxmox's own build (`+pve0`), which other hypervisors do not
/// know.
fn machine(form: VmForm, config: &Config) -> String {
    if form == VmForm::Container {
        return String::new();
    }
    let properties = Properties::parse(config.get("machine").unwrap_or_default());
    let machine = properties.leading("type").unwrap_or(MACHINE_DEFAULT);
    machine.split('+').next().unwrap_or_default().to_owned()
}

fn guest_agent(config: &Config) -> bool {
    let properties = Properties::parse(config.get("agent").unwrap_or_default());
    matches!(properties.leading("enabled"), Some("1" | "yes" | "on" | "true"))
}

/// Disks in boot order first, then as listed.
fn disks(form: VmForm, config: &Config) -> Vec<Disk> {
    let order = boot_order(config);
    let rank = |disk: &Disk| order.iter().position(|name| *name == disk.name);
    let listed = config.entries().filter(|(key, _)| drive::is_drive(form, key));
    let mut disks: Vec<Disk> =
        listed.map(|(key, value)| drive::disk(form, config, key, value)).collect();
    disks.sort_by_key(|disk| rank(disk).unwrap_or(usize::MAX));
    disks
}

/// Names of the devices that the guest starts from: `boot: order=scsi0;net0`, or `bootdisk: scsi0` of
/// older configurations.
fn boot_order(config: &Config) -> Vec<&str> {
    let order = config.get("boot").and_then(|boot| boot.strip_prefix("order="));
    match order {
        Some(order) => order.split(';').collect(),
        None => config.get("bootdisk").into_iter().collect(),
    }
}
