//! Replication pairs: a protected VM and its counterpart at the recovery site.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{HostName, PairName, ReplacePolicy, RestoreTarget, VmName, VmRef};

/// Protected-site network name to recovery-site network name.
pub type NetworkMap = BTreeMap<String, String>;

/// Disk name (`vda`) to the folder on the recovery host in which that disk is restored.
pub type StorageMap = BTreeMap<String, String>;

/// One protected VM and where it is restored to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationPair {
    /// What the operator calls it; unique.
    pub name: PairName,
    /// The protected VM.
    pub source: VmRef,
    /// The host it is restored on.
    pub target_host: HostName,
    /// Its name there.
    pub target_name: VmName,
    /// Networks to exchange. A network without an entry keeps its name.
    #[serde(default)]
    pub networks: NetworkMap,
    /// Folders to use. A disk without an entry goes to the host's image folder.
    #[serde(default)]
    pub storage: StorageMap,
    /// Keep the MAC addresses (`true`, the default: the VM is the same machine) or make new ones.
    pub keep_macs: bool,
}

impl ReplicationPair {
    /// The counterpart as a VM.
    #[must_use]
    pub fn target(&self) -> VmRef {
        VmRef { host: self.target_host.clone(), name: self.target_name.clone() }
    }

    /// The counterpart as what a replication makes: with the pair's mapping, not started, in the place
    /// of the copy of the time before and of nothing else.
    #[must_use]
    pub fn counterpart(&self) -> RestoreTarget {
        RestoreTarget {
            vm: self.target(),
            networks: self.networks.clone(),
            storage: self.storage.clone(),
            keep_macs: self.keep_macs,
            start: false,
            replace: Some(ReplacePolicy::RefreshCopy),
            pair: Some(self.name.clone()),
        }
    }
}
