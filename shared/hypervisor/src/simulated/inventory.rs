//! What a simulated host has, and switching it.

use drs_model::{
    Disk, Firmware, Grip, Nic, PowerAction, PowerState, VmForm, VmName, VmRef, VmSpec, VmSummary,
};

use super::content::{hash, hash_text};
use super::settings::Step;
use super::state::{HostDir, Machine, VmState, now_ms};
use crate::port::{DriverError, HostReport, VmDescription};

impl HostDir {
    pub(super) fn check(&self) -> Result<HostReport, DriverError> {
        let vms = self.inventory()?.len();
        self.with_host(|state| self.fail_on_order(Step::Check, &mut state.check_failures))??;
        let folder = self.images();
        let space = rustix::fs::statvfs(&folder).map_err(|error| self.broken(&folder, &error))?;
        Ok(HostReport {
            hypervisor: format!("simulated {}", env!("CARGO_PKG_VERSION")),
            vms,
            free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
            warnings: Vec::new(),
        })
    }

    pub(super) fn inventory(&self) -> Result<Vec<VmSummary>, DriverError> {
        let mut summaries = Vec::new();
        for name in self.known()? {
            if let Some(machine) = self.peek(&name)?.machine {
                summaries.push(VmSummary {
                    native_id: machine.native_id(&name),
                    power: machine.power,
                    name,
                    label: String::new(),
                    form: VmForm::Machine,
                });
            }
        }
        Ok(summaries)
    }

    /// Describes a VM, unless the host's description orders that to fail.
    pub(super) async fn describe_on_order(
        &self,
        vm: &VmName,
    ) -> Result<VmDescription, DriverError> {
        if self.settings.fail_at.contains(&Step::Describe) {
            self.with_vm(vm, |state| self.fail_on_order(Step::Describe, &mut state.failures))
                .await?;
        }
        let state = self.peek(vm)?;
        self.describe(vm, self.machine(vm, &state)?)
    }

    pub(super) fn describe(
        &self,
        vm: &VmName,
        machine: &Machine,
    ) -> Result<VmDescription, DriverError> {
        let spec = match &machine.imported {
            Some(imported) => imported.spec.clone(),
            None => self.native_spec(vm, machine),
        };
        let native_config = serde_json::to_string_pretty(&spec)
            .map_err(|error| self.failed("describing a VM", &error))?;
        Ok(VmDescription { spec, power: machine.power, native_config })
    }

    pub(super) async fn power(
        &self,
        grip: &Grip,
        vm: &VmName,
        action: PowerAction,
    ) -> Result<PowerState, DriverError> {
        self.with_vm_of(grip, vm, |state| {
            self.machine(vm, state)?;
            self.fail_on_order(Step::Power, &mut state.failures)?;
            let power = match action {
                PowerAction::Start => PowerState::Running,
                PowerAction::Shutdown | PowerAction::Stop => PowerState::Off,
            };
            if let Some(machine) = &mut state.machine {
                machine.switch(power, now_ms());
            }
            Ok(power)
        })
        .await
    }

    /// The VM, or that there is none and which name may have been meant.
    pub(super) fn machine<'a>(
        &self,
        vm: &VmName,
        state: &'a VmState,
    ) -> Result<&'a Machine, DriverError> {
        match &state.machine {
            Some(machine) => Ok(machine),
            None => {
                let known = self.inventory()?;
                let names = known.iter().map(|known| known.name.as_str());
                let similar = drs_model::nearest(vm.as_str(), names).map(str::to_owned);
                Err(DriverError::VmNotFound { vm: self.vm_ref(vm), similar })
            }
        }
    }

    pub(super) fn vm_ref(&self, vm: &VmName) -> VmRef {
        VmRef { host: self.host_name().clone(), name: vm.clone() }
    }

    /// Fails the step as often as the host's description orders.
    pub(super) fn fail_on_order(
        &self,
        step: Step,
        failures: &mut std::collections::BTreeMap<Step, u32>,
    ) -> Result<(), DriverError> {
        if !self.settings.fail_at.contains(&step) {
            return Ok(());
        }
        let (failed, times) = (failures.entry(step).or_default(), self.settings.fail_times);
        if *failed >= times {
            return Ok(());
        }
        *failed += 1;
        Err(self.failed(step.as_str(), &format!("simulated failure {failed} of {times}")))
    }

    pub(super) fn failed(&self, what: &str, reason: &dyn std::fmt::Display) -> DriverError {
        DriverError::Failed {
            host: self.host_name().to_string(),
            what: what.to_owned(),
            reason: reason.to_string(),
        }
    }

    fn native_spec(&self, vm: &VmName, machine: &Machine) -> VmSpec {
        let origin = machine.origin.as_ref().unwrap_or(vm);
        let disks = (0..self.settings.disks as u8).map(|number| Disk {
            name: format!("vd{}", char::from(b'a' + number)),
            size_bytes: self.settings.disk_bytes(),
            source: format!("generated/{origin}/{number}"),
            format: "raw".to_owned(),
            protected: true,
            unprotected_reason: String::new(),
        });
        let identity = hash([self.settings.seed, hash_text(origin.as_str())]);
        VmSpec {
            name: vm.clone(),
            native_id: machine.native_id(vm),
            label: String::new(),
            form: VmForm::Machine,
            vcpus: 1,
            memory_mib: 512,
            firmware: Firmware::Bios,
            machine: "simulated".to_owned(),
            disks: disks.collect(),
            nics: vec![Nic {
                mac: mac(identity),
                network: "default".to_owned(),
                model: "virtio".to_owned(),
            }],
            guest_agent: false,
        }
    }
}

/// A MAC address in the range of virtual cards.
pub(super) fn mac(number: u64) -> String {
    let [a, b, c, ..] = number.to_le_bytes();
    format!("52:54:00:{a:02x}:{b:02x}:{c:02x}")
}
