//! Folders and ids that reach the node, checked once.

use drs_model::JobId;

use super::ProxmoxDriver;
use crate::DriverError;

/// Where archives go when the host names no folder.
const DUMP_DIR_DEFAULT: &str = "/var/lib/vz/drs";
/// What DR Switch remembers on a node: in `imports/VMID`, who makes or made the VM with that VMID.
pub(super) const STATE_DIR: &str = "/var/lib/drs-proxmox";

impl ProxmoxDriver {
    /// The folder for archives on their way.
    pub(super) fn dump_dir(&self) -> &str {
        self.host.dump_dir.as_deref().unwrap_or(DUMP_DIR_DEFAULT).trim_end_matches('/')
    }

    /// The folder of a job below it: everything that the job stages lies there.
    pub(super) fn job_dir(&self, job: JobId) -> String {
        format!("{}/{job}", self.dump_dir())
    }

    /// Refuses a dump folder that a tool could mistake.
    pub(super) fn demand_dump_dir(&self) -> Result<(), DriverError> {
        folder(self.dump_dir())
    }
}

/// Whether a folder may be used: absolute, not the root, without `..`, without what a tool could
/// mistake.
fn folder(text: &str) -> Result<(), DriverError> {
    let plain = text.starts_with('/')
        && text.len() > 1
        && text.len() <= 512
        && !text.split('/').any(|part| part == "..")
        && !text.chars().any(|c| c.is_control() || c.is_whitespace() || "'\"\\,:".contains(c));
    match plain {
        true => Ok(()),
        false => Err(DriverError::Invalid(format!(
            "{text:?} is no folder for archives: it must be an absolute path without \"..\", blanks, quotes, commas and colons"
        ))),
    }
}

/// The id of a storage as Proxmox allows it: a letter, then letters, digits, `-`, `_`, `.`.
pub(super) fn storage_id(text: &str) -> Result<&str, DriverError> {
    let plain = text.len() <= 100
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    match plain {
        true => Ok(text),
        false => Err(DriverError::Invalid(format!(
            "{text:?} is no storage id of Proxmox VE (a letter, then letters, digits, \"-\", \"_\" and \".\"): `pvesm status` on the node lists them"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_storage_ids_that_a_tool_could_mistake_are_refused() {
        for good in ["/var/lib/vz/drs", "/srv/a-b_c.d"] {
            assert!(folder(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "drs", "/a/../b", "/a b", "/a\nb", "/a,b", "/a'b", "/a:b"] {
            assert!(folder(bad).is_err(), "{bad:?}");
        }
        for good in ["local", "local-lvm", "nfs.dr_2"] {
            assert!(storage_id(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "2fast", "a/b", "a b", "a:", "local-"] {
            assert!(storage_id(bad).is_err(), "{bad:?}");
        }
    }
}
