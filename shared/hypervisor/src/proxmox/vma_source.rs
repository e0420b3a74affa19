//! What the devices of a VMA are called in a machine's configuration.

use std::collections::BTreeMap;

use drs_model::{Content, VmForm, VmSpec};
use drs_vma::Header;

use super::guest::words;

/// The name of a disk by that of its device: `drive-scsi0`, `drive-tpmstate0-backup`.
pub(super) fn disk_name(device: &str) -> &str {
    let name = device.strip_prefix("drive-").unwrap_or(device);
    name.strip_suffix("-backup").unwrap_or(name)
}

/// The index of the content of each device, by its id. The archive must hold just what the
/// description says, in the same sizes.
///
/// # Errors
/// What differs.
pub(super) fn contents(header: &Header, spec: &VmSpec) -> Result<BTreeMap<u8, usize>, String> {
    let contents = spec.contents();
    let place = |name: &str| contents.iter().position(|content| content.name == name);
    let mut found = BTreeMap::new();
    for device in &header.devices {
        let name = disk_name(&device.name);
        match place(name).and_then(|index| Some((index, contents.get(index)?))) {
            Some((index, Content { size_bytes: Some(size), .. })) if *size == device.size_bytes => {
                found.insert(device.id, index);
            }
            Some(_) => return Err(format!("disk {name} has another size in the archive")),
            None => return Err(format!("the archive holds a disk {name} that was not announced")),
        }
    }
    match contents.iter().enumerate().find(|(index, _)| !found.values().any(|it| it == index)) {
        None => Ok(found),
        Some((_, content)) => Err(format!("disk {} is not in the archive", content.name)),
    }
}

/// Takes the disks' sizes from the archive; a configuration tells them for information only. What is
/// not in the archive is not covered, and what is in it is.
pub(super) fn correct(spec: &mut VmSpec, header: &Header) {
    for disk in &mut spec.disks {
        let device = header.devices.iter().find(|device| disk_name(&device.name) == disk.name);
        match device {
            Some(device) => {
                disk.size_bytes = device.size_bytes;
                disk.protected = true;
                disk.unprotected_reason.clear();
            }
            None if disk.protected => {
                disk.protected = false;
                disk.unprotected_reason = "vzdump left it out".to_owned();
            }
            None => {}
        }
    }
}

/// The configuration and the firewall rules (empty when there are none) that an archive holds.
pub(super) fn configuration(header: &Header) -> (String, String) {
    let words = words(VmForm::Machine);
    let text = |name: &str| {
        let config = header.configs.iter().find(|config| config.name == name);
        config.map(|it| String::from_utf8_lossy(&it.data).into_owned()).unwrap_or_default()
    };
    (text(words.config), text(words.firewall))
}
