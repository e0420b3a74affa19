//! What the complaints of Proxmox's tools mean. Their exit codes are the errno of the moment, so the
//! text decides.

use drs_model::{Host, VmRef};
use drs_transport::Output;

use crate::DriverError;

/// Exit code of our scripts: something of that name is there already.
pub(super) const EXIT_EXISTS: i32 = 17;
/// Exit code of our scripts: the VM does not run, or runs though it should not.
pub(super) const EXIT_POWER: i32 = 20;
/// Exit code of our scripts: the VM or the node is busy.
pub(super) const EXIT_BUSY: i32 = 21;

#[derive(Clone, Copy)]
enum Complaint {
    NoVm,
    Exists,
    Forbidden,
    Full,
    Busy,
    Missing,
    /// The request names what is not there; trying again will not help.
    Wrong,
}

/// Parts of texts (LC_ALL=C, lower case) and their meaning; the first that occurs counts.
const COMPLAINTS: &[(&str, Complaint)] = &[
    ("is locked (", Complaint::Busy),
    ("can't acquire lock", Complaint::Busy),
    ("can't lock file", Complaint::Busy),
    ("is running - destroy failed", Complaint::Busy),
    ("vm is running", Complaint::Busy),
    ("can't overwrite running container", Complaint::Busy),
    ("no space left on device", Complaint::Full),
    ("disk quota exceeded", Complaint::Full),
    ("already exists on node", Complaint::Exists),
    ("config file already exists", Complaint::Exists),
    (".conf' does not exist", Complaint::NoVm),
    ("unable to find vm", Complaint::NoVm),
    ("permission check failed", Complaint::Forbidden),
    ("permission denied", Complaint::Forbidden),
    ("please run as root", Complaint::Forbidden),
    ("protection mode enabled", Complaint::Forbidden),
    ("command not found", Complaint::Missing),
    (": not found", Complaint::Missing),
    ("400 parameter verification failed", Complaint::Wrong),
    ("could not activate storage", Complaint::Wrong),
    ("does not support container directories", Complaint::Wrong),
];

/// The error of a command that ended with another exit code than 0.
pub(super) fn failure(host: &Host, vm: Option<&VmRef>, what: &str, output: &Output) -> DriverError {
    let reason = reason(&format!("{}\n{}", output.text(), output.stderr));
    match (output.code, vm) {
        (EXIT_EXISTS, _) => {
            DriverError::AlreadyExists { what: reason, host: host.name.to_string() }
        }
        (EXIT_BUSY | EXIT_POWER, Some(vm)) => DriverError::Busy { vm: vm.clone(), reason },
        _ => meaning(host, vm, what, reason),
    }
}

/// The error that a captured log ends with (standard output and standard error together).
pub(super) fn classify(host: &Host, vm: Option<&VmRef>, what: &str, log: &str) -> DriverError {
    meaning(host, vm, what, reason(log))
}

fn meaning(host: &Host, vm: Option<&VmRef>, what: &str, reason: String) -> DriverError {
    let (host, what) = (host.name.to_string(), what.to_owned());
    let folded = reason.to_lowercase();
    let complaint = COMPLAINTS.iter().find(|(part, _)| folded.contains(part)).map(|(_, it)| *it);
    let unknown_storage = folded.contains("storage '") && folded.contains("does not exist");
    match (complaint, vm) {
        (Some(Complaint::Busy), Some(vm)) => DriverError::Busy { vm: vm.clone(), reason },
        (Some(Complaint::Full), _) => DriverError::HostFull { host, what: reason },
        (Some(Complaint::Exists), _) => DriverError::AlreadyExists { what: reason, host },
        (Some(Complaint::NoVm), Some(vm)) => {
            DriverError::VmNotFound { vm: vm.clone(), similar: None }
        }
        (Some(Complaint::Forbidden), _) => DriverError::PermissionDenied { host, what, reason },
        (Some(Complaint::Missing), _) => {
            DriverError::Unsupported(format!("host {host} lacks a tool for {what}: {reason}"))
        }
        (Some(Complaint::Wrong), _) => {
            DriverError::Invalid(format!("{what} on host {host}: {reason}"))
        }
        _ if unknown_storage => DriverError::Invalid(format!("{what} on host {host}: {reason}")),
        _ => DriverError::Failed { host, what, reason },
    }
}

/// Lines that say that it failed, not why.
const EMPTY_WORDS: [&str; 3] = ["job errors", "got unexpected control message:", "INFO: Failed at"];

/// The complaint in one line: the last `ERROR:` of a log, else the lines of text that it ends with.
pub(super) fn reason(text: &str) -> String {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !EMPTY_WORDS.iter().any(|it| line.starts_with(it)));
    let lines: Vec<&str> = lines.collect();
    let told = lines.iter().rev().find_map(|line| {
        line.strip_prefix("ERROR:").or_else(|| line.strip_prefix("TASK ERROR:")).map(str::trim)
    });
    let text = match (told, lines.as_slice()) {
        (Some(told), _) => told.to_owned(),
        (None, []) => "it gave no reason".to_owned(),
        (None, lines) => lines.iter().rev().take(3).rev().copied().collect::<Vec<_>>().join("; "),
    };
    text.chars().take(500).collect()
}
