//! Why a driver could not do it, classified once.

use std::io;
use std::path::PathBuf;

use drs_model::{Fault, FaultClass, FaultCode, VmRef};
use drs_transport::TransportError;

/// Why a driver could not do it.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The host could not be used.
    #[error("{0}")]
    Transport(#[from] TransportError),
    /// No such VM.
    #[error("there is no VM {vm}")]
    VmNotFound {
        /// Which.
        vm: VmRef,
        /// A name on that host that looks like it, if any.
        similar: Option<String>,
    },
    /// The VM is on another node of the host's cluster.
    #[error("{vm} is on node {node} of the cluster now")]
    Elsewhere {
        /// Which.
        vm: VmRef,
        /// The node that has it.
        node: String,
    },
    /// A VM or disk is there already.
    #[error("{what} exists already on host {host}")]
    AlreadyExists {
        /// What, for example `VM web1` or a path.
        what: String,
        /// Where.
        host: String,
    },
    /// A VM that is there may not be replaced as the request says.
    #[error("{vm} is not replaced: {reason}")]
    NotReplaceable {
        /// Which VM.
        vm: VmRef,
        /// Why.
        reason: String,
    },
    /// A VM that would be destroyed is protected against that.
    #[error("{vm} is protected against removal: {reason}")]
    Protected {
        /// Which VM, or which one was to take its place.
        vm: VmRef,
        /// How that is known.
        reason: String,
    },
    /// The hypervisor is busy with the VM.
    #[error("{vm} is busy: {reason}")]
    Busy {
        /// Which VM.
        vm: VmRef,
        /// With what.
        reason: String,
    },
    /// The hypervisor has locked the VM for a work that may have died without unlocking it.
    #[error("{vm} is busy: {reason}")]
    Locked {
        /// Which VM.
        vm: VmRef,
        /// For what.
        reason: String,
    },
    /// Not allowed to.
    #[error("host {host} does not allow {what}: {reason}")]
    PermissionDenied {
        /// Where.
        host: String,
        /// To do what.
        what: String,
        /// What the host said.
        reason: String,
    },
    /// A tool or feature is missing.
    #[error("{0}")]
    Unsupported(String),
    /// No space left on the host.
    #[error("no space left on host {host}: {what}")]
    HostFull {
        /// Where.
        host: String,
        /// Which file or folder.
        what: String,
    },
    /// The hypervisor refused or failed.
    #[error("{what} failed on host {host}: {reason}")]
    Failed {
        /// Where.
        host: String,
        /// What was tried.
        what: String,
        /// What it said.
        reason: String,
    },
    /// The connection to a content broke.
    #[error("the connection to {disk} broke: {reason}")]
    Stream {
        /// To what, for example `disk vda`.
        disk: String,
        /// Why.
        reason: String,
    },
    /// A file of this machine cannot be written.
    #[error("{} on this machine: {source}", path.display())]
    Spool {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The request cannot be done whoever tries.
    #[error("{0}")]
    Invalid(String),
    /// What DR Switch has written itself cannot be read any more (a plan, an export's record).
    #[error("{0}")]
    Internal(String),
}

impl From<DriverError> for Fault {
    fn from(error: DriverError) -> Self {
        error.fault()
    }
}

impl DriverError {
    /// The error in the operator's terms.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let (class, code) = match self {
            Self::Transport(error) => return error.fault(),
            Self::Internal(reason) => return Fault::internal(reason),
            Self::Spool { path, source } => return Fault::spool(path, source),
            Self::VmNotFound { .. } | Self::Elsewhere { .. } => {
                (FaultClass::Permanent, FaultCode::VmNotFound)
            }
            Self::AlreadyExists { .. } | Self::NotReplaceable { .. } => {
                (FaultClass::Permanent, FaultCode::AlreadyExists)
            }
            Self::Busy { .. } | Self::Locked { .. } => (FaultClass::Busy, FaultCode::VmBusy),
            Self::PermissionDenied { .. } | Self::Protected { .. } => {
                (FaultClass::Permanent, FaultCode::PermissionDenied)
            }
            Self::Unsupported(_) => (FaultClass::Permanent, FaultCode::Unsupported),
            Self::HostFull { .. } => (FaultClass::Permanent, FaultCode::HostFull),
            Self::Failed { .. } => (FaultClass::Transient, FaultCode::HypervisorFailed),
            Self::Stream { .. } => (FaultClass::Transient, FaultCode::HostUnreachable),
            Self::Invalid(_) => (FaultClass::Permanent, FaultCode::InvalidInput),
        };
        Fault::new(class, code, self.to_string(), self.remedy())
    }

    fn remedy(&self) -> String {
        let constant = match self {
            Self::Transport(error) => return error.fault().remedy,
            Self::Internal(reason) => return Fault::internal(reason).remedy,
            Self::Spool { path, source } => return Fault::spool(path, source).remedy,
            Self::VmNotFound { vm, similar } => {
                let hint = similar.as_ref().map(|name| format!(" Did you mean {name}?"));
                let hint = hint.unwrap_or_default();
                return format!("List the host's VMs with `drs vm list {}`.{hint}", vm.host);
            }
            Self::Elsewhere { vm, node } => {
                return format!(
                    "Name it on the host that stands for node {node} (`drs host add` if there is none \
                     yet), or move it back, on that node: `qm migrate {0} NODE` (a container: \
                     `pct migrate {0} NODE`).",
                    vm.name
                );
            }
            Self::AlreadyExists { .. } => {
                "Nothing is overwritten: restore under another name with `--as NAME`, say with \
                 `--replace POLICY` what becomes of a VM that is there (keep, stop-and-keep, \
                 destroy-after-proof), or remove what is there yourself."
            }
            Self::NotReplaceable { .. } => {
                "Make sure that nobody needs that VM: then shut it down or remove it, say with \
                 `--replace POLICY` what becomes of it, or choose another target name \
                 (`drs pair edit`)."
            }
            Self::Protected { .. } => {
                "If nobody needs that VM, remove its protection (`qm set VMID --protection 0`; a \
                 container: `pct set VMID --protection 0`) and run the job again; or say with \
                 `--replace stop-and-keep` that it is kept."
            }
            Self::Locked { vm, .. } => {
                return format!(
                    "The job waits and tries again; `drs job cancel` ends it. If no vzdump and no other \
                     task of that VM runs on the node any more (`pvesh get /nodes/NODE/tasks --source \
                     active`), unlock it there: `qm unlock {0}` (a container: `pct unlock {0}`).",
                    vm.name
                );
            }
            Self::Busy { .. } => "The job waits and tries again; `drs job cancel` ends it.",
            Self::PermissionDenied { .. } => {
                "Give the login user the right to use the hypervisor (Proxmox VE: root; libvirt: \
                 root, or a member of the group libvirt) and to write the image folder."
            }
            Self::Unsupported(_) => "Run `drs host check` to see what the host lacks.",
            Self::HostFull { .. } => {
                "Free space there or choose another place (`drs host edit --images`, \
                 `drs pair edit --storage`), then run the job again."
            }
            Self::Failed { .. } => {
                "`drs job log ID` tells what was done before. On that host look at the hypervisor's own \
                 log: Proxmox VE: the task's log (web console, or /var/log/pve/tasks); libvirt: \
                 /var/log/libvirt/qemu/NAME.log."
            }
            Self::Stream { .. } => "The job starts this attempt again by itself.",
            Self::Invalid(_) => "Change the request; trying again will not help.",
        };
        constant.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedy(error: &DriverError) -> String {
        error.fault().remedy
    }

    #[test]
    fn a_remedy_names_the_commands_and_the_logs() {
        let vm: VmRef = "dc1/200".parse().expect("a VM");
        let elsewhere = remedy(&DriverError::Elsewhere { vm, node: "pve2".into() });
        for command in ["drs host add", "qm migrate 200 NODE", "pct migrate 200 NODE"] {
            assert!(elsewhere.contains(command), "{elsewhere}");
        }
        let (host, what, reason) = ("dc1".into(), "vzdump".into(), "why".into());
        let failed = remedy(&DriverError::Failed { host, what, reason });
        for log in ["drs job log ID", "/var/log/pve/tasks", "/var/log/libvirt/qemu/NAME.log"] {
            assert!(failed.contains(log), "{failed}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_is_a_defect() {
        let fault = DriverError::Internal("the plan is of no use".into()).fault();
        assert_eq!((fault.class, fault.code), (FaultClass::Permanent, FaultCode::Internal));
        assert!(fault.remedy.contains("defect"), "{fault:?}");
    }
}
