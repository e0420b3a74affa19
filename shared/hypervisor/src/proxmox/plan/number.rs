//! Which number the new guest gets, and what that means for a guest that has the wanted one.
//!
//! | policy | new guest | the guest that has the wanted number |
//! |---|---|---|
//! | nothing is there | the wanted number | |
//! | none | refused | |
//! | keep | a free number | stays untouched |
//! | stop-and-keep | a free number | is shut down in the end, and kept |
//! | destroy-after-proof | a free number | is shut down in the end, and destroyed after the proof |
//! | refresh-copy | a free number | the same, if it is a copy of ours that is off and unchanged |

use drs_model::{PowerState, ReplacePolicy, VmRef};

use super::survey::Survey;
use crate::proxmox::ProxmoxDriver;
use crate::proxmox::guest::{Guest, Vmid};
use crate::{DriverError, ImportRequest, ReplacedVm};

/// What is decided.
pub(super) struct Number {
    pub(super) vmid: Vmid,
    pub(super) replaces: Option<ReplacedVm>,
    pub(super) remarks: Vec<String>,
}

impl ProxmoxDriver {
    pub(super) async fn number(
        &self,
        request: &ImportRequest<'_>,
        survey: &Survey,
    ) -> Result<Number, DriverError> {
        let vm = &request.target.vm;
        let wanted = wanted(vm, survey)?;
        let Some(node) = survey.taken.get(&wanted) else {
            // Our own restore that was killed leaves volumes, too, and takes them back.
            if let Some(volume) =
                survey.volumes.get(&wanted).filter(|_| !survey.records.contains_key(&wanted))
            {
                let what = format!("VM {wanted} (as the volume {volume}, which no VM uses)");
                return Err(DriverError::AlreadyExists { what, host: self.host.name.to_string() });
            }
            return Ok(Number { vmid: wanted, replaces: None, remarks: Vec::new() });
        };
        let Some(policy) = request.target.replace else {
            let host = self.host.name.to_string();
            return Err(DriverError::AlreadyExists { what: format!("VM {wanted} ({node})"), host });
        };
        let vmid = free(survey)?;
        let mut remarks = Vec::new();
        // The guest may stand on another node when it stays untouched.
        let replaces = match (node == self.node().await?, policy.takes_place()) {
            (false, false) => None,
            (false, true) => {
                return Err(DriverError::Elsewhere { vm: vm.clone(), node: node.clone() });
            }
            (true, _) => {
                let guest = self.locate(vm).await?;
                if policy.takes_place() {
                    replaceable(&guest, policy, survey)?;
                }
                remarks.extend(starts_again(&guest, policy));
                Some(replaced(&guest, policy))
            }
        };
        let remark = format!(
            "VMID {wanted} is taken (node {node}): the new VM is {vmid}, and the one that is there {}",
            match policy {
                ReplacePolicy::Keep => "stays as it is",
                ReplacePolicy::StopAndKeep => "is shut down and kept",
                ReplacePolicy::DestroyAfterProof | ReplacePolicy::RefreshCopy => {
                    "is destroyed when the new one has proven itself"
                }
            }
        );
        remarks.insert(0, remark);
        Ok(Number { vmid, replaces, remarks })
    }
}

fn wanted(vm: &VmRef, survey: &Survey) -> Result<Vmid, DriverError> {
    Vmid::parse(vm.name.as_str()).ok_or_else(|| {
        let hint = free(survey).map(|id| format!("; {id} is free")).unwrap_or_default();
        DriverError::Invalid(format!(
            "{:?} is no VMID: on Proxmox VE the new VM is named by a number from {} to {}{hint}",
            vm.name.as_str(),
            Vmid::MIN,
            Vmid::MAX
        ))
    })
}

/// The lowest number that nobody has and no job is about to give, and that no volume has.
fn free(survey: &Survey) -> Result<Vmid, DriverError> {
    (Vmid::MIN..=Vmid::MAX)
        .filter_map(Vmid::new)
        .find(|id| {
            let known = survey.taken.contains_key(id) || survey.records.contains_key(id);
            !known && !survey.volumes.contains_key(id)
        })
        .ok_or_else(|| DriverError::Invalid("no VMID is free".into()))
}

fn replaced(guest: &Guest, policy: ReplacePolicy) -> ReplacedVm {
    ReplacedVm {
        name: guest.vm.name.clone(),
        native_id: guest.native_id(),
        running: guest.power != PowerState::Off,
        aside: guest.vm.name.clone(),
        policy,
    }
}

/// A guest that is kept, off, and that its node starts when it boots: beside its successor.
fn starts_again(guest: &Guest, policy: ReplacePolicy) -> Option<String> {
    let starts = guest.native.config.get("onboot") == Some("1");
    let (vmid, tool) = (guest.vmid, guest.words().tool);
    (starts && policy == ReplacePolicy::StopAndKeep).then(|| {
        format!(
            "VM {vmid} is kept, but its node starts it beside the new one when it boots (`onboot: 1`): \
             switch that off, `{tool} set {vmid} --onboot 0`"
        )
    })
}

