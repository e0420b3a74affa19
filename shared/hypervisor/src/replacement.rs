//! Under which names an import is made on a hypervisor that can rename its VMs, and what that means
//! for the VM that stands where the new one is to be.
//!
//! | policy | made as | in the end | the old VM |
//! |---|---|---|---|
//! | nothing is there | `NAME` | `NAME` | |
//! | keep | `NAME-1234abcd` | the same | untouched |
//! | stop-and-keep, destroy-after-proof, refresh-copy | `NAME-new-1234abcd` | `NAME` | `NAME-old-1234abcd` |
//!
//! The digits are the job's, so a job finds its own names again, and names never grow: they are made
//! from the wanted name, not from that of the VM that is there.

use drs_model::{JobId, ReplacePolicy, VmName, VmRef};

use crate::{DriverError, ReplacedVm};

/// The VM that has the wanted name.
pub(crate) struct Standing {
    /// The hypervisor's own id of it.
    pub(crate) native_id: String,
    /// Whether it is anything but off.
    pub(crate) running: bool,
    /// Whether an import of DR Switch made it.
    pub(crate) imported: bool,
}

/// What is decided about the names of an import.
pub(crate) struct Replacement {
    pub(crate) name: VmName,
    pub(crate) made_as: VmName,
    pub(crate) replaces: Option<ReplacedVm>,
    pub(crate) remarks: Vec<String>,
}

/// Decides. `standing` is the VM that has the wanted name, if there is one.
pub(crate) fn decide(
    job: JobId,
    wanted: &VmRef,
    policy: Option<ReplacePolicy>,
    standing: Option<Standing>,
) -> Result<Replacement, DriverError> {
    let name = wanted.name.clone();
    let Some(old) = standing else {
        let made_as = name.clone();
        return Ok(Replacement { name, made_as, replaces: None, remarks: Vec::new() });
    };
    let Some(policy) = policy else {
        let host = wanted.host.to_string();
        return Err(DriverError::AlreadyExists { what: format!("VM {name}"), host });
    };
    if policy == ReplacePolicy::RefreshCopy {
        refreshable(wanted, &old)?;
    }
    let digits = digits(job);
    let replaced = |aside: &VmName| ReplacedVm {
        name: name.clone(),
        native_id: old.native_id.clone(),
        running: old.running,
        aside: aside.clone(),
        policy,
    };
    if !policy.takes_place() {
        let own = named(&name, &format!("-{digits}"))?;
        let remark = format!("a VM {name} is there and stays: the new one is {own}");
        return Ok(Replacement {
            replaces: Some(replaced(&name)),
            name: own.clone(),
            made_as: own,
            remarks: vec![remark],
        });
    }
    let aside = named(&name, &format!("-old-{digits}"))?;
    let becomes = match policy.destroys() {
        true => "is destroyed when the new one has proven itself",
        false => "is kept",
    };
    Ok(Replacement {
        made_as: named(&name, &format!("-new-{digits}"))?,
        remarks: vec![format!("the VM {name} that is there becomes {aside} and {becomes}")],
        replaces: Some(replaced(&aside)),
        name,
    })
}

/// Whether a replication may put its copy in the place of that VM.
fn refreshable(vm: &VmRef, old: &Standing) -> Result<(), DriverError> {
    let refuse = |reason: &str| {
        Err(DriverError::NotReplaceable { vm: vm.clone(), reason: reason.to_owned() })
    };
    match (old.imported, old.running) {
        (false, _) => refuse("DR Switch did not make it, so it is no copy to be refreshed"),
        (true, true) => refuse("it is not off, so it may be in use and more than a copy"),
        (true, false) => Ok(()),
    }
}

/// What a job's names and files carry: the last eight digits of its id. They are random in every
/// kind of id; the first ones are a clock in some and equal for jobs of the same minute.
pub(crate) fn digits(job: JobId) -> String {
    let id = job.to_string();
    id.get(id.len().saturating_sub(8)..).unwrap_or_default().to_owned()
}

