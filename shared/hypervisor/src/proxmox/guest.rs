//! A guest of a node: its number, its kind, and the words that Proxmox has for them.

use std::fmt;

use drs_model::{PowerState, VmForm, VmRef};

use super::config;
use super::native::Native;
use crate::{DriverError, VmDescription};

/// The number of a guest, 100 to 999999999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Vmid(u32);

impl Vmid {
    pub(super) const MIN: u32 = 100;
    pub(super) const MAX: u32 = 999_999_999;

    pub(super) fn new(number: u32) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// The number that the text is: plain digits without leading zeros.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        Self::new(text.parse().ok().filter(|_| plain)?)
    }

    pub(super) fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vmid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The words that Proxmox has for a kind of guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Words {
    /// The command that manages it: `qm` or `pct`.
    pub(super) tool: &'static str,
    /// Its kind in the API and in archive names: `qemu` or `lxc`.
    pub(super) kind: &'static str,
    /// The folder of its configurations in `/etc/pve/nodes/NODE`.
    pub(super) folder: &'static str,
    /// What its configuration is called in an archive and in our native form.
    pub(super) config: &'static str,
    /// What its firewall rules are called there.
    pub(super) firewall: &'static str,
}

/// The words for a form.
pub(super) fn words(form: VmForm) -> Words {
    match form {
        VmForm::Machine => Words {
            tool: "qm",
            kind: "qemu",
            folder: "qemu-server",
            config: "qemu-server.conf",
            firewall: "qemu-server.fw",
        },
        VmForm::Container => Words {
            tool: "pct",
            kind: "lxc",
            folder: "lxc",
            config: "pct.conf",
            firewall: "pct.fw",
        },
    }
}

/// A guest that stands on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guest {
    /// Its number as a name, with the host.
    pub(super) vm: VmRef,
    pub(super) vmid: Vmid,
    pub(super) power: PowerState,
    /// What its configuration is locked by (`backup`, `migrate`); empty when it is not.
    pub(super) lock: String,
    /// Form, configuration and firewall rules.
    pub(super) native: Native,
}

impl Guest {
    pub(super) fn words(&self) -> Words {
        words(self.native.form)
    }

    /// `qemu/112` or `lxc/200`.
    pub(super) fn native_id(&self) -> String {
        format!("{}/{}", self.words().kind, self.vmid)
    }

    /// The guest in the terms of the port.
    pub(super) fn description(&self) -> VmDescription {
        let native = &self.native;
        VmDescription {
            spec: config::spec(&self.vm.name, self.vmid, native.form, &native.config),
            power: self.power,
            native_config: native.text(),
        }
    }

    /// Refuses a guest that Proxmox has locked for something.
    pub(super) fn demand_unlocked(&self) -> Result<(), DriverError> {
        match self.lock.as_str() {
            "" => Ok(()),
            lock => Err(DriverError::Locked {
                vm: self.vm.clone(),
                reason: format!("Proxmox has locked it ({lock})"),
            }),
        }
    }

    /// Refuses a guest that must not be removed.
    pub(super) fn demand_unprotected(&self) -> Result<(), DriverError> {
        match self.native.config.get("protection") {
            Some("1") => Err(DriverError::Protected {
                vm: self.vm.clone(),
                reason: "`protection: 1` is set".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Whether a guest runs, in the words of `qm status` and of the API.
pub(super) fn power_state(word: &str) -> PowerState {
    match word {
        "running" => PowerState::Running,
        "stopped" => PowerState::Off,
        // `prelaunch` is a machine that was off and that vzdump has started to read its disks.
        "paused" | "suspended" | "prelaunch" | "io-error" | "inmigrate" | "postmigrate"
        | "finish-migrate" | "save-vm" | "restore-vm" => PowerState::Paused,
        _ => PowerState::Broken,
    }
}

/// The form and number that a native id (`qemu/112`) tells.
pub(super) fn parse_native_id(text: &str) -> Option<(VmForm, Vmid)> {
    let (kind, number) = text.split_once('/')?;
    let form = [VmForm::Machine, VmForm::Container].into_iter().find(|&f| words(f).kind == kind)?;
    Some((form, Vmid::parse(number)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vmid_is_a_plain_number_within_proxmoxs_bounds() {
        assert_eq!(Vmid::parse("112").map(Vmid::number), Some(112));
        assert_eq!(Vmid::parse("999999999").map(Vmid::number), Some(999_999_999));
        for text in ["", "99", "0112", "+112", "1000000000", "web-112", "112 ", "99999999999"] {
            assert_eq!(Vmid::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_native_id_reads_back() {
        for text in ["qemu/112", "lxc/200"] {
            let (form, vmid) = parse_native_id(text).expect(text);
            assert_eq!(format!("{}/{vmid}", words(form).kind), text);
        }
        assert_eq!(parse_native_id("storage/112"), None);
    }
}
