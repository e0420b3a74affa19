//! The cluster's storages: what storage.cfg says, and the volumes and backups that lie on them.

use std::fs;
use std::path::PathBuf;

use crate::failure::{Done, Failure};
use crate::guests::Kind;
use crate::node::{Civil, Node};

/// One storage of the file kind.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    pub(crate) id: String,
    /// `dir` or `nfs`.
    pub(crate) plugin: String,
    /// Its place, as on a real node.
    pub(crate) path: String,
    /// What it may hold, in the order of the file.
    pub(crate) content: Vec<String>,
    /// The retention by which vzdump prunes when nobody says otherwise, `keep-last=2`.
    pub(crate) prune: Option<String>,
    pub(crate) shared: bool,
}

/// A backup on a storage.
#[derive(Debug, Clone)]
pub(crate) struct Backup {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) guest: u32,
    /// The time in its name, seconds since 1970.
    pub(crate) time: i64,
    pub(crate) size: u64,
    /// `vma.zst` and the like.
    pub(crate) format: String,
    pub(crate) protected: bool,
    /// The first line of its notes.
    pub(crate) notes: Option<String>,
}

/// A disk of a guest on a storage.
#[derive(Debug, Clone)]
pub(crate) struct GuestVolume {
    pub(crate) id: String,
    pub(crate) content: &'static str,
    pub(crate) size: u64,
    pub(crate) guest: u32,
}

pub(crate) fn all(node: &Node) -> Vec<Storage> {
    let text = fs::read_to_string(node.file("/etc/pve/storage.cfg")).unwrap_or_default();
    let mut found: Vec<Storage> = Vec::new();
    for line in text.lines() {
        if !line.starts_with(char::is_whitespace) {
            let Some((plugin, id)) = line.split_once(": ") else { continue };
            found.push(Storage {
                id: id.trim().to_owned(),
                plugin: plugin.to_owned(),
                path: format!("/mnt/pve/{}", id.trim()),
                content: Vec::new(),
                prune: None,
                shared: plugin == "nfs",
            });
        } else if let Some(storage) = found.last_mut() {
            let (key, value) = line.trim().split_once(char::is_whitespace).unwrap_or((line, ""));
            let value = value.trim();
            match key {
                "path" => value.clone_into(&mut storage.path),
                "content" => storage.content = value.split(',').map(str::to_owned).collect(),
                "prune-backups" => storage.prune = Some(value.to_owned()),
                "shared" => storage.shared = value == "1",
                _ => {}
            }
        }
    }
    found
}

pub(crate) fn find(node: &Node, id: &str) -> Done<Storage> {
    let missing = || Failure::new(format!("storage '{id}' does not exist"));
    all(node).into_iter().find(|storage| storage.id == id).ok_or_else(missing)
}

impl Storage {
    pub(crate) fn holds(&self, content: &str) -> bool {
        self.content.iter().any(|held| held == content)
    }

    /// Where its backups lie.
    pub(crate) fn dump(&self) -> String {
        format!("{}/dump", self.path)
    }

    /// Every backup, sorted by name.
    pub(crate) fn backups(&self, node: &Node) -> Vec<Backup> {
        backups_in(node, &self.dump())
    }

