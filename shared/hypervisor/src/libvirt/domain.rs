//! A domain's description, adapted to the host on which it is restored.

use std::collections::BTreeSet;

use drs_model::{Firmware, JobId, RestoreTarget, VmName};

use super::import::is_kept;
use super::parse::HostCapabilities;
use super::spec;
use super::xml::Element;
use crate::{DriverError, PlannedDisk};

/// What the restored VM shall be.
pub(super) struct Wanted<'a> {
    /// The job that makes it; it is written into the description, so that taking the import back
    /// never takes somebody else's VM of the same name.
    pub(super) job: JobId,
    pub(super) name: &'a VmName,
    pub(super) disks: &'a [PlannedDisk],
    pub(super) target: &'a RestoreTarget,
}

/// What the target host has.
pub(super) struct Facts {
    /// Those of [`files`] that exist.
    pub(super) files: BTreeSet<String>,
    pub(super) networks: BTreeSet<String>,
    pub(super) bridges: BTreeSet<String>,
    pub(super) capabilities: HostCapabilities,
    pub(super) uuids: BTreeSet<String>,
    pub(super) host: String,
}

/// Files of the host that the description names beside the disks.
pub(super) fn files(domain: &Element) -> BTreeSet<String> {
    let boot = ["os/kernel", "os/initrd", "os/loader"].iter().filter_map(|path| domain.at(path));
    let drives = domain.at("devices").into_iter().flat_map(|devices| devices.all("disk"));
    let media = drives.filter(|disk| is_drive(disk)).filter_map(spec::disk_source);
    boot.map(|it| it.text().to_owned()).chain(media).filter(|it| it.starts_with('/')).collect()
}

/// Adapts a description to the target: its text, and what differs from the source.
pub(super) fn adapt(
    mut domain: Element,
    wanted: &Wanted<'_>,
    facts: &Facts,
) -> Result<(String, Vec<String>), DriverError> {
    let mut remarks = Vec::new();
    domain.unset("id");
    domain.remove("seclabel");
    identity(&mut domain, wanted, facts, &mut remarks);
    origin(&mut domain, wanted.job);
    kind(&mut domain, facts, &mut remarks);
    machine(&mut domain, facts, &mut remarks)?;
    boot(&mut domain, facts, &mut remarks)?;
    if domain.at("devices").is_none() {
        domain.children.push(Element::new("devices"));
    }
    if let Some(devices) = domain.at_mut("devices") {
        devices.remove("emulator");
        disks(devices, wanted, facts, &mut remarks)?;
        device_names(devices);
        for nic in devices.children.iter_mut().filter(|it| it.name == "interface") {
            interface(nic, wanted.target, facts, &mut remarks)?;
        }
        consoles(devices);
        for bound in ["hostdev", "tpm", "filesystem", "shmem"] {
            if devices.at(bound).is_some() {
                remarks.push(format!(
                    "a device of kind {bound} depends on its host: check it before the VM is started"
                ));
            }
        }
    }
    Ok((domain.to_string(), remarks))
}

/// Its name, and its UUID unless that is taken.
fn identity(domain: &mut Element, wanted: &Wanted<'_>, facts: &Facts, remarks: &mut Vec<String>) {
    domain.remove("name");
    domain.children.insert(0, Element::new("name").saying(wanted.name.as_str()));
    let uuid = domain.at("uuid").map(|uuid| uuid.text().to_owned());
    if uuid.is_some_and(|uuid| facts.uuids.contains(&uuid)) {
        domain.remove("uuid");
        domain.remove("genid");
        if let Some(system) = domain.at_mut("sysinfo/system") {
            system.children.retain(|entry| entry.attribute("name") != Some("uuid"));
        }
        remarks.push("its UUID is in use on the target host: it gets a new one".into());
    }
}

/// Name space of what DR Switch notes in a description; `import.sh` asks for it.
const ORIGIN: &str = "urn:dr-switch:import:1";

/// Notes which job makes the VM, in place of the job that made the VM it was taken from.
fn origin(domain: &mut Element, job: JobId) {
    let note = Element::new("drs:import").with("xmlns:drs", ORIGIN).with("job", &job.to_string());
    if domain.at("metadata").is_none() {
        domain.children.push(Element::new("metadata"));
    }
    if let Some(metadata) = domain.at_mut("metadata") {
        metadata.children.retain(|entry| entry.attribute("xmlns:drs") != Some(ORIGIN));
        metadata.children.push(note);
    }
}