/// Refuses to put a new guest in the place of one that cannot be shut down or destroyed in the end.
fn replaceable(guest: &Guest, policy: ReplacePolicy, survey: &Survey) -> Result<(), DriverError> {
    guest.demand_unlocked()?;
    let refuse = |reason: &str| {
        Err(DriverError::NotReplaceable { vm: guest.vm.clone(), reason: reason.to_owned() })
    };
    let made = survey.records.get(&guest.vmid).map(|record| record.mark.as_str());
    match policy {
        ReplacePolicy::DestroyAfterProof => guest.demand_unprotected(),
        ReplacePolicy::RefreshCopy if guest.power != PowerState::Off => {
            refuse("it is not off, so it may be in use and more than a copy")
        }
        ReplacePolicy::RefreshCopy if made.is_none_or(str::is_empty) => {
            refuse("DR Switch did not make it, so it is no copy to be refreshed")
        }
        ReplacePolicy::RefreshCopy if made != survey.mark.as_deref() => {
            refuse("it is not the copy that DR Switch made any more")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use drs_model::VmForm;

    use super::super::survey::Record;
    use super::*;
    use crate::proxmox::native::Native;

    fn id(number: u32) -> Vmid {
        Vmid::new(number).expect("a number")
    }

    fn guest(config: &str, power: PowerState) -> Guest {
        Guest {
            vm: "dc2/112".parse().expect("a VM"),
            vmid: id(112),
            power,
            lock: String::new(),
            native: Native::new(VmForm::Machine, config, ""),
        }
    }

    fn survey(mark: Option<&str>, made: Option<&str>) -> Survey {
        let record = |mark: &str| (id(112), Record { mark: mark.to_owned() });
        Survey {
            mark: mark.map(str::to_owned),
            records: made.map(record).into_iter().collect(),
            ..Survey::default()
        }
    }

    #[test]
    fn the_lowest_free_number_is_taken_but_none_that_is_reserved() {
        let taken = [100, 101, 103].map(|number| (id(number), "pve1".to_owned()));
        let mut survey = Survey { taken: BTreeMap::from(taken), ..Survey::default() };
        assert_eq!(free(&survey).ok(), Some(id(102)));
        survey.records.insert(id(102), Record { mark: String::new() });
        survey.volumes.insert(id(104), "local:104/vm-104-disk-0.raw".to_owned());
        assert_eq!(free(&survey).ok(), Some(id(105)));
        let error = wanted(&"dc2/web1".parse().expect("a VM"), &survey).expect_err("no number");
        assert!(error.to_string().contains("105 is free"), "{error}");
    }

    #[test]
    fn only_an_unchanged_copy_of_ours_that_is_off_is_refreshed() {
        let policy = ReplacePolicy::RefreshCopy;
        let off = guest("memory: 64\nprotection: 1\n", PowerState::Off);
        assert!(replaceable(&off, policy, &survey(Some("a"), Some("a"))).is_ok());
        for (power, mark, made, part) in [
            (PowerState::Running, Some("a"), Some("a"), "not off"),
            (PowerState::Off, Some("a"), None, "did not make"),
            (PowerState::Off, Some("a"), Some(""), "did not make"),
            (PowerState::Off, Some("b"), Some("a"), "any more"),
        ] {
            let error = replaceable(&guest("memory: 64\n", power), policy, &survey(mark, made));
            let error = error.expect_err("refused").to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_guest_that_is_kept_and_would_start_with_its_node_is_told() {
        let starts = guest("onboot: 1\n", PowerState::Running);
        let remark = starts_again(&starts, ReplacePolicy::StopAndKeep).expect("a remark");
        assert!(remark.contains("`qm set 112 --onboot 0`"), "{remark}");
        assert_eq!(starts_again(&starts, ReplacePolicy::DestroyAfterProof), None);
        let stays_off = guest("onboot: 0\n", PowerState::Running);
        assert_eq!(starts_again(&stays_off, ReplacePolicy::StopAndKeep), None);
    }

    #[test]
    fn a_guest_that_proxmox_protects_or_locks_is_not_destroyed() {
        let protected = guest("protection: 1\n", PowerState::Running);
        let survey = survey(Some("a"), None);
        let error = replaceable(&protected, ReplacePolicy::DestroyAfterProof, &survey);
        let error = error.expect_err("protected");
        assert!(matches!(error, DriverError::Protected { .. }), "{error}");
        assert!(replaceable(&protected, ReplacePolicy::StopAndKeep, &survey).is_ok());
        let mut locked = guest("memory: 64\n", PowerState::Off);
        locked.lock = "migrate".into();
        let error = replaceable(&locked, ReplacePolicy::StopAndKeep, &survey).expect_err("busy");
        assert!(matches!(error, DriverError::Locked { .. }), "{error}");
    }
}
