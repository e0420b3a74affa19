//! Replacing a simulated VM. A VM moves from one name to another by two files, the new one first, so a
//! crash between them leaves it under both names, and the next call goes on.

use drs_model::{Grip, PowerState, VmName};

use super::state::{HostDir, Machine};
use crate::port::{DriverError, ImportPlan};

impl HostDir {
    pub(super) async fn exchange(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        let Some(old) = plan.displaced() else { return Ok(()) };
        let is_old = |vm: &VmName, machine: &Machine| machine.native_id(vm) == old.native_id;
        let is_new = |_: &VmName, machine: &Machine| machine.made_by(grip.job);
        if self.stands(&plan.made_as, is_new)? {
            self.demand_off(&plan.made_as)?;
            self.move_vm(grip, &plan.name, &old.aside, is_old).await?;
            self.move_vm(grip, &plan.made_as, &plan.name, is_new).await?;
        }
        match self.stands(&plan.name, is_new)? {
            true => Ok(()),
            false => Err(self.failed("renaming", &format!("the VM {} is gone", plan.made_as))),
        }
    }

    pub(super) async fn exchange_back(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<(), DriverError> {
        let Some(old) = plan.displaced() else { return Ok(()) };
        let is_old = |vm: &VmName, machine: &Machine| machine.native_id(vm) == old.native_id;
        let is_new = |_: &VmName, machine: &Machine| machine.made_by(grip.job);
        if self.stands(&old.aside, is_old)? {
            self.demand_off(&old.aside)?;
            self.move_vm(grip, &plan.name, &plan.made_as, is_new).await?;
            self.move_vm(grip, &old.aside, &plan.name, is_old).await?;
        }
        Ok(())
    }

    pub(super) async fn destroy_displaced(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<(), DriverError> {
        let Some(old) = plan.displaced().filter(|old| old.policy.destroys()) else {
            return Ok(());
        };
        let vm = &old.aside;
        if !self.stands(vm, |vm, machine| machine.native_id(vm) == old.native_id)? {
            return Ok(());
        }
        self.demand_off(vm)?;
        self.with_vm_of(grip, vm, |state| {
            let imported = state.machine.as_ref().and_then(|machine| machine.imported.as_ref());
            let disks = imported.into_iter().flat_map(|it| &it.spec.disks);
            disks.into_iter().try_for_each(|disk| self.remove_image(&disk.source))?;
            state.machine = None;
            Ok(())
        })
        .await
    }

    fn stands(
        &self,
        vm: &VmName,
        is_it: impl Fn(&VmName, &Machine) -> bool,
    ) -> Result<bool, DriverError> {
        Ok(self.peek(vm)?.machine.is_some_and(|machine| is_it(vm, &machine)))
    }

    pub(super) fn demand_off(&self, vm: &VmName) -> Result<(), DriverError> {
        match self.peek(vm)?.machine.map(|machine| machine.power) {
            None | Some(PowerState::Off) => Ok(()),
            Some(power) => {
                Err(DriverError::Busy { vm: self.vm_ref(vm), reason: format!("it is {power}") })
            }
        }
    }

    /// Renames a VM, if it is the one that is meant and is there.
    async fn move_vm(
        &self,
        grip: &Grip,
        from: &VmName,
        to: &VmName,
        is_it: impl Fn(&VmName, &Machine) -> bool,
    ) -> Result<(), DriverError> {
        let Some(machine) = self.peek(from)?.machine.filter(|machine| is_it(from, machine)) else {
            return Ok(());
        };
        self.demand_off(from)?;
        self.with_vm_of(grip, to, |state| match &state.machine {
            Some(other) if other.native_id(to) != machine.native_id(from) => Err(self.exists(to)),
            _ => {
                state.machine = Some(machine.renamed(from, to));
                Ok(())
            }
        })
        .await?;
        self.with_vm_of(grip, from, |state| {
            state.machine = None;
            Ok(())
        })
        .await
    }
}
