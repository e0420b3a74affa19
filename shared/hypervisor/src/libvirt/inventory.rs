//! What a host has and what its VMs are made of.

use drs_model::{PowerState, VmForm, VmName, VmRef, VmSummary, nearest};

use super::parse::{self, Listed};
use super::xml::Element;
use super::{LibvirtDriver, script, spec, virsh};
use crate::{DriverError, HostReport, VmDescription};

const INVENTORY: &str = include_str!("inventory.sh");
const CHECK: &str = include_str!("check.sh");

/// A VM with its description read.
pub(super) struct Examined {
    pub(super) description: VmDescription,
    /// What QEMU runs now, when it runs.
    pub(super) live: Option<Element>,
}

impl LibvirtDriver {
    pub(super) async fn list(&self) -> Result<Vec<Listed>, DriverError> {
        let text = self.ask(None, "virsh list", &script(INVENTORY, "drs-inventory")).await?;
        Ok(parse::inventory(&text))
    }

    /// Every VM whose name keeps to our rules; [`LibvirtDriver::report`] tells of the others.
    pub(super) async fn summaries(&self) -> Result<Vec<VmSummary>, DriverError> {
        let listed = self.list().await?.into_iter();
        let mut all: Vec<VmSummary> = listed
            .filter_map(|vm| {
                let name = vm.name.parse().ok()?;
                Some(VmSummary {
                    name,
                    power: vm.power,
                    native_id: vm.uuid,
                    label: String::new(),
                    form: VmForm::Machine,
                })
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    pub(super) async fn find(&self, vm: &VmRef) -> Result<Listed, DriverError> {
        let listed = self.list().await?;
        let names = listed.iter().map(|listed| listed.name.as_str());
        let similar = nearest(vm.name.as_str(), names).map(str::to_owned);
        listed
            .into_iter()
            .find(|listed| listed.name == vm.name.as_str())
            .ok_or_else(|| DriverError::VmNotFound { vm: vm.clone(), similar })
    }

    pub(super) async fn examine(
        &self,
        vm: &VmRef,
        found: &Listed,
    ) -> Result<Examined, DriverError> {
        let off = found.power == PowerState::Off;
        let dump = async |options: &[&str]| {
            let argv = virsh(["dumpxml"]).args(options.iter().copied()).arg(&found.uuid);
            self.ask(Some(vm), "virsh dumpxml", &argv).await
        };
        let native_config = dump(&["--inactive"]).await?;
        let live = match off {
            true => None,
            false => Some(self.parsed(&dump(&[]).await?)?),
        };
        let sizes = virsh(["domblkinfo", "--all", &found.uuid]);
        let sizes = self.ask(Some(vm), "virsh domblkinfo", &sizes).await?;
        let domain = self.parsed(&native_config)?;
        let spec = spec::spec(&domain, &parse::disk_sizes(&sizes)).map_err(DriverError::Invalid)?;
        let description = VmDescription { spec, power: found.power, native_config };
        Ok(Examined { description, live })
    }

    fn parsed(&self, document: &str) -> Result<Element, DriverError> {
        Element::parse(document).map_err(|reason| self.failed("reading a VM's description", reason))
    }

    /// Whether the host can be used.
    pub(super) async fn report(&self) -> Result<HostReport, DriverError> {
        let folder = parse::folder(self.image_dir())?;
        let argv = script(CHECK, "drs-check").arg(&folder);
        let text = self.ask(None, "using libvirt", &argv).await?;
        let field = |key| parse::field(&text, key).unwrap_or_default();
        if !field("missing").is_empty() {
            return Err(DriverError::Unsupported(format!(
                "host {} lacks {}: install qemu-utils, util-linux and coreutils there",
                self.host.name,
                field("missing")
            )));
        }
        let listed = self.list().await?;
        let mut warnings = Vec::new();
        let free = field("free").parse();
        match field("folder") {
            "ok" => {}
            "read-only" => warnings.push(format!(
                "the image folder {folder} cannot be written: nothing can be restored to this host"
            )),
            _ => warnings.push(format!(
                "the image folder {folder} does not exist: nothing can be restored to this host"
            )),
        }
        if field("Running hypervisor").is_empty() {
            warnings.push("libvirt found no QEMU on this host".into());
        }
        if field("login") != "0" && field("uri").ends_with("/system") {
            warnings.push(
                "the login is not root: the disks of running VMs of qemu:///system cannot be reached"
                    .into(),
            );
        }
        for vm in &listed {
            if let Err(error) = vm.name.parse::<VmName>() {
                warnings.push(format!("a VM is left out: {error}"));
            }
        }
        Ok(HostReport {
            hypervisor: format!("{} ({})", field("Using library"), field("Running hypervisor")),
            vms: listed.len(),
            free_bytes: free.unwrap_or_default(),
            warnings,
        })
    }
}
