//! A machine's configuration for its new node.

use std::collections::BTreeMap;

use drs_model::{HypervisorKind, VmForm};

use super::storages::Placed;
use super::{Made, Map, Wanted, data_bytes, distinct};
use crate::proxmox::config::{Config, Properties, fresh, is_drive, is_net, volume_storage};
use crate::proxmox::import::is_secret;
use crate::proxmox::native::Native;
use crate::{DriverError, PlannedDisk};

/// Formats that an archive may ask for; a storage that cannot have it takes raw.
const FORMATS: [&str; 3] = ["raw", "qcow2", "vmdk"];

/// Lines that name a device, file or program of one node. A `usb` and a `serial` line may also name
/// something that every node has.
const BOUND: [&str; 8] =
    ["hostpci", "usb", "parallel", "serial", "virtiofs", "args", "hookscript", "affinity"];
const UNBOUND_VALUES: [&str; 2] = ["spice", "socket"];

/// What `qmrestore` drops, or must not see.
const DROPPED: [&str; 4] = ["unused", "parent", "snaptime", "digest"];

/// A configuration that still names the disks as the source had them.
struct Source {
    config: Config,
    firewall: String,
    /// The drive of each content.
    drives: Vec<String>,
    remarks: Vec<String>,
}

pub(super) fn make(wanted: &Wanted<'_>) -> Result<Made, DriverError> {
    let point = wanted.request.point;
    let native = match point.hypervisor {
        HypervisorKind::Proxmox => Some(own_native(wanted)?),
        _ => None,
    };
    let storages = storages(wanted, native.as_ref())?;
    let mut source = match native {
        Some(native) => own(wanted, native)?,
        None => foreign(wanted, &storages),
    };
    let places = place(wanted, &mut source, &storages);
    travel(wanted, &mut source);
    attach(wanted, &mut source)?;
    let mut native =
        Native { form: VmForm::Machine, config: source.config, firewall: source.firewall };
    if !wanted.request.target.keep_macs {
        source.remarks.extend(distinct::renew(wanted.job, &mut native));
    }
    let sizes: Vec<u64> = point.disks.iter().map(|disk| disk.size_bytes).collect();
    let sorted = |device: &usize| places.get(*device).zip(sizes.get(*device));
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|a, b| places[*a].drive.cmp(&places[*b].drive));
    let devices = order.iter().filter_map(sorted);
    let disks = places.iter().zip(&point.disks).map(|(map, disk)| PlannedDisk {
        name: disk.name.clone(),
        size_bytes: disk.size_bytes,
        staging: format!("{}:{}", map.storage, map.drive),
        path: format!("{}:{}", map.storage, map.drive),
        format: map.format.clone(),
    });
    Ok(Made {
        native,
        disks: disks.collect(),
        devices: devices.map(|(map, size)| (map.device.clone(), *size)).collect(),
        contents: (0..places.len())
            .filter_map(|content| order.iter().position(|device| *device == content))
            .collect(),
        volumes: places
            .iter()
            .zip(&sizes)
            .map(|(map, size)| (map.drive.clone(), Some(*size)))
            .collect(),
        maps: order.iter().filter_map(|device| places.get(*device).cloned()).collect(),
        restore: Vec::new(),
        settle: Vec::new(),
        remarks: source.remarks,
    })
}

fn own_native(wanted: &Wanted<'_>) -> Result<Native, DriverError> {
    Native::parse(&wanted.request.point.native_config)
        .ok()
        .filter(|native| native.form == VmForm::Machine)
        .ok_or_else(|| DriverError::Invalid("the point's VM description is damaged".into()))
}

/// The storage of each content.
fn storages(wanted: &Wanted<'_>, native: Option<&Native>) -> Result<Vec<String>, DriverError> {
    let point = wanted.request.point;
    let asked = &wanted.request.target.storage;
    let data = data_bytes(point);
    let mut needed: BTreeMap<String, u64> = BTreeMap::new();
    let mut chosen = Vec::with_capacity(point.disks.len());
    for disk in &point.disks {
        let line = native.and_then(|native| native.config.get(&disk.name)).unwrap_or_default();
        let volume = Properties::parse(line);
        let lay_on = volume.leading("file").and_then(volume_storage);
        let placed = Placed { name: &disk.name, lay_on };
        let storage = wanted.storages.choose(VmForm::Machine, &placed, asked)?;
        *needed.entry(storage.clone()).or_default() +=
            data.get(disk.name.as_str()).copied().unwrap_or_default();
        chosen.push(storage);
    }
    wanted.storages.demand_room(&needed)?;
    Ok(chosen)
}

/// The configuration of a machine that was on a Proxmox VE.
fn own(wanted: &Wanted<'_>, native: Native) -> Result<Source, DriverError> {
    let Native { mut config, firewall, .. } = native;
    config.remove_maps();
    let dropped: Vec<String> = keys(&config, |key| {
        let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
        DROPPED.contains(&stem)
    });
    dropped.iter().for_each(|key| config.remove(key));
    let drives: Vec<String> =
        wanted.request.point.disks.iter().map(|disk| disk.name.clone()).collect();
    let known = |drive: &String| is_drive(VmForm::Machine, drive) && config.get(drive).is_some();
    if let Some(drive) = drives.iter().find(|drive| !known(drive)) {
        return Err(DriverError::Invalid(format!(
            "the point holds a disk {drive:?} that its VM description does not have"
        )));
    }
    Ok(Source { config, firewall, drives, remarks: Vec::new() })
}