/// KVM or emulation.
fn kind(domain: &mut Element, facts: &Facts, remarks: &mut Vec<String>) {
    let kind = domain.attribute("type").unwrap_or_default();
    let native = kind.is_empty();
    if kind == "qemu" || (kind == "kvm" && facts.capabilities.kvm()) {
        return;
    }
    let ours = if facts.capabilities.kvm() { "kvm" } else { "qemu" };
    domain.set("type", ours);
    if ours == "kvm" {
        return;
    }
    if native {
        domain.remove("cpu");
        return;
    }
    remarks.push("the target host has no KVM: the VM is emulated and slow".into());
    let mode = domain.at("cpu").and_then(|cpu| cpu.attribute("mode")).unwrap_or_default();
    if mode.starts_with("host-") || mode == "maximum" {
        domain.remove("cpu");
        remarks.push("its CPU was the host's own: it gets the default one".into());
    }
    if let Some(features) = domain.at_mut("features") {
        features.remove("kvm");
    }
}

/// Its machine type, or the newest one of the same family.
fn machine(
    domain: &mut Element,
    facts: &Facts,
    remarks: &mut Vec<String>,
) -> Result<(), DriverError> {
    let Some(kind) = domain.at_mut("os/type") else {
        return Err(DriverError::Invalid(
            "the VM's description names no operating system type".into(),
        ));
    };
    let arch = kind.attribute("arch").unwrap_or("x86_64").to_owned();
    let Some(wanted) = kind.attribute("machine").map(str::to_owned) else { return Ok(()) };
    let lacks = |what: &str| {
        Err(DriverError::Unsupported(format!("host {} cannot run {what}", facts.host)))
    };
    if !facts.capabilities.runs(&arch) {
        return lacks(&format!("guests of architecture {arch}"));
    }
    match facts.capabilities.machine(&arch, &wanted) {
        None => lacks(&format!("the machine type {wanted} or a relative of it")),
        Some(found) if found == wanted => Ok(()),
        Some(found) => {
            remarks.push(format!("the target host lacks machine type {wanted}: it gets {found}"));
            kind.set("machine", found);
            Ok(())
        }
    }
}

/// Firmware, kernel and NVRAM.
fn boot(domain: &mut Element, facts: &Facts, remarks: &mut Vec<String>) -> Result<(), DriverError> {
    let uefi = spec::firmware(domain) == Firmware::Uefi;
    let Some(os) = domain.at_mut("os") else { return Ok(()) };
    for name in ["kernel", "initrd"] {
        let path = os.at(name).map_or("", Element::text);
        if !path.is_empty() && !facts.files.contains(path) {
            remarks.push(format!("{path} is missing on the target host: the VM cannot start"));
        }
    }
    if !uefi {
        return Ok(());
    }
    let loader = os.at("loader").map_or("", Element::text).to_owned();
    if !loader.is_empty() && !facts.files.contains(&loader) {
        if os.attribute("firmware") != Some("efi") {
            return Err(DriverError::Unsupported(format!(
                "host {} lacks the UEFI firmware {loader}",
                facts.host
            )));
        }
        os.remove("loader");
        remarks.push(format!("UEFI firmware {loader} is missing: libvirt chooses another one"));
    }
    let template = os.at("nvram").and_then(|it| it.attribute("template")).map(str::to_owned);
    os.remove("nvram");
    if let Some(template) = template.filter(|_| !loader.is_empty()) {
        os.children.push(Element::new("nvram").with("template", &template));
    }
    remarks.push("UEFI variables are not part of a point: they start from their defaults".into());
    Ok(())
}

fn is_drive(disk: &Element) -> bool {
    matches!(disk.attribute("device"), Some("cdrom" | "floppy"))
}

/// Restored disks get their new files, drives lose media that the target does not have, disks that
/// were not covered are left out.
fn disks(
    devices: &mut Element,
    wanted: &Wanted<'_>,
    facts: &Facts,
    remarks: &mut Vec<String>,
) -> Result<(), DriverError> {
    let mut placed = 0;
    let kept = wanted.disks.iter().filter(is_kept);
    devices.children.retain_mut(|disk| {
        if disk.name != "disk" {
            return true;
        }
        let name = spec::disk_name(disk).to_owned();
        if let Some(planned) = kept.clone().find(|planned| planned.name == name) {
            place(disk, planned);
            placed += 1;
            return true;
        }
        if !is_drive(disk) {
            remarks.push(format!("disk {name} is not part of the point: the VM comes without it"));
            return false;
        }
        if let Some(medium) = spec::disk_source(disk).filter(|it| !facts.files.contains(it)) {
            disk.remove("source");
            remarks.push(format!("drive {name} is empty: {medium} is missing on the target host"));
        }
        true
    });
    for firmware in wanted.disks.iter().filter(|disk| !is_kept(disk)) {
        remarks.push(format!(
            "{} is the firmware's memory and stays behind: the firmware starts from its defaults",
            firmware.name
        ));
    }
    match placed == kept.count() {
        true => Ok(()),
        false => Err(DriverError::Invalid(
            "the point's VM description does not name every disk of the point".into(),
        )),
    }
}

