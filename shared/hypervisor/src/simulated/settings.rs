//! The description of a simulated host, as it stands in [`Host::address`](drs_model::Host).

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use drs_model::VmName;
use serde::{Deserialize, Serialize};

/// A step of the driver at which a failure can be ordered (`fail_at`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// `Driver::check`.
    Check,
    /// `Driver::describe`.
    Describe,
    /// `Driver::open_export`.
    OpenExport,
    /// A pass over the disks, half way.
    ReadDisk,
    /// `Driver::close_export`.
    CloseExport,
    /// `Driver::allocate`.
    CreateDisks,
    /// Writing the disks, half way.
    WriteDisk,
    /// `Driver::define`.
    Define,
    /// `Driver::power`.
    Power,
}

impl Step {
    const ALL: [(&'static str, Self); 9] = [
        ("check", Self::Check),
        ("describe", Self::Describe),
        ("open_export", Self::OpenExport),
        ("read_disk", Self::ReadDisk),
        ("close_export", Self::CloseExport),
        ("create_disks", Self::CreateDisks),
        ("write_disk", Self::WriteDisk),
        ("define", Self::Define),
        ("power", Self::Power),
    ];

    /// Its name in `fail_at`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, step)| *step == self).map_or("", |(name, _)| name)
    }
}

/// What a simulated host is like. Written `key=value,key=value`; every key has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `vms`: how many VMs the host has, `vm-001` and so on, all running. Default 4, at most 10000.
    pub vms: u32,
    /// `disks`: disks of each VM, `vda` and so on. Default 1, at most 8.
    pub disks: u32,
    /// `disk_mib`: size of each disk in MiB. Default 64, at most 1048576.
    pub disk_mib: u64,
    /// `data_percent`: share of a disk that is not a hole, rounded up to sixteenths. Default 25.
    pub data_percent: u64,
    /// `backup_ms`: how long one pass over all disks of a VM takes, in milliseconds. Default 1000.
    pub backup_ms: u64,
    /// `backup_ms.NAME`: the same for one VM.
    pub backup_ms_of: BTreeMap<VmName, u64>,
    /// `restore_ms`: how long writing all disks of a VM takes, in milliseconds. Default 1000.
    pub restore_ms: u64,
    /// `check_ms`: how long the host checks what a restore has written, in milliseconds: a command that goes
    /// on while no process of ours lives. Default 50.
    pub check_ms: u64,
    /// `seed`: what content, jitter and random failures follow from. Default 7.
    pub seed: u64,
    /// `jitter_percent`: how far `backup_ms` and `restore_ms` vary up and down. Default 0.
    pub jitter_percent: u64,
    /// `fail_percent`: share of copies that break half way. Default 0.
    pub fail_percent: u64,
    /// `fail_at`: steps that fail, joined with `+`: `check`, `describe`, `open_export`, `read_disk`,
    /// `close_export`, `create_disks`, `write_disk`, `define`, `power`. Default none.
    pub fail_at: BTreeSet<Step>,
    /// `fail_times`: how many times each step of `fail_at` fails for each VM before it succeeds.
    /// Default 1.
    pub fail_times: u32,
    /// `unreachable`: `true` when nothing on the host answers. Default `false`.
    pub unreachable: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            vms: 4,
            disks: 1,
            disk_mib: 64,
            data_percent: 25,
            backup_ms: 1000,
            backup_ms_of: BTreeMap::new(),
            restore_ms: 1000,
            check_ms: 50,
            seed: 7,
            jitter_percent: 0,
            fail_percent: 0,
            fail_at: BTreeSet::new(),
            fail_times: 1,
            unreachable: false,
        }
    }
}

/// Everything that is wrong with a description, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the description of the simulated host is wrong: {}", .problems.join("; "))]
pub struct SettingsError {
    /// One sentence for each wrong entry.
    pub problems: Vec<String>,
}

/// Longest simulated copy: one day.
const DURATION_MS_MAX: u64 = 86_400_000;

impl Settings {
    const KEYS: &'static str = "vms, disks, disk_mib, data_percent, backup_ms, backup_ms.VM, restore_ms, \
         check_ms, seed, jitter_percent, fail_percent, fail_at, fail_times, unreachable";

    /// Length of one pass over the disks of a VM, before jitter.
    pub(super) fn backup(&self, vm: &VmName) -> Duration {
        Duration::from_millis(self.backup_ms_of.get(vm).copied().unwrap_or(self.backup_ms))
    }

