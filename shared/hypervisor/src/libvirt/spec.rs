//! From a domain's description to the neutral form.

use std::collections::BTreeMap;

use drs_model::{Disk, Firmware, Nic, VmForm, VmName, VmSpec};

use super::xml::Element;

/// A guest sees whole sectors, whatever the length of an image file.
const SECTOR_BYTES: u64 = 512;

/// The neutral form of a domain; `sizes` are the disks' sizes by name.
pub(super) fn spec(domain: &Element, sizes: &BTreeMap<String, u64>) -> Result<VmSpec, String> {
    let name = domain.at("name").map_or("", Element::text);
    let name: VmName = name.parse().map_err(|error| format!("{error}"))?;
    let empty = Element::new("devices");
    let devices = domain.at("devices").unwrap_or(&empty);
    let mut disks: Vec<(u32, Disk)> = devices.all("disk").map(|it| disk(it, sizes)).collect();
    disks.sort_by_key(|(order, _)| *order);
    Ok(VmSpec {
        name,
        native_id: domain.at("uuid").map_or("", Element::text).to_owned(),
        label: String::new(),
        form: VmForm::Machine,
        vcpus: domain.at("vcpu").and_then(|it| it.text().parse().ok()).unwrap_or(1),
        memory_mib: domain.at("memory").map_or(0, memory_mib),
        firmware: firmware(domain),
        machine: machine(domain).to_owned(),
        disks: disks.into_iter().map(|(_, disk)| disk).collect(),
        nics: devices.all("interface").map(nic).collect(),
        guest_agent: devices
            .all("channel")
            .filter_map(|channel| channel.at("target")?.attribute("name"))
            .any(|name| name == "org.qemu.guest_agent.0"),
    })
}

/// The machine type, empty when the description names none.
pub(super) fn machine(domain: &Element) -> &str {
    domain.at("os/type").and_then(|it| it.attribute("machine")).unwrap_or_default()
}

/// How the machine starts.
pub(super) fn firmware(domain: &Element) -> Firmware {
    let efi = domain.at("os").and_then(|os| os.attribute("firmware")) == Some("efi");
    let flash = domain.at("os/loader").and_then(|it| it.attribute("type")) == Some("pflash");
    if efi || flash { Firmware::Uefi } else { Firmware::Bios }
}

/// The disk's name inside the VM.
pub(super) fn disk_name(disk: &Element) -> &str {
    disk.at("target").and_then(|target| target.attribute("dev")).unwrap_or_default()
}

/// Where the disk lies, `None` for an empty drive.
pub(super) fn disk_source(disk: &Element) -> Option<String> {
    let source = disk.at("source")?;
    ["file", "dev", "dir"].iter().find_map(|key| source.attribute(key)).map(str::to_owned).or_else(
        || {
            let pool = source.attribute("pool").or_else(|| source.attribute("protocol"))?;
            let volume = source.attribute("volume").or_else(|| source.attribute("name"))?;
            Some(format!("{pool}/{volume}"))
        },
    )
}

fn disk(disk: &Element, sizes: &BTreeMap<String, u64>) -> (u32, Disk) {
    let boot = disk.at("boot").and_then(|boot| boot.attribute("order"));
    let name = disk_name(disk).to_owned();
    let reason = unprotected_reason(disk);
    let format = disk.at("driver").and_then(|driver| driver.attribute("type"));
    let disk = Disk {
        size_bytes: sizes
            .get(&name)
            .copied()
            .unwrap_or_default()
            .checked_next_multiple_of(SECTOR_BYTES)
            .unwrap_or_default(),
        name,
        source: disk_source(disk).unwrap_or_default(),
        format: format.unwrap_or("raw").to_owned(),
        protected: reason.is_empty(),
        unprotected_reason: reason,
    };
    (boot.and_then(|order| order.parse().ok()).unwrap_or(u32::MAX), disk)
}

/// Why a backup does not cover the disk, empty when it does.
fn unprotected_reason(disk: &Element) -> String {
    let device = disk.attribute("device").unwrap_or("disk");
    let storage = disk.attribute("type").unwrap_or("file");
    let marked = |name| disk.at(name).is_some();
    match (device, storage) {
        ("cdrom" | "floppy" | "lun", _) => format!("it is a {device}"),
        _ if disk_source(disk).is_none() => "it has no medium".into(),
        _ if marked("readonly") => "it is read-only".into(),
        _ if marked("shareable") => "it is shared between VMs".into(),
        _ if marked("transient") => "its changes are thrown away when the VM stops".into(),
        (_, "file" | "block") => String::new(),
        (_, other) => format!("storage of type {other} is not supported"),
    }
}

fn nic(interface: &Element) -> Nic {
    let source = interface.at("source");
    let network = ["network", "bridge", "dev"]
        .iter()
        .find_map(|key| source.and_then(|source| source.attribute(key)));
    let text = |path, key| interface.at(path).and_then(|it| it.attribute(key)).unwrap_or_default();
    Nic {
        mac: text("mac", "address").to_owned(),
        network: network.unwrap_or_default().to_owned(),
        model: text("model", "type").to_owned(),
    }
}

fn memory_mib(memory: &Element) -> u64 {
    let amount: u64 = memory.text().parse().unwrap_or_default();
    match memory.attribute("unit").unwrap_or("KiB") {
        "b" | "bytes" => amount >> 20,
        "MiB" | "M" => amount,
        "GiB" | "G" => amount << 10,
        "TiB" | "T" => amount << 20,
        _ => amount >> 10,
    }
}
