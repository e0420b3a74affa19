//! What the complaints of Proxmox's tools mean. Their exit codes are the errno of the moment, so the
//! text decides.

use drs_model::{Host, VmRef};
use drs_transport::Output;

use crate::DriverError;

#[cfg(test)]
mod tests;

/// Exit code of our scripts: the guest or the node is busy.
const EXIT_BUSY: i32 = 21;

#[derive(Clone, Copy)]
enum Complaint {
    NoVm,
    Exists,
    Forbidden,
    Protected,
    Full,
    Busy,
    Locked,
    Missing,
    /// The guest did not do what it was asked.
    Deaf,
    /// The request names what is not there; trying again will not help.
    Wrong,
}

/// Parts of texts (LC_ALL=C, lower case) and their meaning; the first that occurs counts.
const COMPLAINTS: &[(&str, Complaint)] = &[
    ("is locked (", Complaint::Locked),
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
    ("protection mode enabled", Complaint::Protected),
    ("quit/powerdown failed - got timeout", Complaint::Deaf),
    ("command not found", Complaint::Missing),
    (": not found", Complaint::Missing),
    ("400 parameter verification failed", Complaint::Wrong),
    ("could not activate storage", Complaint::Wrong),
    ("does not support container directories", Complaint::Wrong),
    ("bridge '", Complaint::Wrong),
    ("if it's a template", Complaint::Wrong),
    ("to be replaced any more", Complaint::Wrong),
];

/// The error of a command that ended with another exit code than 0.
pub(super) fn failure(host: &Host, vm: Option<&VmRef>, what: &str, output: &Output) -> DriverError {
    let printed = output.text();
    let reason = match output.stderr.lines().any(tells) {
        true => error_line(&printed).unwrap_or_else(|| reason(&output.stderr)),
        false => reason(&printed),
    };
    match (meaning(host, vm, what, reason), vm, output.code) {
        // A text that means nothing by itself, from a script of ours.
        (DriverError::Failed { reason, .. }, Some(vm), EXIT_BUSY) => {
            DriverError::Busy { vm: vm.clone(), reason }
        }
        (error, ..) => error,
    }
}

/// The error that a captured log ends with (standard output and standard error together).
pub(super) fn classify(host: &Host, vm: Option<&VmRef>, what: &str, log: &str) -> DriverError {
    let reason = reason(log);
    // A compressor that finds its disk full says so itself; vzdump learns of its end only.
    let full = |line: &&str| line.to_lowercase().contains("no space left on device");
    match log.lines().rev().find(full).filter(|_| reason.ends_with("Broken pipe")) {
        Some(line) => meaning(host, vm, what, line.trim().to_owned()),
        None => meaning(host, vm, what, reason),
    }
}

fn meaning(host: &Host, vm: Option<&VmRef>, what: &str, reason: String) -> DriverError {
    let (host, what) = (host.name.to_string(), what.to_owned());
    let folded = reason.to_lowercase();
    let complaint = COMPLAINTS.iter().find(|(part, _)| folded.contains(part)).map(|(_, it)| *it);
    let unknown_storage = folded.contains("storage '") && folded.contains("does not exist");
    match (complaint, vm) {
        (Some(Complaint::Busy), Some(vm)) => DriverError::Busy { vm: vm.clone(), reason },
        (Some(Complaint::Locked), Some(vm)) => DriverError::Locked { vm: vm.clone(), reason },
        (Some(Complaint::Full), _) => DriverError::HostFull { host, what: reason },
        (Some(Complaint::Exists), _) => DriverError::AlreadyExists { what: reason, host },
        (Some(Complaint::NoVm), Some(vm)) => {
            DriverError::VmNotFound { vm: vm.clone(), similar: None }
        }
        (Some(Complaint::Protected), Some(vm)) => DriverError::Protected { vm: vm.clone(), reason },
        (Some(Complaint::Forbidden | Complaint::Protected), _) => {
            DriverError::PermissionDenied { host, what, reason }
        }
        (Some(Complaint::Deaf), _) => {
            let reason = format!("the guest did not shut down in time ({reason})");
            DriverError::Failed { host, what, reason }
        }
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

fn tells(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !EMPTY_WORDS.iter().any(|it| line.starts_with(it))
}

/// The complaint in one line: the last `ERROR:` of a log, else the lines of text that it ends with.
pub(super) fn reason(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| tells(line)).collect();
    let end = || lines.iter().rev().take(5).rev().copied().collect::<Vec<_>>().join("; ");
    let text = error_line(text).unwrap_or_else(|| match lines.as_slice() {
        [] => "it gave no reason".to_owned(),
        [.., last] if last.starts_with("INFO:") => "it was ended before it was done".to_owned(),
        _ => end(),
    });
    text.chars().take(500).collect()
}

fn error_line(text: &str) -> Option<String> {
    let told = |line: &str| {
        let line = line.strip_prefix("TASK ").unwrap_or(line);
        line.strip_prefix("ERROR:").map(|why| why.trim().to_owned())
    };
    text.lines().rev().find_map(told)
}
