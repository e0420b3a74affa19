//! Why a transfer did not succeed, classified once.

use std::fmt;
use std::io;

use drs_model::{Fault, FaultCode, HostName};

use super::Route;
use super::child::Ended;
use crate::relay;
use crate::{Output, TransportError};

/// A side of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// The machine that runs `drs`.
    Here,
    /// A host.
    Host(HostName),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("this machine"),
            Self::Host(host) => write!(f, "host {host}"),
        }
    }
}

/// Why a file could not be transferred.
#[derive(Debug, thiserror::Error)]
pub enum RsyncError {
    /// The host cannot be used.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The connection broke, or a side fell silent, on the way.
    #[error("the transfer with host {host} broke off: {reason}")]
    Broken {
        /// The host.
        host: HostName,
        /// What rsync said.
        reason: String,
    },
    /// rsync is not installed here.
    #[error("rsync is not installed on this machine: none of {} is there", files(path))]
    NoRsyncHere {
        /// The directories that were searched, with colons between them.
        path: String,
    },
    /// The rsync that is installed here is too old.
    #[error("rsync on this machine is too old: {found}")]
    OldRsyncHere {
        /// How it names itself.
        found: String,
    },
    /// rsync is not installed on the host.
    #[error("rsync is not installed on host {host}")]
    NoRsyncOnHost {
        /// The host.
        host: HostName,
    },
    /// The path on a host is not that of a file.
    #[error("{path:?} is not the absolute path of a file")]
    Path {
        /// The path.
        path: String,
    },
    /// A file, or the directory that it should come into, is not there.
    #[error("{path} is not there on {side}")]
    Missing {
        /// Where.
        side: Side,
        /// Its path.
        path: String,
    },
    /// It is a directory, a link or something else.
    #[error("{path} on {side} is no regular file")]
    NoFile {
        /// Where.
        side: Side,
        /// Its path.
        path: String,
    },
    /// No space left where the file comes to.
    #[error("no space left for {path} on {side}")]
    Full {
        /// Where.
        side: Side,
        /// Its path.
        path: String,
    },
    /// A file may not be read or written.
    #[error("not allowed on {side}: {reason}")]
    Denied {
        /// Where.
        side: Side,
        /// What rsync said.
        reason: String,
    },
    /// rsync ended well and the file is not of the size that it had at the beginning.
    #[error("{path} on {side} has {found} bytes after the transfer, not {expected}")]
    Incomplete {
        /// Where.
        side: Side,
        /// Its path.
        path: String,
        /// Bytes of the file before the transfer.
        expected: u64,
        /// Bytes found after it.
        found: u64,
    },
    /// Something of this machine cannot be used: a path, the socket, the process.
    #[error("rsync on this machine: {0}")]
    Local(io::Error),
    /// rsync failed in another way.
    #[error("rsync with host {host} failed with code {code}: {reason}")]
    Failed {
        /// The host.
        host: HostName,
        /// Its exit code.
        code: i32,
        /// What it said.
        reason: String,
    },
}

impl From<RsyncError> for Fault {
    fn from(error: RsyncError) -> Self {
        error.fault()
    }
}

