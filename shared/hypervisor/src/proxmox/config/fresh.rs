//! A configuration for a machine that comes from another hypervisor.

use std::collections::BTreeSet;

use drs_model::{Firmware, VmSpec};

use super::{Config, Properties, drive, net};

/// First version of Proxmox VE with the processor model that it gives new machines.
const GENERIC_CPU_SINCE: u32 = 8;
const GENERIC_CPU: &str = "x86-64-v2-AES";

/// A configuration and what it calls the disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proxmox) struct Fresh {
    pub(in crate::proxmox) config: Config,
    /// The name that each covered disk has in it, in the order of [`VmSpec::contents`].
    pub(in crate::proxmox) drives: Vec<String>,
    /// What differs from the source, one sentence each.
    pub(in crate::proxmox) remarks: Vec<String>,
}

/// The configuration of a machine as the neutral form describes it, with disks on the storages that
/// `storage` names for them, for a node of that major version.
pub(in crate::proxmox) fn fresh(
    spec: &VmSpec,
    version: u32,
    storage: impl Fn(&str) -> String,
) -> Fresh {
    let mut remarks = Vec::new();
    let mut config = Config::default();
    let label = if spec.label.is_empty() { spec.name.as_str() } else { &spec.label };
    config.set("agent", if spec.guest_agent { "1" } else { "0" });
    if spec.firmware == Firmware::Uefi {
        config.set("bios", "ovmf");
        remarks.push(
            "the machine starts with UEFI and has no disk for its settings: they are lost at every stop until `qm set` gives it an efidisk0"
                .to_owned(),
        );
    }
    let drives = drives(spec);
    config.set("boot", &boot(spec, &drives));
    config.set("cores", &spec.vcpus.max(1).to_string());
    if version >= GENERIC_CPU_SINCE {
        config.set("cpu", GENERIC_CPU);
    }
    if spec.machine.contains("q35") {
        config.set("machine", "q35");
    }
    config.set("memory", &spec.memory_mib.max(16).to_string());
    config.set("name", &guest_name(label));
    for (at, nic) in spec.nics.iter().enumerate() {
        config.set(&format!("net{at}"), &net::line(nic));
    }
    config.set("ostype", "l26");
    let covered = spec.disks.iter().filter(|disk| disk.protected);
    for (at, (name, disk)) in drives.iter().zip(covered).enumerate() {
        let mut value = Properties::parse(&format!("{}:vm-disk-{at}", storage(&disk.name)));
        value.set("size", drive::size_text(disk.size_bytes));
        config.set(name, &value.to_string());
        if *name != disk.name {
            remarks.push(format!("disk {} becomes {name}", disk.name));
        }
    }
    config.set("scsihw", "virtio-scsi-single");
    config.set("serial0", "socket");
    if is_uuid(&spec.native_id) {
        config.set("smbios1", &format!("uuid={}", spec.native_id.to_lowercase()));
    }
    config.set("sockets", "1");
    config.set("vmgenid", "1");
    Fresh { config, drives, remarks }
}

/// The first disk, then the first card.
fn boot(spec: &VmSpec, drives: &[String]) -> String {
    let net = (!spec.nics.is_empty()).then_some("net0");
    let devices: Vec<&str> = drives.first().map(String::as_str).into_iter().chain(net).collect();
    format!("order={}", devices.join(";"))
}

/// What each covered disk is called: on the bus that its name tells (`vda` is virtio0, `sdb` scsi1,
/// `hda` ide0), as it is called where it is a name of Proxmox's, else at the next place of scsi.
fn drives(spec: &VmSpec) -> Vec<String> {
    let covered = || spec.disks.iter().filter(|disk| disk.protected);
    let wanted: Vec<Option<String>> = covered().map(|disk| wanted_place(&disk.name)).collect();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let told: Vec<Option<String>> =
        wanted.into_iter().map(|name| name.filter(|name| taken.insert(name.clone()))).collect();
    let mut free = ["scsi", "virtio", "sata", "ide"]
        .into_iter()
        .flat_map(|bus| (0..).map_while(move |number| drive::place(bus, number)))
        .filter(|name| !taken.contains(name));
    told.into_iter().filter_map(|name| name.or_else(|| free.next())).collect()
}

fn wanted_place(name: &str) -> Option<String> {
    let prefixes = [("xvd", "virtio"), ("vd", "virtio"), ("sd", "scsi"), ("hd", "ide")];
    if let Some((prefix, bus)) = prefixes.into_iter().find(|(prefix, _)| name.starts_with(prefix)) {
        let letters = name.strip_prefix(prefix)?.as_bytes();
        let [letter @ b'a'..=b'z'] = letters else { return None };
        return drive::place(bus, u32::from(letter - b'a'));
    }
    let bus = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name.strip_prefix(bus)?.parse().ok()?;
    drive::place(bus, number).filter(|place| place == name)
}

/// A guest name that Proxmox allows (labels of letters, digits and `-`, joined by dots), as near to
/// the text as may be.
pub(super) fn guest_name(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let plain: String = text.chars().map(allowed).collect();
    let labels = plain.split('.').map(|label| label.trim_matches('-'));
    let labels: Vec<String> = labels
        .filter(|label| !label.is_empty())
        .map(|label| label.chars().take(63).collect::<String>().trim_end_matches('-').to_owned())
        .collect();
    match labels.is_empty() {
        true => "restored".to_owned(),
        false => labels.join("."),
    }
}

/// Whether the text is a UUID with its dashes.
fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
