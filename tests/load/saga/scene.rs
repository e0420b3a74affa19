//! The VMs of a host, before and after a job.

use std::collections::BTreeMap;

use anyhow::Result;
use drs_hypervisor::Driver;
use drs_model::{PowerState, ReplacePolicy, VmName};
use drs_tests::engine::Installation;

/// The VMs by name: which it is, and whether it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scene(BTreeMap<VmName, (String, PowerState)>);

impl Scene {
    pub(super) async fn of(lab: &Installation, host: &str) -> Result<Self> {
        let vms = lab.driver(host).await?.inventory().await?;
        Ok(Self(vms.into_iter().map(|vm| (vm.name, (vm.native_id, vm.power))).collect()))
    }

    /// The id of the VM of that name.
    pub(super) fn id(&self, name: &VmName) -> Option<&str> {
        self.0.get(name).map(|(id, _)| id.as_str())
    }

    /// Whether that very VM is there, under whatever name.
    pub(super) fn has(&self, id: &str) -> bool {
        self.power_of(id).is_some()
    }

    fn power(&self, name: &VmName) -> Option<PowerState> {
        self.0.get(name).map(|(_, power)| *power)
    }

    fn power_of(&self, id: &str) -> Option<PowerState> {
        self.0.values().find(|(known, _)| known == id).map(|(_, power)| *power)
    }

    /// The names whose VM is another one than before, or was not there.
    pub(super) fn new_since<'a>(&'a self, before: &Self) -> Vec<&'a VmName> {
        self.0.keys().filter(|name| self.id(name) != before.id(name)).collect()
    }

    /// Demands that a job has put a VM in the place of `name`, as its policy says, and nothing else.
    pub(super) fn demand_replaced(
        &self,
        before: &Self,
        name: &VmName,
        policy: ReplacePolicy,
        what: &str,
    ) {
        let expected = before.0.len() + usize::from(!policy.destroys());
        assert_eq!(self.0.len(), expected, "{what}: {self:?}");
        let old = before.id(name).expect("the VM that is replaced");
        match policy {
            ReplacePolicy::Keep => {
                assert_eq!(self.id(name), Some(old), "{what}");
                assert_eq!(self.power(name), before.power(name), "{what}");
            }
            ReplacePolicy::StopAndKeep => {
                assert_ne!(self.id(name), Some(old), "{what}");
                assert_eq!(self.power_of(old), Some(PowerState::Off), "{what}");
            }
            ReplacePolicy::DestroyAfterProof | ReplacePolicy::RefreshCopy => {
                assert_eq!(self.power_of(old), None, "{what}");
            }
        }
    }
}