    /// Every volume of a guest, with its guest: size in bytes, content `images` or `rootdir`.
    pub(crate) fn volumes(&self, node: &Node) -> Vec<GuestVolume> {
        let entries =
            |folder: String| fs::read_dir(node.file(folder)).into_iter().flatten().flatten();
        let mut found = Vec::new();
        for (folder, content) in [("images", "images"), ("private", "rootdir")] {
            for guest in entries(format!("{}/{folder}", self.path)) {
                let Some(id) = guest.file_name().to_str().and_then(|id| id.parse().ok()) else {
                    continue;
                };
                for volume in entries(format!("{}/{folder}/{id}", self.path)) {
                    let name = volume.file_name().to_string_lossy().into_owned();
                    let size = volume.metadata().map_or(0, |meta| meta.len());
                    let id_text = format!("{}:{id}/{name}", self.id);
                    found.push(GuestVolume { id: id_text, content, size, guest: id });
                }
            }
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found
    }

    /// A name for a guest's next volume and the volume's id, `disk-0` and up.
    pub(crate) fn next_volume(&self, node: &Node, kind: Kind, guest: u32, format: &str) -> String {
        let taken = |number: &u32| {
            let stem = format!("vm-{guest}-disk-{number}.");
            let folder = match kind {
                Kind::Qemu => format!("{}/images/{guest}", self.path),
                Kind::Lxc => format!("{}/private/{guest}", self.path),
            };
            let mut entries = fs::read_dir(node.file(folder)).into_iter().flatten().flatten();
            entries.any(|entry| entry.file_name().to_string_lossy().starts_with(&stem))
        };
        let number = (0..).find(|number| !taken(number)).unwrap_or_default();
        format!("{}:{guest}/vm-{guest}-disk-{number}.{format}", self.id)
    }

    /// Bytes in total, used and available, of the file system it lies on.
    pub(crate) fn space(&self, node: &Node) -> Done<(u64, u64, u64)> {
        let stat = rustix::fs::statvfs(node.file(&self.path))?;
        let total = stat.f_blocks * stat.f_frsize;
        Ok((total, total - stat.f_bfree * stat.f_frsize, stat.f_bavail * stat.f_frsize))
    }
}

/// Every backup in a folder, sorted by name.
pub(crate) fn backups_in(node: &Node, folder: &str) -> Vec<Backup> {
    let entries = fs::read_dir(node.file(folder)).into_iter().flatten().flatten();
    let mut found: Vec<Backup> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let mut backup = named(node, &name)?;
            backup.size = entry.metadata().ok()?.len();
            let beside = |end: &str| node.file(format!("{folder}/{name}.{end}"));
            backup.protected = beside("protected").exists();
            let notes = fs::read_to_string(beside("notes")).ok();
            backup.notes = notes.and_then(|text| text.lines().next().map(str::to_owned));
            Some(backup)
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// What an archive's name says; `None` for a name that no backup has.
pub(crate) fn named(node: &Node, name: &str) -> Option<Backup> {
    let rest = name.strip_prefix("vzdump-")?;
    let (kind, rest) = match rest.split_once('-')? {
        ("qemu", rest) => (Kind::Qemu, rest),
        ("lxc", rest) => (Kind::Lxc, rest),
        _ => return None,
    };
    let (guest, rest) = rest.split_once('-')?;
    let (time, format) = rest.split_once('.')?;
    let known: &[&str] = match kind {
        Kind::Qemu => &["vma", "vma.zst", "vma.gz", "vma.lzo", "vma.bz2"],
        Kind::Lxc => &["tar", "tar.zst", "tar.gz", "tar.lzo", "tar.bz2", "tgz"],
    };
    if !known.contains(&format) {
        return None;
    }
    Some(Backup {
        name: name.to_owned(),
        kind,
        guest: guest.parse().ok().filter(|id| *id >= 100)?,
        time: node.epoch_of(&Civil::in_name(time)?),
        size: 0,
        format: format.to_owned(),
        protected: false,
        notes: None,
    })
}

/// Where a volume lies: `local:112/vm-112-disk-0.raw` or `local:backup/vzdump-….vma.zst`.
pub(crate) fn path(node: &Node, volume: &str) -> Done<String> {
    let wrong = || Failure::new(format!("unable to parse volume ID '{volume}'"));
    let (storage, rest) = volume.split_once(':').ok_or_else(wrong)?;
    let storage = find(node, storage)?;
    match rest.split_once('/') {
        Some(("backup", name)) => Ok(format!("{}/{name}", storage.dump())),
        Some((guest, name)) if guest.parse::<u32>().is_ok() => {
            Ok(format!("{}/images/{guest}/{name}", storage.path))
        }
        _ => Err(Failure::new(format!("unable to parse directory volume name '{rest}'"))),
    }
}

/// The folder that stands for a container's volume.
pub(crate) fn folder_of(node: &Node, volume: &str) -> Done<String> {
    Ok(path(node, volume)?.replacen("/images/", "/private/", 1))
}

/// The format in a volume's name.
pub(crate) fn format_of(volume: &str) -> &str {
    match volume.rsplit_once('.') {
        Some((_, format @ ("raw" | "qcow2"))) => format,
        _ => "raw",
    }
}

/// Removes a guest's volume and its folder when that is empty.
pub(crate) fn remove(node: &Node, kind: Kind, volume: &str) -> Done {
    let place: PathBuf = match kind {
        Kind::Qemu => node.file(path(node, volume)?),
        Kind::Lxc => node.file(folder_of(node, volume)?),
    };
    let removed = match kind {
        Kind::Qemu => fs::remove_file(&place),
        Kind::Lxc => fs::remove_dir_all(&place),
    };
    if let Some(folder) = place.parent() {
        fs::remove_dir(folder).ok();
    }
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