impl RsyncError {
    /// The error in the operator's terms.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let text = self.to_string();
        let permanent = |code, remedy: &str| Fault::permanent(code, text.clone(), remedy);
        let transient = |code, remedy: &str| Fault::transient(code, text.clone(), remedy);
        match self {
            Self::Transport(error) => error.fault(),
            Self::Broken { .. } => transient(
                FaultCode::HostUnreachable,
                "Look at the network if it stays; the next attempt goes on where this one stopped.",
            ),
            Self::NoRsyncHere { .. } | Self::OldRsyncHere { .. } => permanent(
                FaultCode::Unsupported,
                "Install rsync 3.2.3 or newer on the machine that runs drs (`apt install rsync`), \
                 or leave out `--staged`.",
            ),
            Self::NoRsyncOnHost { .. } => permanent(
                FaultCode::Unsupported,
                "Install the package `rsync` on the host (`apt install rsync`).",
            ),
            Self::Path { .. } | Self::NoFile { .. } => permanent(
                FaultCode::InvalidInput,
                "Name the file itself by its absolute path; links are not followed.",
            ),
            // Jobs move what they have made themselves, in folders that they have made.
            Self::Missing { side: Side::Host(_), .. } => transient(
                FaultCode::Vanished,
                "Check whether the storage is mounted and who removes files there; the job makes it anew.",
            ),
            Self::Missing { side: Side::Here, .. } => transient(
                FaultCode::SpoolFailed,
                "Check whether the disk of the data directory is mounted and who removes files there.",
            ),
            Self::Full { side: Side::Host(_), .. } => permanent(
                FaultCode::HostFull,
                "Free space there or name another storage; the next attempt goes on where this one stopped.",
            ),
            Self::Full { side: Side::Here, .. } => permanent(
                FaultCode::DiskFull,
                "Free space there; the next attempt goes on where this one stopped.",
            ),
            Self::Denied { .. } => permanent(
                FaultCode::PermissionDenied,
                "Check owner and mode of the file and its directory for the login that drs uses.",
            ),
            Self::Incomplete { .. } => transient(
                FaultCode::HypervisorFailed,
                "Something else writes the file; find out what if it stays.",
            ),
            Self::Local(_) => transient(
                FaultCode::Internal,
                "Check the directory for temporary files and the paths on the machine that runs drs.",
            ),
            Self::Failed { code: 1 | 2 | 4 | 6, .. } => permanent(
                FaultCode::Unsupported,
                "Use rsync 3.2.3 or newer on the machine that runs drs, and see to it that nothing on the host \
                 writes to standard output at login (look at /root/.bashrc).",
            ),
            Self::Failed { .. } => transient(
                FaultCode::HypervisorFailed,
                "Read what rsync said; exit codes are explained in `man rsync`.",
            ),
        }
    }
}

/// A source that went away after rsync had listed it.
const VANISHED: &str = "file has vanished";
/// What is not there.
const GONE: [&str; 2] = ["No such file or directory", VANISHED];

/// The error that rsync's end stands for.
pub(super) fn classify(
    route: &Route<'_>,
    rsync: Ended,
    relayed: Option<relay::Ended>,
) -> RsyncError {
    let host = route.remote.host().clone();
    match relayed {
        Some(relay::Ended::Unreachable(error)) => return RsyncError::Transport(error),
        // What a shell answers when there is no such command.
        Some(relay::Ended::Code(127)) => return RsyncError::NoRsyncOnHost { host },
        Some(relay::Ended::Code(_)) | None => {}
    }
    let reason = brief(&rsync.said);
    // Only where a file is written can a disk be full.
    if says(&rsync.said, &["No space left on device", "Disk quota exceeded"]).is_some() {
        let (side, path) = (route.side(&route.target), route.target.path());
        return RsyncError::Full { side, path };
    }
    let denied = ["Permission denied", "Read-only file system", "Operation not permitted"];
    if let Some(line) = says(&rsync.said, &denied) {
        let end = if of_source(line) { &route.source } else { &route.target };
        return RsyncError::Denied { side: route.side(end), reason };
    }
    match rsync.code {
        Some(3 | 11 | 23 | 24) if let Some(line) = says(&rsync.said, &GONE) => {
            if of_source(line) {
                route.missing(&route.source)
            } else {
                route.no_directory()
            }
        }
        // The stream ended, errors of sockets, pipes and children, silence, the remote shell's end.
        None | Some(10 | 12 | 14 | 20..=22 | 30 | 35 | 255) => RsyncError::Broken { host, reason },
        Some(code) => RsyncError::Failed { host, code, reason },
    }
}

/// A path on the host that cannot be looked at.
pub(super) fn refused_by_host(route: &Route<'_>, answer: &Output) -> RsyncError {
    let host = route.remote.host().clone();
    let reason = brief(&answer.stderr);
    if answer.stderr.contains("Permission denied") {
        return RsyncError::Denied { side: Side::Host(host), reason };
    }
    RsyncError::Failed { host, code: answer.code, reason }
}

/// Where rsync would be.
fn files(path: &str) -> String {
    let files: Vec<_> = path.split(':').map(|directory| format!("{directory}/rsync")).collect();
    files.join(", ")
}

/// The first line that says one of these.
fn says<'a>(text: &'a str, any: &[&str]) -> Option<&'a str> {
    text.lines().find(|line| any.iter().any(|part| line.contains(part)))
}

/// Whether the side that reads the file says this.
fn of_source(line: &str) -> bool {
    ["[sender]", "[Sender]", VANISHED].iter().any(|mark| line.contains(mark))
}

/// Its words in one line of at most 500 characters.
fn brief(said: &str) -> String {
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ").chars().take(500).collect()
}
