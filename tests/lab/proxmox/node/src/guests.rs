//! The guests of the cluster: where their configurations lie, who holds them, and their locks.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::config::Config;
use crate::failure::{Done, Failure};
use crate::node::Node;

/// What a guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Qemu,
    Lxc,
}

impl Kind {
    /// The folder of configurations, which is also the word in messages about them.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-server",
            Self::Lxc => "lxc",
        }
    }

    /// `qemu` or `lxc`, as in archive names and in the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Lxc => "lxc",
        }
    }

    /// How messages call such a guest.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Qemu => "VM",
            Self::Lxc => "CT",
        }
    }
}

/// One guest on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) kind: Kind,
    pub(crate) id: u32,
    pub(crate) node: String,
}

/// Every guest of the cluster by its number.
pub(crate) fn all(node: &Node) -> Vec<Guest> {
    let mut found = Vec::new();
    for name in nodes(node) {
        for kind in [Kind::Qemu, Kind::Lxc] {
            let folder = node.file(format!("/etc/pve/nodes/{name}/{}", kind.folder()));
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let file = entry.file_name();
                let id = file.to_str().and_then(|file| file.strip_suffix(".conf")?.parse().ok());
                found.extend(id.map(|id| Guest { kind, id, node: name.clone() }));
            }
        }
    }
    found.sort_by_key(|guest| guest.id);
    found
}

/// The cluster's nodes; this one is always among them.
pub(crate) fn nodes(node: &Node) -> Vec<String> {
    let entries = fs::read_dir(node.file("/etc/pve/nodes")).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.push(node.name.clone());
    names.sort();
    names.dedup();
    names
}

pub(crate) fn find(node: &Node, id: u32) -> Option<Guest> {
    all(node).into_iter().find(|guest| guest.id == id)
}

/// This node's guests of a kind.
pub(crate) fn local(node: &Node, kind: Kind) -> Vec<Guest> {
    let mut guests = all(node);
    guests.retain(|guest| guest.kind == kind && guest.node == node.name);
    guests
}

/// The guest of this kind on this node, or what the commands say when there is none.
pub(crate) fn demand(node: &Node, kind: Kind, id: u32) -> Done<(Guest, Config)> {
    let guest = Guest { kind, id, node: node.name.clone() };
    let config = guest.config(node)?;
    Ok((guest, config))
}

impl Guest {
    fn file(&self, node: &Node) -> PathBuf {
        node.file(format!("/etc/pve/{}", self.relative()))
    }

    fn relative(&self) -> String {
        format!("nodes/{}/{}/{}.conf", self.node, self.kind.folder(), self.id)
    }

    pub(crate) fn config(&self, node: &Node) -> Done<Config> {
        let missing = || {
            let text = format!("Configuration file '{}' does not exist", self.relative());
            Failure::with_code(2, text)
        };
        fs::read_to_string(self.file(node)).map(|text| Config::parse(&text)).map_err(|_| missing())
    }

    pub(crate) fn write(&self, node: &Node, config: &Config) -> Done {
        let file = self.file(node);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = file.with_extension("tmp");
        fs::write(&new, config.text())?;
        Ok(fs::rename(new, file)?)
    }

    pub(crate) fn forget(&self, node: &Node) -> Done {
        Ok(fs::remove_file(self.file(node))?)
    }

    /// Changes the configuration under its file lock.
    pub(crate) fn change<T>(
        &self,
        node: &Node,
        change: impl FnOnce(&mut Config) -> Done<T>,
    ) -> Done<T> {
        let _lock = self.lock_file(node)?;
        let mut config = self.config(node)?;
        let answer = change(&mut config)?;
        self.write(node, &config)?;
        Ok(answer)
    }

    /// The lock of the configuration file; free when dropped.
    pub(crate) fn lock_file(&self, node: &Node) -> Done<File> {
        let path = match self.kind {
            Kind::Qemu => format!("/var/lock/qemu-server/lock-{}.conf", self.id),
            Kind::Lxc => format!("/run/lock/lxc/pve-config-{}.lock", self.id),
        };
        let file = File::create(node.new_file(&path)?)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(file);
        }
        eprint!("trying to acquire lock...");
        let until = Instant::now() + node.seconds("config-lock-timeout", 10.0);
        while Instant::now() < until {
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                eprintln!("\n OK");
                return Ok(file);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!();
        Err(Failure::new(format!("can't lock file '{path}' - got timeout")))
    }

    /// Refuses a guest that something has locked.
    pub(crate) fn unlocked(&self, config: &Config) -> Done {
        match config.get("lock") {
            None => Ok(()),
            Some(lock) => Err(Failure::new(format!("{} is locked ({lock})", self.kind.title()))),
        }
    }

    /// The name that lists show.
    pub(crate) fn name(&self, config: &Config) -> String {
        let key = if self.kind == Kind::Qemu { "name" } else { "hostname" };
        config.get(key).map_or_else(|| format!("{} {}", self.kind.title(), self.id), str::to_owned)
    }

    /// `vm:112` or `ct:200` when the cluster's HA manager has the guest, with its wanted state.
    pub(crate) fn ha_state(&self, node: &Node) -> Option<String> {
        let service = match self.kind {
            Kind::Qemu => format!("vm: {}", self.id),
            Kind::Lxc => format!("ct: {}", self.id),
        };
        let text = fs::read_to_string(node.file("/etc/pve/ha/resources.cfg")).ok()?;
        let mut lines = text.lines().skip_while(|line| *line != service);
        lines.next()?;
        let state = lines
            .take_while(|line| line.starts_with(char::is_whitespace))
            .find_map(|line| line.trim().strip_prefix("state "));
        Some(state.unwrap_or("started").to_owned())
    }
}
