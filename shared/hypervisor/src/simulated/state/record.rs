//! What stands in the files of a simulated host.

use std::collections::BTreeMap;

use drs_model::{FencingToken, JobId, PowerState, VmName, VmSpec};
use drs_protocol::guard::VmGuard;
use serde::{Deserialize, Serialize};

use crate::simulated::settings::Step;

/// What a host remembers of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::simulated) struct HostState {
    /// When it was first opened: its VMs write since then. Milliseconds since 1970.
    pub(in crate::simulated) born_ms: u64,
    /// How often `check` failed on order.
    pub(in crate::simulated) check_failures: BTreeMap<Step, u32>,
}

/// What a host remembers of one VM name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::simulated) struct VmState {
    /// The VM, when there is one of that name.
    pub(in crate::simulated) machine: Option<Machine>,
    /// The open export.
    pub(in crate::simulated) export: Option<OpenExport>,
    /// The guard's rules.
    pub(in crate::simulated) guard: VmGuard,
    /// The hold that has the VM.
    pub(in crate::simulated) hold: Option<HoldRecord>,
    /// Holds so far; numbers their files.
    pub(in crate::simulated) holds: u64,
    /// Detached commands by `job/step`.
    pub(in crate::simulated) detached: BTreeMap<String, Detached>,
    /// Failures on order so far, by step.
    pub(in crate::simulated) failures: BTreeMap<Step, u32>,
    /// Copies of disks begun so far; random failures and jitter follow from it.
    pub(in crate::simulated) copies: u64,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::simulated) struct Machine {
    pub(in crate::simulated) power: PowerState,
    /// Generation of its content when it was last switched, and when that was (milliseconds since
    /// 1970). It grows while the VM runs.
    pub(in crate::simulated) generation: u64,
    pub(in crate::simulated) since_ms: u64,
    /// How it was imported; `None` for a VM that the host had from the beginning.
    pub(in crate::simulated) imported: Option<Imported>,
    /// The name under which the host had it from the beginning, if that is another one; its content
    /// follows from it.
    #[serde(default)]
    pub(in crate::simulated) origin: Option<VmName>,
}

/// What an import left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::simulated) struct Imported {
    pub(in crate::simulated) job: JobId,
    pub(in crate::simulated) spec: VmSpec,
}

/// An open export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::simulated) struct OpenExport {
    pub(in crate::simulated) job: JobId,
    pub(in crate::simulated) generation: u64,
}

/// The hold that has a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::simulated) struct HoldRecord {
    pub(in crate::simulated) job: JobId,
    pub(in crate::simulated) fence: FencingToken,
    /// Number of its file. The file is locked while the hold's process lives.
    pub(in crate::simulated) number: u64,
    /// Command to run when it dies.
    pub(in crate::simulated) at_loss: Option<Vec<String>>,
}

/// A detached command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::simulated) struct Detached {
    pub(in crate::simulated) command: String,
    /// When it ends or ended, milliseconds since 1970.
    pub(in crate::simulated) due_ms: u64,
    /// Its exit code then.
    pub(in crate::simulated) code: i32,
}

impl Machine {
    /// How fast a running VM changes its content.
    const GENERATION_MS: u64 = 100;

    pub(in crate::simulated) fn native(born_ms: u64) -> Self {
        Self {
            power: PowerState::Running,
            generation: 0,
            since_ms: born_ms,
            imported: None,
            origin: None,
        }
    }

    /// The host's own id of it, which stays when it is renamed.
    pub(in crate::simulated) fn native_id(&self, vm: &VmName) -> String {
        match &self.imported {
            Some(imported) => imported.spec.native_id.clone(),
            None => format!("simulated-{}", self.origin.as_ref().unwrap_or(vm)),
        }
    }

    /// Whether that job made it.
    pub(in crate::simulated) fn made_by(&self, job: JobId) -> bool {
        self.imported.as_ref().is_some_and(|imported| imported.job == job)
    }

    /// The VM under another name than this one.
    pub(in crate::simulated) fn renamed(&self, from: &VmName, to: &VmName) -> Self {
        let mut renamed = self.clone();
        match &mut renamed.imported {
            Some(imported) => imported.spec.name = to.clone(),
            None => renamed.origin = Some(self.origin.as_ref().unwrap_or(from).clone()),
        }
        renamed
    }

    pub(in crate::simulated) fn generation_at(&self, now_ms: u64) -> u64 {
        match self.power {
            PowerState::Running => {
                self.generation + now_ms.saturating_sub(self.since_ms) / Self::GENERATION_MS
            }
            PowerState::Paused | PowerState::Off | PowerState::Broken => self.generation,
        }
    }

    pub(in crate::simulated) fn switch(&mut self, power: PowerState, now_ms: u64) {
        if self.power != power {
            self.generation = self.generation_at(now_ms);
            self.since_ms = now_ms;
            self.power = power;
        }
    }
}