/// A configuration for a machine that was on another hypervisor.
fn foreign(wanted: &Wanted<'_>, storages: &[String]) -> Source {
    let point = wanted.request.point;
    let storage = |name: &str| {
        let at = point.disks.iter().position(|disk| disk.name == name);
        at.and_then(|at| storages.get(at)).cloned().unwrap_or_default()
    };
    let made = fresh(&point.spec, wanted.version, storage);
    Source {
        config: made.config,
        firewall: String::new(),
        drives: made.drives,
        remarks: made.remarks,
    }
}

/// Puts the covered disks on their storages and takes the others away.
fn place(wanted: &Wanted<'_>, source: &mut Source, storages: &[String]) -> Vec<Map> {
    let mut maps = Vec::with_capacity(storages.len());
    for ((drive, storage), disk) in source
        .drives
        .iter()
        .zip(storages)
        .zip(wanted.request.point.spec.disks.iter().filter(|it| it.protected))
    {
        let mut line = Properties::parse(source.config.get(drive).unwrap_or_default());
        line.set_leading("file", format!("{storage}:vm-{}-{drive}", wanted.vmid));
        line.remove("format");
        source.config.set(drive, &line.to_string());
        let device = match drive.as_str() {
            "tpmstate0" => "drive-tpmstate0-backup".to_owned(),
            drive => format!("drive-{drive}"),
        };
        let format = FORMATS.iter().find(|format| **format == disk.format).unwrap_or(&"raw");
        maps.push(Map {
            drive: drive.clone(),
            device,
            storage: storage.clone(),
            format: (*format).to_owned(),
        });
    }
    let fallback = storages.first().cloned();
    for drive in keys(&source.config, |key| is_drive(VmForm::Machine, key)) {
        if !source.drives.contains(&drive) {
            uncovered(wanted, source, &drive, fallback.as_deref());
        }
    }
    maps
}

/// A drive that the point does not hold: a CD drive stays, empty where its disc stays behind; what is
/// on no disk of the point is taken away, since its line would name a volume of somebody else.
fn uncovered(wanted: &Wanted<'_>, source: &mut Source, drive: &str, storage: Option<&str>) {
    let mut line = Properties::parse(source.config.get(drive).unwrap_or_default());
    let volume = line.leading("file").unwrap_or_default().to_owned();
    let cdrom = line.get("media") == Some("cdrom");
    let cloudinit = volume.contains("cloudinit");
    match storage {
        Some(storage) if cloudinit => {
            line.set_leading("file", format!("{storage}:vm-{}-cloudinit", wanted.vmid));
            source.config.set(drive, &line.to_string());
        }
        _ if cdrom && (volume == "none" || wanted.at_home && !cloudinit) => {}
        _ if cdrom => {
            source.config.set(drive, "none,media=cdrom");
            source.remarks.push(format!("{drive} is an empty CD drive: {volume} stays behind"));
        }
        _ => {
            source.config.remove(drive);
            unboot(&mut source.config, drive);
            let known = wanted.request.point.spec.disks.iter().find(|disk| disk.name == drive);
            let reason = known.map_or("", |disk| disk.unprotected_reason.as_str());
            source.remarks.push(match reason {
                "" => format!("the new VM has no {drive}: the point does not hold it"),
                reason => {
                    format!("the new VM has no {drive}: the point does not hold it ({reason})")
                }
            });
        }
    }
}

/// Takes a drive out of the boot order.
fn unboot(config: &mut Config, drive: &str) {
    let Some(order) = config.get("boot").and_then(|boot| boot.strip_prefix("order=")) else {
        return;
    };
    let rest: Vec<&str> = order.split(';').filter(|device| *device != drive).collect();
    let order = format!("order={}", rest.join(";"));
    config.set("boot", &order);
}

/// Takes away what names something of the source's node.
fn travel(wanted: &Wanted<'_>, source: &mut Source) {
    if !wanted.at_home {
        let bound = keys(&source.config, |key| {
            BOUND.contains(&key.trim_end_matches(|c: char| c.is_ascii_digit()))
        });
        for key in bound {
            let value = source.config.get(&key).unwrap_or_default();
            let first = value.split(',').next().unwrap_or_default();
            if UNBOUND_VALUES.contains(&first.trim_start_matches("host=")) {
                continue;
            }
            let told = if is_secret(&key) { String::new() } else { format!(" ({value})") };
            source.remarks.push(format!("{key} names something of its node and is left out{told}"));
            source.config.remove(&key);
        }
    }
    let copy = wanted.request.target.pair.is_some() && !wanted.request.target.start;
    if copy && source.config.get("onboot") == Some("1") {
        source.config.set("onboot", "0");
        source.remarks.push(
            "it does not start with its node (onboot is 0), so that it cannot run beside its source"
                .to_owned(),
        );
    }
}

fn attach(wanted: &Wanted<'_>, source: &mut Source) -> Result<(), DriverError> {
    for key in keys(&source.config, is_net) {
        let mut card = Properties::parse(source.config.get(&key).unwrap_or_default());
        let networks = &wanted.request.target.networks;
        source.remarks.extend(wanted.bridges.attach(&key, &mut card, networks)?);
        source.config.set(&key, &card.to_string());
    }
    Ok(())
}

fn keys(config: &Config, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    config.entries().map(|(key, _)| key.to_owned()).filter(|key| wanted(key)).collect()
}
