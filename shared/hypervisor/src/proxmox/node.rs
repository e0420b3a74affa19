//! The node itself: its name, its version, its storages.

use drs_model::VmRef;
use serde::Deserialize;

use super::{ProxmoxDriver, script};
use crate::DriverError;

const NAME: &str = r#"node=$(uname -n); printf '%s\n' "${node%%.*}""#;

/// A version of Proxmox VE, by its first two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl Version {
    /// Reads `8.2.4`, `9.1` or `9.0~beta1`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0);
        Some(Self { major, minor })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[derive(Deserialize)]
struct VersionAnswer {
    version: String,
}

/// A storage of the node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Storage {
    #[serde(rename = "storage")]
    pub(super) id: String,
    /// What it may hold, with commas: `images,rootdir,backup`.
    #[serde(default)]
    content: String,
    #[serde(default)]
    active: u8,
    #[serde(default = "enabled")]
    enabled: u8,
    /// Free bytes.
    #[serde(default)]
    pub(super) avail: u64,
}

fn enabled() -> u8 {
    1
}

impl Storage {
    /// Whether it can be used now.
    pub(super) fn usable(&self) -> bool {
        self.active == 1 && self.enabled == 1
    }

    /// Whether it may hold such content (`images` for disks, `rootdir` for containers).
    pub(super) fn holds(&self, content: &str) -> bool {
        self.content.split(',').any(|it| it.trim() == content)
    }
}

impl ProxmoxDriver {
    /// The name that the node has in its cluster.
    pub(super) async fn node(&self) -> Result<&str, DriverError> {
        let name = async || {
            let text = self.ask(None, "uname -n", &script(NAME, "drs-node")).await?;
            let name = text.trim();
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            match !name.is_empty() && name.chars().all(plain) {
                true => Ok(name.to_owned()),
                false => Err(self.failed("uname -n", format!("{name:?} is no name of a node"))),
            }
        };
        Ok(self.node.get_or_try_init(name).await?)
    }

    /// The node's version.
    pub(super) async fn version(&self) -> Result<Version, DriverError> {
        let answer: VersionAnswer = self.get(None, "/version", &[]).await?;
        Version::parse(&answer.version).ok_or_else(|| {
            self.failed("pvesh get /version", format!("{:?} is no version", answer.version))
        })
    }

    /// The node's storages, in its order.
    pub(super) async fn storages(&self) -> Result<Vec<Storage>, DriverError> {
        let path = format!("/nodes/{}/storage", self.node().await?);
        self.get(None, &path, &[]).await
    }

    /// The error of a guest that is on another node of the cluster.
    pub(super) fn elsewhere(&self, vm: &VmRef, node: &str) -> DriverError {
        DriverError::Elsewhere { vm: vm.clone(), node: node.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_first_two_numbers() {
        let version = |text| Version::parse(text).expect(text);
        assert!(version("8.2.4") >= Version { major: 8, minor: 2 });
        assert!(version("9.1") > version("8.10"));
        assert_eq!(version("9.0~beta1").to_string(), "9.0");
        assert_eq!(version("6"), Version { major: 6, minor: 0 });
        assert_eq!(Version::parse("pve"), None);
    }

    #[test]
    fn storages_are_read_as_the_node_tells_them() {
        let text = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/proxmox/transcripts/pvesh-storage-list.txt"
        ));
        let json = text.lines().find(|line| line.starts_with('[')).expect("an answer");
        let storages: Vec<Storage> = serde_json::from_str(json).expect("storages");
        assert_eq!(storages[0].id, "local");
        assert!(storages[0].usable() && storages[0].holds("rootdir"));
        assert!(!storages[1].holds("rootdir") && storages[1].holds("images"));
        assert_eq!(storages[1].avail, 76_091_412_480);
    }
}
