//! What becomes of a guest whose place an import takes.

use drs_model::{Grip, PowerState, ReplacePolicy, VmForm, VmName};

use super::ProxmoxDriver;
use super::guest::{Guest, Vmid, parse_native_id, words};
use super::import::{PVE_DIR, Places, unordered};
use super::paths::STATE_DIR;
use super::plan::Handle;
use crate::{DriverError, ImportPlan, ReplacedVm};

impl ProxmoxDriver {
    /// Both guests keep their numbers; before the new one may take over they must be there, be off and
    /// be nobody else's work, and nothing may stand against destroying the old one, which must be that
    /// of the plan.
    pub(super) async fn demand_exchangeable(&self, plan: &ImportPlan) -> Result<(), DriverError> {
        let Some(old) = plan.displaced() else { return Ok(()) };
        self.at_rest(&plan.made_as).await?;
        let guest = self.at_rest(&old.name).await?;
        if old.policy == ReplacePolicy::DestroyAfterProof {
            guest.demand_unprotected()?;
        }
        let Some(mark) = Handle::of(plan)?.displaced_mark else { return Ok(()) };
        let (form, vmid) = native(old)?;
        let argv = unordered("same").args([PVE_DIR, STATE_DIR, &vmid.to_string()]);
        let argv = argv.args([words(form).tool, &mark]);
        let vm = self.vm_ref(&old.name);
        self.ask(Some(&vm), "looking at the replaced VM", &argv).await.map(drop)
    }

    async fn at_rest(&self, name: &VmName) -> Result<Guest, DriverError> {
        let guest = self.locate(&self.vm_ref(name)).await?;
        guest.demand_unlocked()?;
        match guest.power {
            PowerState::Off => Ok(guest),
            power => Err(DriverError::Busy { vm: guest.vm, reason: format!("it is {power}") }),
        }
    }

    /// Destroys it, if that is its policy. Fails when it is not that very guest any more.
    pub(super) async fn destroy_displaced_vm(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<(), DriverError> {
        let handle = Handle::of(plan)?;
        let displaced = plan.displaced().filter(|old| old.policy.destroys());
        let (Some(old), Some(mark)) = (displaced, &handle.displaced_mark) else { return Ok(()) };
        let (form, vmid) = native(old)?;
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

fn native(old: &ReplacedVm) -> Result<(VmForm, Vmid), DriverError> {
    parse_native_id(&old.native_id).ok_or_else(|| {
        DriverError::Internal(format!("{:?} is no guest of Proxmox VE", old.native_id))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use drs_model::VmForm;

    use super::*;
    use crate::ReplacedVm;
    use crate::proxmox::export::tests::driver;

    pub(in crate::proxmox) fn plan(policy: ReplacePolicy) -> ImportPlan {
        let name: VmName = "112".parse().expect("a name");
        let old = ReplacedVm {
            name: name.clone(),
            native_id: "lxc/112".into(),
            running: false,
            aside: name.clone(),
            policy,
        };
        ImportPlan {
            name: name.clone(),
            made_as: name,
            replaces: Some(old),
            form: VmForm::Container,
            disks: Vec::new(),
            native_config: String::new(),
            remarks: Vec::new(),
            handle: serde_json::json!({
                "vmid": 112, "archive": "", "created_at": 0, "id": vec![0; 16], "devices": [],
                "contents": [], "tar_bytes": null, "maps": [], "restore": [], "settle": [],
                "identity": [], "volumes": [], "displaced_mark": null
            }),
        }
    }

    #[tokio::test]
    async fn a_guest_that_was_locked_or_protected_since_the_plan_is_not_replaced() {
        type Is = fn(&Result<(), DriverError>) -> bool;
        let free: Is = |it| it.is_ok();
        let busy: Is =
            |it| matches!(it, Err(DriverError::Busy { .. } | DriverError::Locked { .. }));
        let protected: Is = |it| matches!(it, Err(DriverError::Protected { .. }));
        for (word, config, policy, is) in [
            ("stopped", "memory: 64\n", ReplacePolicy::DestroyAfterProof, free),
            ("running", "memory: 64\n", ReplacePolicy::DestroyAfterProof, busy),
            ("stopped", "lock: backup\n", ReplacePolicy::StopAndKeep, busy),
            ("stopped", "lock: create\n", ReplacePolicy::DestroyAfterProof, busy),
            ("stopped", "protection: 1\n", ReplacePolicy::DestroyAfterProof, protected),
            ("stopped", "protection: 1\n", ReplacePolicy::StopAndKeep, free),
        ] {
            let answer = format!("node pve1\nat pve1 lxc\nstatus: {word}\n\0{config}\0");
            let (driver, _) = driver(&answer, 0);
            let exchanged = driver.demand_exchangeable(&plan(policy)).await;
            assert!(is(&exchanged), "{word} {config} {policy:?}: {exchanged:?}");
        }
    }
}