/// The name with an ending, cut so far that it is still a name.
fn named(name: &VmName, ending: &str) -> Result<VmName, DriverError> {
    let mut base = name.as_str();
    while base.len() + ending.len() > VmName::BYTES_MAX {
        let last = base.char_indices().next_back().map_or(0, |(at, _)| at);
        base = base.get(..last).unwrap_or_default();
    }
    let base = base.trim_end_matches([' ', '.']);
    format!("{base}{ending}").parse().map_err(|error| DriverError::Invalid(format!("{error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str) -> VmRef {
        format!("dc2/{name}").parse().expect("a VM")
    }

    fn standing(imported: bool, running: bool) -> Option<Standing> {
        Some(Standing { native_id: "id".into(), running, imported })
    }

    #[test]
    fn a_free_name_is_taken_whatever_the_policy() {
        let job = JobId::from_key("a");
        for policy in [None, Some(ReplacePolicy::Keep), Some(ReplacePolicy::RefreshCopy)] {
            let it = decide(job, &wanted("web"), policy, None).expect("decided");
            assert_eq!((it.name.as_str(), it.made_as.as_str()), ("web", "web"));
            assert!(it.replaces.is_none() && it.remarks.is_empty());
        }
    }

    #[test]
    fn each_policy_has_its_names() {
        let job = JobId::from_key("a");
        let digits = digits(job);
        let of = |policy, running| {
            decide(job, &wanted("web"), Some(policy), standing(true, running)).expect("decided")
        };
        let kept = of(ReplacePolicy::Keep, true);
        assert_eq!(kept.name.as_str(), format!("web-{digits}"));
        assert_eq!(kept.made_as, kept.name);
        let old = kept.replaces.expect("the old one");
        assert_eq!((old.aside.as_str(), old.running), ("web", true));
        assert!(kept.remarks.concat().contains(kept.name.as_str()));

        for policy in [
            ReplacePolicy::StopAndKeep,
            ReplacePolicy::DestroyAfterProof,
            ReplacePolicy::RefreshCopy,
        ] {
            let it = of(policy, false);
            assert_eq!(it.name.as_str(), "web");
            assert_eq!(it.made_as.as_str(), format!("web-new-{digits}"));
            let old = it.replaces.expect("the old one");
            assert_eq!(old.aside.as_str(), format!("web-old-{digits}"));
            assert_eq!((old.native_id.as_str(), old.policy), ("id", policy));
        }
    }

    #[test]
    fn only_a_copy_that_is_off_is_refreshed() {
        let refresh = |imported, running| {
            let policy = Some(ReplacePolicy::RefreshCopy);
            decide(JobId::from_key("a"), &wanted("web"), policy, standing(imported, running))
        };
        assert!(refresh(true, false).is_ok());
        for (imported, running, part) in
            [(false, false, "did not make"), (false, true, "did not make"), (true, true, "not off")]
        {
            let error = refresh(imported, running).err().expect("refused");
            assert!(matches!(error, DriverError::NotReplaceable { .. }), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        let taken = decide(JobId::from_key("a"), &wanted("web"), None, standing(true, false));
        let fault = taken.err().expect("refused").fault();
        assert!(fault.remedy.contains("--replace"), "{fault:?}");
    }

    #[test]
    fn long_names_are_cut_and_stay_names() {
        for name in
            ["x".repeat(80), "ä".repeat(40), format!("{}. {}", "x".repeat(65), "y".repeat(10))]
        {
            let policy = Some(ReplacePolicy::StopAndKeep);
            let it = decide(JobId::from_key("a"), &wanted(&name), policy, standing(false, false));
            let it = it.expect("decided");
            assert!(it.made_as.as_str().len() <= VmName::BYTES_MAX);
            assert_ne!(it.made_as, it.name);
        }
    }
}