    /// Size of each disk in bytes.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.disk_mib * 1024 * 1024
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        if let Some(name) = key.strip_prefix("backup_ms.") {
            let vm = name.parse::<VmName>().map_err(|error| error.to_string())?;
            self.backup_ms_of.insert(vm, number(key, value, 0, DURATION_MS_MAX)?);
            return Ok(());
        }
        match key {
            "vms" => self.vms = number(key, value, 0, 10_000)?,
            "disks" => self.disks = number(key, value, 1, 8)?,
            "disk_mib" => self.disk_mib = number(key, value, 1, 1_048_576)?,
            "data_percent" => self.data_percent = number(key, value, 0, 100)?,
            "backup_ms" => self.backup_ms = number(key, value, 0, DURATION_MS_MAX)?,
            "restore_ms" => self.restore_ms = number(key, value, 0, DURATION_MS_MAX)?,
            "check_ms" => self.check_ms = number(key, value, 0, DURATION_MS_MAX)?,
            "seed" => self.seed = number(key, value, 0, u64::MAX)?,
            "jitter_percent" => self.jitter_percent = number(key, value, 0, 100)?,
            "fail_percent" => self.fail_percent = number(key, value, 0, 100)?,
            "fail_at" => self.fail_at = steps(value)?,
            "fail_times" => self.fail_times = number(key, value, 1, u64::from(u32::MAX))?,
            "unreachable" => {
                self.unreachable =
                    value.parse().map_err(|_| format!("unreachable={value}: true or false"))?;
            }
            _ => return Err(format!("{key:?} is no key; known: {}", Self::KEYS)),
        }
        Ok(())
    }
}

fn number<T: TryFrom<u64>>(key: &str, value: &str, min: u64, max: u64) -> Result<T, String> {
    let wrong = || format!("{key}={value}: a whole number from {min} to {max} is needed");
    let number: u64 = value.parse().map_err(|_| wrong())?;
    if !(min..=max).contains(&number) {
        return Err(wrong());
    }
    T::try_from(number).map_err(|_| wrong())
}

fn steps(value: &str) -> Result<BTreeSet<Step>, String> {
    let find = |name: &str| Step::ALL.iter().find(|(known, _)| *known == name).map(|(_, s)| *s);
    value
        .split('+')
        .map(|name| {
            find(name).ok_or_else(|| {
                let known = Step::ALL.map(|(name, _)| name).join(", ");
                format!("fail_at={value}: {name:?} is no step; known: {known}")
            })
        })
        .collect()
}

impl FromStr for Settings {
    type Err = SettingsError;
    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        let mut seen = BTreeSet::new();
        let mut problems = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let outcome = match entry.split_once('=') {
                None => Err(format!("{entry:?} is not of the form key=value")),
                Some((key, _)) if !seen.insert(key) => Err(format!("{key:?} stands there twice")),
                Some((key, value)) => settings.set(key, value),
            };
            problems.extend(outcome.err());
        }
        if problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let settings: Settings = "vms=2, disks=3,disk_mib=8,data_percent=50,backup_ms=5,\
             backup_ms.vm-002=2570,restore_ms=6,check_ms=8,seed=9,jitter_percent=10,fail_percent=1,\
             fail_at=open_export+power,fail_times=2,unreachable=true"
            .parse()
            .expect("valid");
        let expected = Settings {
            vms: 2,
            disks: 3,
            disk_mib: 8,
            data_percent: 50,
            backup_ms: 5,
            backup_ms_of: [("vm-002".parse().expect("a name"), 2570)].into(),
            restore_ms: 6,
            check_ms: 8,
            seed: 9,
            jitter_percent: 10,
            fail_percent: 1,
            fail_at: [Step::OpenExport, Step::Power].into(),
            fail_times: 2,
            unreachable: true,
        };
        assert_eq!(settings, expected);
        assert_eq!("".parse(), Ok(Settings::default()));
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let error =
            "vms=many,colour=red,disk_mib=0,seed,fail_at=explode,seed=1,seed=2,backup_ms.a/b=1"
                .parse::<Settings>()
                .expect_err("wrong");
        assert_eq!(error.problems.len(), 7, "{error}");
        for part in ["vms=many", "\"colour\"", "disk_mib=0", "\"seed\"", "explode", "twice", "a/b"]
        {
            assert!(error.to_string().contains(part), "{part} in {error}");
        }
    }
}
