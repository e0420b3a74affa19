//! Whether a node can be used.

use super::node::{Storage, Version};
use super::{ProxmoxDriver, script};
use crate::{DriverError, HostReport};

const CHECK: &str = include_str!("check.sh");

/// Versions of Proxmox VE that the driver was made for.
const VERSIONS: std::ops::RangeInclusive<u32> = 7..=9;
/// First version whose `vzdump` can keep what the guest overwrites on the node (fleecing).
const FLEECING_SINCE: Version = Version { major: 8, minor: 2 };
/// Free bytes of the folder for staged archives below which a check warns.
const DUMP_FREE_MIN: u64 = 10 << 30;

impl ProxmoxDriver {
    pub(super) async fn report(&self) -> Result<HostReport, DriverError> {
        self.demand_dump_dir()?;
        let argv = script(CHECK, "drs-check").arg(self.dump_dir());
        let facts = self.ask(None, "looking at the node", &argv).await?;
        self.demand_root_and_tools(&facts)?;
        let version = self.version().await?;
        if version.major < *VERSIONS.start() {
            return Err(DriverError::Unsupported(format!(
                "host {} runs Proxmox VE {version}, whose backup tools cannot keep foreign backups apart; 7.0 or newer is needed",
                self.host.name
            )));
        }
        let storages = self.storages().await?;
        let mut warnings = warnings(&facts, version);
        let free = fields(&facts, "free").next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        if free < DUMP_FREE_MIN {
            let dump = self.dump_dir();
            warnings.push(format!(
                "{} MiB are free below {dump}: staged jobs need room there for a whole archive",
                free >> 20
            ));
        }
        let storage = self.restore_storage(&storages);
        warnings.extend(storage_warning(self.host.image_dir.as_deref(), storage));
        Ok(HostReport {
            hypervisor: format!("Proxmox VE {version} (node {})", self.node().await?),
            vms: self.summaries().await?.len(),
            free_bytes: storage.map_or(0, |storage| storage.avail),
            warnings,
        })
    }

    fn demand_root_and_tools(&self, facts: &str) -> Result<(), DriverError> {
        let host = &self.host.name;
        let field = |key| fields(facts, key).next().unwrap_or_default();
        if field("login") != "0" {
            return Err(DriverError::PermissionDenied {
                host: host.to_string(),
                what: "the use of Proxmox's tools".into(),
                reason: "the login user is not root".into(),
            });
        }
        match field("missing") {
            "" => Ok(()),
            missing => Err(DriverError::Unsupported(format!(
                "host {host} lacks {missing}: is it a node of Proxmox VE? (`apt install rsync zstd util-linux` there for the common ones)"
            ))),
        }
    }

    /// The storage for restored disks: the host's, else the first that can hold them now.
    pub(super) fn restore_storage<'a>(&self, storages: &'a [Storage]) -> Option<&'a Storage> {
        storages.iter().find(|storage| match self.host.image_dir.as_deref() {
            Some(wanted) => storage.id == wanted,
            None => storage.usable() && storage.holds("images"),
        })
    }
}

/// What works but deserves a look.
fn warnings(facts: &str, version: Version) -> Vec<String> {
    let mut warnings = Vec::new();
    if !VERSIONS.contains(&version.major) {
        warnings.push(format!("Proxmox VE {version} is newer than what DR Switch was made for"));
    }
    if version < FLEECING_SINCE {
        warnings.push(format!(
            "Proxmox VE {version} has no fleecing: a guest's writes wait for the backup while it is slow"
        ));
    }
    if fields(facts, "vzdump.conf").any(|key| key == "storage") {
        warnings.push(
            "/etc/vzdump.conf names a storage: backups of DR Switch do not use it".to_owned(),
        );
    }
    if fields(facts, "vzdump.conf").any(|key| key == "script") {
        warnings.push(
            "/etc/vzdump.conf names a script: it runs with backups of DR Switch, too".to_owned(),
        );
    }
    let managed: Vec<&str> = fields(facts, "ha").collect();
    if !managed.is_empty() {
        warnings.push(format!(
            "under high availability: {}; its manager may move or start them while a job is at work",
            managed.join(", ")
        ));
    }
    warnings
}

/// Why nothing can be restored to the storage, if so.
fn storage_warning(wanted: Option<&str>, storage: Option<&Storage>) -> Option<String> {
    let nothing = "nothing can be restored to this host";
    match (wanted, storage) {
        (Some(wanted), None) => Some(format!("there is no storage {wanted:?}: {nothing}")),
        (None, None) => Some(format!("no active storage may hold disk images: {nothing}")),
        (_, Some(storage)) if !storage.usable() => {
            Some(format!("storage {} is not active: {nothing}", storage.id))
        }
        (_, Some(storage)) if !storage.holds("images") => Some(format!(
            "storage {} may not hold disk images (`pvesm set {} --content ...` changes that): {nothing}",
            storage.id, storage.id
        )),
        (_, Some(_)) => None,
    }
}

/// The values of `key: value` lines.
fn fields<'a>(facts: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    facts.lines().filter_map(move |line| {
        let (name, value) = line.split_once(':')?;
        (name == key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(json: &str) -> Storage {
        serde_json::from_str(json).expect("a storage")
    }

    #[test]
    fn trap_20_old_nodes_and_settings_that_deserve_a_look_are_told() {
        let facts = "missing:\nlogin: 0\nfree: 7\nvzdump.conf: storage\nvzdump.conf: script\nha: 112\nha: 200\n";
        let told = warnings(facts, Version { major: 8, minor: 1 }).join("\n");
        for part in ["no fleecing", "names a storage", "names a script", "112, 200"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(warnings("", Version { major: 9, minor: 1 }).is_empty());
        assert_eq!(warnings("", Version { major: 10, minor: 0 }).len(), 1);
    }

    #[test]
    fn a_storage_that_cannot_take_disks_is_told() {
        let good = storage(r#"{"storage":"a","content":"images,backup","active":1,"enabled":1}"#);
        let wrong = storage(r#"{"storage":"a","content":"backup","active":1}"#);
        let idle = storage(r#"{"storage":"a","content":"images","active":0}"#);
        assert_eq!(storage_warning(Some("a"), Some(&good)), None);
        assert_eq!(storage_warning(None, Some(&good)), None);
        for (wanted, storage, part) in [
            (Some("b"), None, "no storage"),
            (None, None, "no active storage"),
            (Some("a"), Some(&wrong), "may not hold"),
            (Some("a"), Some(&idle), "not active"),
        ] {
            let told = storage_warning(wanted, storage).expect(part);
            assert!(told.contains(part), "{told}");
        }
    }
}
