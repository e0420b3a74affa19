//! What a node has and what its guests are made of.

use drs_model::{VmForm, VmRef, VmSummary, nearest};
use serde::Deserialize;
use serde_json::Value;

use super::guest::{Guest, Vmid, power_state, words};
use super::native::Native;
use super::{ProxmoxDriver, script};
use crate::DriverError;

const GUEST: &str = include_str!("guest.sh");

/// A guest in a list of the API.
#[derive(Debug, Deserialize)]
struct Listed {
    /// A number, or its text in older versions.
    vmid: Value,
    #[serde(default)]
    name: String,
    status: String,
    /// What QEMU says of a machine that runs; only in a full list.
    qmpstatus: Option<String>,
}

impl Listed {
    fn summary(&self, form: VmForm) -> Option<VmSummary> {
        let vmid = match &self.vmid {
            Value::String(text) => Vmid::parse(text),
            other => Vmid::new(other.as_u64()?.try_into().ok()?),
        }?;
        Some(VmSummary {
            name: vmid.to_string().parse().ok()?,
            power: power_state(self.qmpstatus.as_ref().unwrap_or(&self.status)),
            native_id: format!("{}/{vmid}", words(form).kind),
            label: self.name.clone(),
            form,
        })
    }
}

impl ProxmoxDriver {
    /// Every guest of this node, templates too, by number.
    pub(super) async fn summaries(&self) -> Result<Vec<VmSummary>, DriverError> {
        let node = self.node().await?;
        let machines = format!("/nodes/{node}/qemu");
        let containers = format!("/nodes/{node}/lxc");
        let (machines, containers): (Vec<Listed>, Vec<Listed>) = tokio::try_join!(
            self.get(None, &machines, &["--full", "1"]),
            self.get(None, &containers, &[]),
        )?;
        let of = |form: VmForm, listed: Vec<Listed>| {
            listed.into_iter().filter_map(move |guest| guest.summary(form))
        };
        let mut all: Vec<VmSummary> =
            of(VmForm::Machine, machines).chain(of(VmForm::Container, containers)).collect();
        all.sort_by_key(|guest| Vmid::parse(guest.name.as_str()));
        Ok(all)
    }

    /// The guest of that VMID, which must be on this node.
    pub(super) async fn locate(&self, vm: &VmRef) -> Result<Guest, DriverError> {
        match self.seek(vm).await? {
            Some(guest) => Ok(guest),
            None => {
                Err(DriverError::VmNotFound { vm: vm.clone(), similar: self.similar(vm).await? })
            }
        }
    }

    /// The guest of that VMID, if the cluster has one.
    ///
    /// # Errors
    /// [`DriverError::Elsewhere`] when it is on another node.
    pub(super) async fn seek(&self, vm: &VmRef) -> Result<Option<Guest>, DriverError> {
        let Some(vmid) = Vmid::parse(vm.name.as_str()) else { return Ok(None) };
        let argv = script(GUEST, "drs-guest").arg(vmid.to_string());
        let text = self.ask(Some(vm), "reading the configuration", &argv).await?;
        match found(&text) {
            Found::Nowhere => Ok(None),
            Found::Elsewhere(node) => Err(self.elsewhere(vm, node)),
            Found::Here { form, status, config, firewall } => Ok(Some(Guest {
                vm: vm.clone(),
                vmid,
                power: power_state(status),
                lock: super::config::Config::parse(config).get("lock").unwrap_or("").to_owned(),
                native: Native::new(form, config, firewall),
            })),
        }
    }

    /// The guest that was meant by a name that is no VMID of this node: by its guest name, or a near
    /// number.
    async fn similar(&self, vm: &VmRef) -> Result<Option<String>, DriverError> {
        let guests = self.summaries().await?;
        let word = nearest(
            vm.name.as_str(),
            guests.iter().flat_map(|guest| [guest.name.as_str(), guest.label.as_str()]),
        );
        let named = |guest: &&VmSummary| {
            word.is_some_and(|word| guest.name.as_str() == word || guest.label == word)
        };
        Ok(guests.iter().find(named).map(|guest| match guest.label.as_str() {
            "" => guest.name.to_string(),
            label => format!("{} ({label})", guest.name),
        }))
    }
}

/// What `guest.sh` found.
#[derive(Debug, PartialEq, Eq)]
enum Found<'a> {
    Nowhere,
    Elsewhere(&'a str),
    Here { form: VmForm, status: &'a str, config: &'a str, firewall: &'a str },
}

fn found(text: &str) -> Found<'_> {
    let mut parts = text.split('\0');
    let head = parts.next().unwrap_or_default();
    let field = |key: &str| head.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let node = field("node ").unwrap_or_default();
    match (field("at ").and_then(|at| at.split_once(' ')), parts.next(), parts.next()) {
        (None, ..) => Found::Nowhere,
        (Some((owner, folder)), Some(config), Some(firewall)) if owner == node => Found::Here {
            form: match folder {
                "lxc" => VmForm::Container,
                _ => VmForm::Machine,
            },
            status: field("status:").unwrap_or_default(),
            config,
            firewall,
        },
        (Some((owner, _)), ..) => Found::Elsewhere(owner),
    }
}

#[cfg(test)]
mod tests {
    use drs_model::PowerState;

    use super::*;

    #[test]
    fn a_guest_is_here_or_nowhere() {
        let here = "node pve1\nat pve1 qemu-server\nstatus: running\n\0name: web-112\n\0";
        assert_eq!(
            found(here),
            Found::Here {
                form: VmForm::Machine,
                status: "running",
                config: "name: web-112\n",
                firewall: ""
            }
        );
        assert_eq!(found("node pve1\n"), Found::Nowhere);
    }

    /// `vzdump` would end with exit code 0 and no backup.
    #[test]
    fn trap_02_a_guest_of_another_node_is_told_apart() {
        assert_eq!(found("node pve1\nat pve2 lxc\n"), Found::Elsewhere("pve2"));
        assert_eq!(found("node pve1\nat pve10 qemu-server\n"), Found::Elsewhere("pve10"));
    }

    #[test]
    fn lists_of_the_real_tool_are_read() {
        let text = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/proxmox/transcripts/pvesh-qemu-list.txt"
        ));
        let json = text.lines().find(|line| line.starts_with('[')).expect("an answer");
        let listed: Vec<Listed> = serde_json::from_str(json).expect("guests");
        let all: Vec<VmSummary> =
            listed.iter().filter_map(|guest| guest.summary(VmForm::Machine)).collect();
        assert_eq!(
            all[0],
            VmSummary {
                name: "112".parse().expect("a name"),
                power: PowerState::Running,
                native_id: "qemu/112".into(),
                label: "web-112".into(),
                form: VmForm::Machine,
            }
        );
        assert_eq!((all.len(), all[1].power), (3, PowerState::Off));

        let full = r#"{"vmid":"112","status":"running","qmpstatus":"io-error"}"#;
        let listed: Listed = serde_json::from_str(full).expect("a guest");
        let power = |form| listed.summary(form).map(|guest| guest.power);
        assert_eq!(power(VmForm::Machine), Some(PowerState::Paused));
    }
}
