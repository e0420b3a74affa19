//! What becomes of a guest whose place an import takes.

use drs_model::{Grip, PowerState, VmName};

use super::ProxmoxDriver;
use super::guest::{parse_native_id, words};
use super::import::{PVE_DIR, Places};
use super::paths::STATE_DIR;
use super::plan::Handle;
use crate::{DriverError, ImportPlan};

impl ProxmoxDriver {
    /// Both guests keep their numbers; they must be there and off before the new one may take over.
    pub(super) async fn demand_exchangeable(&self, plan: &ImportPlan) -> Result<(), DriverError> {
        let Some(old) = plan.displaced() else { return Ok(()) };
        self.demand_off(&plan.made_as).await?;
        self.demand_off(&old.name).await
    }

    async fn demand_off(&self, name: &VmName) -> Result<(), DriverError> {
        let guest = self.locate(&self.vm_ref(name)).await?;
        match guest.power {
            PowerState::Off => Ok(()),
            power => Err(DriverError::Busy { vm: guest.vm, reason: format!("it is {power}") }),
        }
    }

    /// Destroys it, if that is its policy and it is still that very guest.
    pub(super) async fn destroy_displaced_vm(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<(), DriverError> {
        let handle = Handle::of(plan)?;
        let displaced = plan.displaced().filter(|old| old.policy.destroys());
        let (Some(old), Some(mark)) = (displaced, &handle.displaced_mark) else { return Ok(()) };
        let (form, vmid) = parse_native_id(&old.native_id).ok_or_else(|| {
            DriverError::Invalid(format!("{:?} is no guest of Proxmox VE", old.native_id))
        })?;
        let folder = self.import_dir(grip);
        let places = Places {
            pve: PVE_DIR,
            state: STATE_DIR,
            folder: &folder,
            vmid: vmid.to_string(),
            tool: words(form).tool,
        };
        let argv = places.call("destroy", grip).args([mark.as_str(), old.policy.as_str()]);
        self.run_import(grip, "destroying the replaced VM", &argv).await.map(drop)
    }
}