fn place(disk: &mut Element, planned: &PlannedDisk) {
    for own in ["source", "backingStore", "mirror", "encryption", "auth"] {
        disk.remove(own);
    }
    disk.set("type", "file");
    if disk.at("driver").is_none() {
        disk.children.push(Element::new("driver").with("name", "qemu"));
    }
    if let Some(driver) = disk.at_mut("driver") {
        driver.set("type", &planned.format);
    }
    disk.children.push(Element::new("source").with("file", &planned.path));
}

/// Attaches a card to the mapped network.
fn interface(
    nic: &mut Element,
    target: &RestoreTarget,
    facts: &Facts,
    remarks: &mut Vec<String>,
) -> Result<(), DriverError> {
    for own in ["target", "backend", "alias"] {
        nic.remove(own);
    }
    if !target.keep_macs {
        nic.remove("mac");
    }
    let kind = nic.attribute("type").unwrap_or_default().to_owned();
    let key = match kind.as_str() {
        "network" => "network",
        "bridge" => "bridge",
        "direct" => "dev",
        "user" => return Ok(()),
        other => {
            remarks.push(format!(
                "a network card of type {other} depends on its host: check it before the VM is started"
            ));
            return Ok(());
        }
    };
    let source = nic.at("source").and_then(|source| source.attribute(key)).unwrap_or_default();
    let wanted = target.networks.get(source).cloned().unwrap_or_else(|| source.to_owned());
    let here = |key: &str| match key {
        "network" => facts.networks.contains(&wanted),
        _ => facts.bridges.contains(&wanted),
    };
    let (found, found_key) = match key {
        same if here(same) => (kind.as_str(), same),
        "network" if here("bridge") => ("bridge", "bridge"),
        "bridge" | "dev" if here("network") => ("network", "network"),
        _ => {
            return Err(DriverError::Invalid(format!(
                "there is no network or bridge {wanted:?} on host {}; map it with `--network {source}=NAME`",
                facts.host
            )));
        }
    };
    if found == kind {
        if let Some(source) = nic.at_mut("source") {
            source.unset("portid");
            source.set(key, &wanted);
        }
    } else {
        nic.set("type", found);
        nic.remove("source");
        nic.children.push(Element::new("source").with(found_key, &wanted));
    }
    Ok(())
}

/// A terminal of the source host means nothing here.
fn consoles(devices: &mut Element) {
    for console in &mut devices.children {
        if matches!(console.name.as_str(), "serial" | "console") {
            console.unset("tty");
            if console.attribute("type") == Some("pty") {
                console.remove("source");
            }
        }
    }
}

/// Gives a disk whose name is none of libvirt's (`scsi0`) the next free one of its bus (`sda`).
fn device_names(devices: &mut Element) {
    let known = |name: &str| {
        let letters = ["vd", "sd", "hd", "fd", "xvd", "ubd"].iter();
        letters
            .filter_map(|prefix| name.strip_prefix(prefix))
            .any(|rest| !rest.is_empty() && rest.chars().all(|letter| letter.is_ascii_lowercase()))
    };
    let mut taken: BTreeSet<String> =
        devices.all("disk").map(|disk| spec::disk_name(disk).to_owned()).collect();
    for disk in devices.children.iter_mut().filter(|it| it.name == "disk") {
        let Some(target) = disk.at_mut("target") else { continue };
        if target.attribute("dev").is_some_and(known) {
            continue;
        }
        let prefix = match target.attribute("bus") {
            Some("scsi" | "sata" | "usb") => "sd",
            Some("ide") => "hd",
            _ => "vd",
        };
        let free = letters().map(|letters| format!("{prefix}{letters}"));
        if let Some(name) = free.into_iter().find(|name| !taken.contains(name)) {
            target.set("dev", &name);
            taken.insert(name);
        }
    }
}

/// `a` to `z`, then `aa` to `zz`.
fn letters() -> impl Iterator<Item = String> {
    let one = || (b'a'..=b'z').map(char::from);
    let two = one().flat_map(move |first| one().map(move |second| format!("{first}{second}")));
    one().map(String::from).chain(two)
}
