//! Which storage each disk goes to.

use std::collections::BTreeMap;

use drs_model::{StorageMap, VmForm};

use crate::DriverError;
use crate::proxmox::ProxmoxDriver;
use crate::proxmox::node::Storage;
use crate::proxmox::paths::storage_id;

/// The storages of a node.
pub(super) struct Storages {
    host: String,
    /// The one that the host's description names.
    default: Option<String>,
    found: Vec<Storage>,
}

/// A disk that needs a place.
pub(super) struct Placed<'a> {
    /// Its name in the point, by which the operator names it.
    pub(super) name: &'a str,
    /// Where it lay, if its hypervisor was a Proxmox VE.
    pub(super) lay_on: Option<&'a str>,
}

impl Storages {
    pub(super) fn new(driver: &ProxmoxDriver, found: Vec<Storage>) -> Self {
        let host = &driver.host;
        Self { host: host.name.to_string(), default: host.image_dir.clone(), found }
    }

    #[cfg(test)]
    pub(super) fn of(default: Option<&str>, found: Vec<Storage>) -> Self {
        Self { host: "dc2".into(), default: default.map(str::to_owned), found }
    }

    /// The storage for a disk: the one that the request names, else the host's, else the one of the
    /// same name as the one where the disk lay, else the first that may hold it.
    pub(super) fn choose(
        &self,
        form: VmForm,
        disk: &Placed<'_>,
        asked: &StorageMap,
    ) -> Result<String, DriverError> {
        let content = content(form);
        if let Some(named) = asked.get(disk.name).or(self.default.as_ref()) {
            return self.demand(storage_id(named)?, content);
        }
        let usable = |storage: &&Storage| storage.usable() && storage.holds(content);
        let mut usable = self.found.iter().filter(usable);
        let same = usable.clone().find(|storage| Some(storage.id.as_str()) == disk.lay_on);
        match same.or_else(|| usable.next()) {
            Some(storage) => Ok(storage.id.clone()),
            None => Err(DriverError::Invalid(format!(
                "host {} has no storage for {}: `pvesm set STORAGE --content {content}` on the node lets one hold them",
                self.host,
                what(form)
            ))),
        }
    }

    fn demand(&self, id: &str, content: &str) -> Result<String, DriverError> {
        let refuse = |why: String| Err(DriverError::Invalid(why));
        match self.found.iter().find(|storage| storage.id == id) {
            None => refuse(format!(
                "host {} has no storage {id}; it has {}",
                self.host,
                self.list(content)
            )),
            Some(storage) if !storage.usable() => {
                refuse(format!("storage {id} of host {} is switched off or not active", self.host))
            }
            Some(storage) if !storage.holds(content) => refuse(format!(
                "storage {id} of host {} may not hold such content ({content}); it has {}",
                self.host,
                self.list(content)
            )),
            Some(storage) => Ok(storage.id.clone()),
        }
    }

    /// Refuses what does not fit: so many bytes for each storage.
    pub(super) fn demand_room(&self, needed: &BTreeMap<String, u64>) -> Result<(), DriverError> {
        for (id, needed) in needed {
            let free = self.found.iter().find(|it| it.id == *id).map_or(0, |it| it.avail);
            if free < *needed {
                return Err(DriverError::HostFull {
                    host: self.host.clone(),
                    what: format!("storage {id} has {free} bytes free, the data takes {needed}"),
                });
            }
        }
        Ok(())
    }

    /// The storages that may hold such content.
    fn list(&self, content: &str) -> String {
        let usable = self.found.iter().filter(|it| it.usable() && it.holds(content));
        match usable.map(|storage| storage.id.as_str()).collect::<Vec<_>>().join(", ").as_str() {
            "" => "none for such content".to_owned(),
            names => format!("for such content {names}"),
        }
    }
}

fn content(form: VmForm) -> &'static str {
    match form {
        VmForm::Machine => "images",
        VmForm::Container => "rootdir",
    }
}

fn what(form: VmForm) -> &'static str {
    match form {
        VmForm::Machine => "disks of machines (content `images`)",
        VmForm::Container => "containers (content `rootdir`)",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in super::super) fn found() -> Vec<Storage> {
        let storage = |id, content, active, avail: u64| json!({"storage": id, "content": content, "active": active, "enabled": 1, "avail": avail});
        let all = json!([
            storage("backups", "backup", 1, 1 << 40),
            storage("off", "images", 0, 1 << 40),
            storage("local", "images,rootdir,iso", 1, 1 << 30),
            storage("nfs-dr", "images", 1, 1 << 40)
        ]);
        serde_json::from_value(all).expect("storages")
    }

    fn choose(
        default: Option<&str>,
        asked: Option<&str>,
        lay_on: Option<&str>,
    ) -> Result<String, DriverError> {
        let asked = asked.map(|id| ("scsi0".to_owned(), id.to_owned())).into_iter().collect();
        let disk = Placed { name: "scsi0", lay_on };
        Storages::of(default, found()).choose(VmForm::Machine, &disk, &asked)
    }

    #[test]
    fn trap_16_every_disk_goes_to_a_storage_that_is_there() {
        let chosen = |default, asked, lay_on| choose(default, asked, lay_on).expect("a storage");
        assert_eq!(chosen(None, Some("nfs-dr"), Some("local")), "nfs-dr");
        assert_eq!(chosen(Some("nfs-dr"), None, Some("local")), "nfs-dr");
        assert_eq!(chosen(None, None, Some("nfs-dr")), "nfs-dr");
        assert_eq!(chosen(None, None, Some("ceph-of-the-other-site")), "local");
        assert_eq!(chosen(None, None, Some("off")), "local");
        for (asked, part) in [
            ("nope", "it has for such content local, nfs-dr"),
            ("off", "not active"),
            ("backups", "may not hold"),
            ("-x", "no storage id"),
        ] {
            let error = choose(None, Some(asked), None).expect_err(asked).to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let storages = Storages::of(None, found());
        let room = |bytes| storages.demand_room(&BTreeMap::from([("local".to_owned(), bytes)]));
        assert!(room(1 << 30).is_ok());
        assert!(matches!(room((1 << 30) + 1), Err(DriverError::HostFull { .. })));
    }
}
