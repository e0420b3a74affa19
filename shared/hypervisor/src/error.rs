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
            Self::Spool { path, source } => return Fault::spool(path, source),
            Self::VmNotFound { .. } | Self::Elsewhere { .. } => {
                (FaultClass::Permanent, FaultCode::VmNotFound)
            }
            Self::AlreadyExists { .. } | Self::NotReplaceable { .. } => {
                (FaultClass::Permanent, FaultCode::AlreadyExists)
            }
            Self::Busy { .. } => (FaultClass::Busy, FaultCode::VmBusy),
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
            Self::Spool { path, source } => return Fault::spool(path, source).remedy,
            Self::VmNotFound { vm, similar } => {
                let hint = similar.as_ref().map(|name| format!(" Did you mean {name}?"));
                let hint = hint.unwrap_or_default();
                return format!("List the host's VMs with `drs vm list {}`.{hint}", vm.host);
            }
            Self::Elsewhere { vm, node } => {
                return format!(
                    "Name it on the host that stands for node {node} (`drs host add` if there is none \
                     yet), or move it back: `qm migrate {} NODE`.",
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
            Self::Failed { .. } => "Look at the hypervisor's own log on that host.",
            Self::Stream { .. } => "The job starts this attempt again by itself.",
            Self::Invalid(_) => "Change the request; trying again will not help.",
        };
        constant.to_owned()
    }
}
