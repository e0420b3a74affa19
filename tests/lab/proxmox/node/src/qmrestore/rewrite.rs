//! What a restore makes of the configuration in the archive.

use drs_vma::Header;

use crate::config::{Config, Volume, is_disk_key, numbered};
use crate::failure::{Done, Failure};
use crate::node::new_uuid;

/// A line `#qmdump#map:scsi0:drive-scsi0:local:raw:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) key: String,
    pub(super) device: String,
    pub(super) storage: String,
    pub(super) format: String,
}

/// The configuration in the archive.
pub(crate) fn text_of(header: &Header) -> Done<String> {
    let blob = header.configs.iter().find(|config| config.name == "qemu-server.conf");
    let missing = || Failure::new("unable to find qemu-server.conf in the archive");
    Ok(String::from_utf8_lossy(&blob.ok_or_else(missing)?.data).into_owned())
}

pub(super) fn maps(conf: &str) -> Vec<Map> {
    let map = |line: &str| {
        let parts: Vec<&str> = line.strip_prefix("#qmdump#map:")?.split(':').collect();
        let [key, device, storage, format, ..] = parts[..] else { return None };
        let [key, device, storage, format] = [key, device, storage, format].map(str::to_owned);
        Some(Map { key, device, storage, format })
    };
    conf.lines().filter_map(map).collect()
}

/// The new configuration: `volumes` says which volume each drive has now.
pub(super) fn config(conf: &str, volumes: &[(String, String)], unique: bool) -> Done<Config> {
    let kept = |line: &&str| {
        let gone = ["#qmdump#", "#vzdump#", "lock:", "unused", "parent:"];
        !gone.iter().any(|start| line.starts_with(start))
    };
    let text: String = conf.lines().filter(kept).map(|line| format!("{line}\n")).collect();
    let mut config = Config::parse(&text);
    for (key, value) in config.values.clone() {
        let mut drive = Volume::parse(&value);
        if is_disk_key(&key) && drive.is_excluded() {
            config.values.remove(&key);
            config.comment(&format!("{key}: {value}"));
        } else if let Some((_, id)) = volumes.iter().find(|(mapped, _)| *mapped == key) {
            drive.id.clone_from(id);
            drive.drop_option("format");
            config.set(&key, drive.text());
        } else if unique && numbered(&key, &["net"]) {
            config.set(&key, with_new_mac(&value)?);
        }
    }
    if config.get("vmgenid").is_some_and(|id| id != "0") {
        config.set("vmgenid", new_uuid()?);
    }
    if let Some(smbios) = config.get("smbios1").filter(|_| unique) {
        let uuid = format!("uuid={}", new_uuid()?);
        let others = smbios.split(',').filter(|part| !part.starts_with("uuid="));
        let parts: Vec<&str> = std::iter::once(uuid.as_str()).chain(others).collect();
        config.set("smbios1", parts.join(","));
    }
    Ok(config)
}

/// A network card's line with a fresh address, `virtio=BC:24:11:…` or `…,hwaddr=BC:24:11:…`.
pub(crate) fn with_new_mac(value: &str) -> Done<String> {
    let hex = new_uuid()?.replace('-', "").to_uppercase();
    let pair = |at: usize| hex.get(at..at + 2).unwrap_or("00").to_owned();
    let fresh = format!("BC:24:11:{}:{}:{}", pair(0), pair(2), pair(4));
    let is_mac = |text: &str| text.len() == 17 && text.split(':').count() == 6;
    let part = |part: &str| match part.split_once('=') {
        Some((key, old)) if is_mac(old) => format!("{key}={fresh}"),
        _ => part.to_owned(),
    };
    Ok(value.split(',').map(part).collect::<Vec<_>>().join(","))
}
