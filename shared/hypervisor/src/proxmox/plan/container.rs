//! A container's options for its new node. Its archive is passed on as it is and holds its
//! configuration; what is to be otherwise is set when it has been restored.

use std::collections::BTreeMap;

use drs_model::{HypervisorKind, VmForm};

use super::storages::Placed;
use super::{Made, Wanted, distinct};
use crate::proxmox::config::{Config, Properties, is_drive, is_net, size_bytes, volume_storage};
use crate::proxmox::native::Native;
use crate::{DriverError, PlannedDisk};

const GIB: u64 = 1 << 30;
/// Size of a root file system whose configuration tells none, beside its data.
const ROOM_BYTES: u64 = GIB;

/// What a volume's line says beside its place and size, and a new one may say, too.
const KEPT: [&str; 7] = ["mp", "acl", "backup", "mountoptions", "quota", "replicate", "ro"];

pub(super) fn make(wanted: &Wanted<'_>) -> Result<Made, DriverError> {
    let point = wanted.request.point;
    if point.hypervisor != HypervisorKind::Proxmox {
        return Err(DriverError::Unsupported(format!(
            "a container of {} cannot be restored on Proxmox VE",
            point.hypervisor
        )));
    }
    let mut native = Native::parse(&point.native_config)
        .ok()
        .filter(|native| native.form == VmForm::Container)
        .ok_or_else(|| DriverError::Invalid("the point's description is damaged".into()))?;
    let volumes = volumes(wanted, &native.config)?;
    let mut remarks = Vec::new();
    let left_out = leave_out(wanted, &mut native.config, &volumes, &mut remarks);
    let before = native.config.clone();
    attach(wanted, &mut native.config, &mut remarks)?;
    if !wanted.request.target.keep_macs {
        remarks.extend(distinct::renew(wanted.job, &mut native));
    }
    stay_off(wanted, &mut native.config, &mut remarks);
    let changed = native.config.entries().filter(|(key, value)| before.get(key) != Some(value));
    let mut settle: Vec<String> =
        changed.flat_map(|(key, value)| [format!("--{key}"), value.to_owned()]).collect();
    if !left_out.is_empty() {
        settle.extend(["--delete".to_owned(), left_out.join(",")]);
    }
    for volume in &volumes {
        native.config.set(&volume.key, &volume.line(wanted));
    }
    Ok(Made {
        disks: volumes.iter().map(Volume::planned).collect(),
        devices: Vec::new(),
        contents: Vec::new(),
        maps: Vec::new(),
        restore: restore_options(&native.config, &volumes),
        settle,
        volumes: volumes.iter().map(|volume| (volume.key.clone(), None)).collect(),
        native,
        remarks,
    })
}

/// A volume that the archive holds.
struct Volume {
    key: String,
    storage: String,
    size_bytes: u64,
    /// `mp=/srv,backup=1`
    options: Properties,
}

impl Volume {
    /// What the restore is told: `local:8,mp=/srv`.
    fn option(&self) -> String {
        with(&format!("{}:{}", self.storage, gib(self.size_bytes)), &self.options)
    }

    /// Its line in the new configuration.
    fn line(&self, wanted: &Wanted<'_>) -> String {
        with(&format!("{}:vm-{}-{}", self.storage, wanted.vmid, self.key), &self.options)
    }

    fn planned(&self) -> PlannedDisk {
        let place = format!("{}:{}", self.storage, self.key);
        PlannedDisk {
            name: self.key.clone(),
            size_bytes: self.size_bytes,
            staging: place.clone(),
            path: place,
            format: "raw".into(),
        }
    }
}

fn with(volume: &str, options: &Properties) -> String {
    match options.to_string().as_str() {
        "" => volume.to_owned(),
        options => format!("{volume},{options}"),
    }
}

