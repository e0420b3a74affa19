//! The networks of a node: a guest whose bridge is missing would not start.

use std::collections::BTreeSet;

use drs_model::NetworkMap;
use serde::Deserialize;

use crate::DriverError;
use crate::proxmox::ProxmoxDriver;
use crate::proxmox::config::{Properties, map_network};

/// What guests of the node can be attached to.
#[derive(Debug)]
pub(super) struct Bridges {
    host: String,
    names: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Interface {
    iface: String,
}

impl ProxmoxDriver {
    pub(super) async fn bridges(&self) -> Result<Bridges, DriverError> {
        let path = format!("/nodes/{}/network", self.node().await?);
        let found: Vec<Interface> = self.get(None, &path, &["--type", "any_bridge"]).await?;
        let names = found.into_iter().map(|interface| interface.iface);
        Ok(Bridges { host: self.host.name.to_string(), names: names.collect() })
    }
}

impl Bridges {
    #[cfg(test)]
    pub(super) fn of<const N: usize>(names: [&str; N]) -> Self {
        Self { host: "dc2".into(), names: names.into_iter().map(str::to_owned).collect() }
    }

    /// Attaches a card as the map says, and demands that the node has its bridge. Tells what changed.
    pub(super) fn attach(
        &self,
        key: &str,
        card: &mut Properties,
        networks: &NetworkMap,
    ) -> Result<Option<String>, DriverError> {
        let changed = map_network(card, networks);
        match card.get("bridge") {
            Some(bridge) if !self.names.contains(bridge) => {
                let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
                Err(DriverError::Invalid(format!(
                    "{key} is attached to {bridge}, which host {} does not have, so the VM would not start; map it to one of {} (`--network {bridge}=BRIDGE`)",
                    self.host,
                    names.join(", ")
                )))
            }
            _ => {
                Ok(changed
                    .map(|(before, after)| format!("{key}: network {before} becomes {after}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attach(line: &str, map: &[(&str, &str)]) -> Result<(String, Option<String>), DriverError> {
        let map = map.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        let mut card = Properties::parse(line);
        let remark = Bridges::of(["vmbr0", "vmbr1"]).attach("net0", &mut card, &map)?;
        Ok((card.to_string(), remark))
    }

    #[test]
    fn trap_15_a_card_whose_bridge_is_missing_is_refused_before_anything_is_made() {
        let (line, remark) = attach("virtio=BC:24:11:00:00:01,bridge=vmbr0", &[]).expect("there");
        assert_eq!(line, "virtio=BC:24:11:00:00:01,bridge=vmbr0");
        assert_eq!(remark, None);

        let error = attach("virtio=BC:24:11:00:00:01,bridge=vmbr7", &[]).expect_err("missing");
        let text = error.to_string();
        assert!(text.contains("vmbr7") && text.contains("vmbr0, vmbr1"), "{text}");

        let drill = attach("virtio=BC:24:11:00:00:01,bridge=vmbr7,tag=5", &[("vmbr7", "vmbr1")]);
        let (line, remark) = drill.expect("mapped");
        assert!(line.contains("bridge=vmbr1") && line.contains("tag=5"), "{line}");
        assert_eq!(remark.as_deref(), Some("net0: network vmbr7.5 becomes vmbr1.5"));
        assert!(attach("virtio=BC:24:11:00:00:01", &[]).is_ok(), "a card without a bridge");
    }
}