/// The volumes that a backup covers, on their storages.
fn volumes(wanted: &Wanted<'_>, config: &Config) -> Result<Vec<Volume>, DriverError> {
    let point = wanted.request.point;
    let mut volumes = Vec::new();
    let mut needed: BTreeMap<String, u64> = BTreeMap::new();
    let data = point.disks.iter().map(|content| content.data_bytes).sum::<u64>();
    for disk in point.spec.disks.iter().filter(|disk| disk.protected) {
        let line = config.get(&disk.name).filter(|_| is_drive(VmForm::Container, &disk.name));
        let Some(line) = line else {
            return Err(DriverError::Invalid(format!(
                "the point names a volume {:?} that its description does not have",
                disk.name
            )));
        };
        let line = Properties::parse(line);
        let lay_on = line.leading("volume").and_then(volume_storage);
        let placed = Placed { name: &disk.name, lay_on };
        let asked = &wanted.request.target.storage;
        let storage = wanted.storages.choose(VmForm::Container, &placed, asked)?;
        let mut options = Properties::default();
        for (key, value) in line.pairs().filter(|(key, _)| KEPT.contains(key)) {
            options.set(key, value);
        }
        let told = line.get("size").and_then(size_bytes).filter(|size| *size > 0);
        if disk.name == "rootfs" {
            *needed.entry(storage.clone()).or_default() += data;
        }
        let size_bytes = told.unwrap_or((data + data / 2 + ROOM_BYTES).next_multiple_of(GIB));
        volumes.push(Volume { key: disk.name.clone(), storage, size_bytes, options });
    }
    match volumes.iter().any(|volume| volume.key == "rootfs") {
        true => wanted.storages.demand_room(&needed).map(|()| volumes),
        false => Err(DriverError::Invalid(
            "the point holds no root file system, so no container can be made of it".into(),
        )),
    }
}

/// Takes away volumes that the point does not hold, and on another node what names something of the
/// old one. Tells the keys that must go from what the archive says, too.
fn leave_out(
    wanted: &Wanted<'_>,
    config: &mut Config,
    volumes: &[Volume],
    remarks: &mut Vec<String>,
) -> Vec<String> {
    let mut from_archive = Vec::new();
    let drives = config.entries().filter(|(key, _)| is_drive(VmForm::Container, key));
    let drives: Vec<(String, String)> =
        drives.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    for (key, value) in drives {
        let line = Properties::parse(&value);
        let place = line.get("mp").unwrap_or_default();
        // A restore takes only lines that name no volume from the archive.
        let folder = line.leading("volume").is_some_and(|volume| volume.starts_with('/'));
        if volumes.iter().any(|volume| volume.key == key) || folder && wanted.at_home {
            continue;
        }
        config.remove(&key);
        if folder {
            remarks
                .push(format!("{key} ({place}) is a folder or device of its node and is left out"));
            from_archive.push(key);
        } else {
            remarks.push(format!("{key} ({place}) is left out: the point does not hold it"));
        }
    }
    if config.get("hookscript").is_some() && !wanted.at_home {
        config.remove("hookscript");
        remarks.push("hookscript names a file of its node and is left out".to_owned());
        from_archive.push("hookscript".to_owned());
    }
    ["parent", "snaptime"].iter().for_each(|key| config.remove(key));
    from_archive
}

fn attach(
    wanted: &Wanted<'_>,
    config: &mut Config,
    remarks: &mut Vec<String>,
) -> Result<(), DriverError> {
    let cards: Vec<String> =
        config.entries().map(|(key, _)| key.to_owned()).filter(|key| is_net(key)).collect();
    for key in cards {
        let mut card = Properties::parse(config.get(&key).unwrap_or_default());
        remarks.extend(wanted.bridges.attach(&key, &mut card, &wanted.request.target.networks)?);
        config.set(&key, &card.to_string());
    }
    Ok(())
}

/// A copy that is not to run beside its source does not start with its node.
fn stay_off(wanted: &Wanted<'_>, config: &mut Config, remarks: &mut Vec<String>) {
    let target = wanted.request.target;
    if target.pair.is_some() && !target.start && config.get("onboot") == Some("1") {
        config.set("onboot", "0");
        remarks.push(
            "it does not start with its node (onboot is 0), so that it cannot run beside its source"
                .to_owned(),
        );
    }
}

/// What `pct restore` must be told: it does not look into an archive that comes through a pipe.
fn restore_options(config: &Config, volumes: &[Volume]) -> Vec<String> {
    let mut options: Vec<String> =
        volumes.iter().flat_map(|it| [format!("--{}", it.key), it.option()]).collect();
    if let Some(root) = volumes.iter().find(|volume| volume.key == "rootfs") {
        options.extend(["--storage".to_owned(), root.storage.clone()]);
    }
    if config.get("unprivileged") == Some("1") {
        options.extend(["--unprivileged".to_owned(), "1".to_owned()]);
    }
    options
}

/// A size in GiB as `pct` takes it: whole, or with six digits behind the point, rounded up.
fn gib(bytes: u64) -> String {
    if bytes.is_multiple_of(GIB) {
        return (bytes / GIB).to_string();
    }
    let millionths = (u128::from(bytes) * 1_000_000).div_ceil(u128::from(GIB));
    let text = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_gib() {
        for (bytes, text) in
            [(8 * GIB, "8"), (64 << 20, "0.0625"), (GIB + 1, "1.000001"), (GIB * 3 / 2, "1.5")]
        {
            assert_eq!(gib(bytes), text);
        }
    }
}
