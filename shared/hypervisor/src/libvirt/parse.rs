//! What `virsh` and the host's tools print, and the one table of what their complaints mean.

use std::collections::BTreeMap;

use drs_model::{Host, PowerState, VmRef};
use drs_transport::Output;

use super::xml::Element;
use crate::DriverError;

/// Exit code of our scripts: something of that name is there already.
pub(super) const EXIT_EXISTS: i32 = 17;
/// Exit code of our scripts: the VM does not run, or runs though it should not.
pub(super) const EXIT_POWER: i32 = 20;
/// Exit code of our scripts: the VM is busy.
pub(super) const EXIT_BUSY: i32 = 21;

#[derive(Clone, Copy)]
enum Complaint {
    NoVm,
    Exists,
    Forbidden,
    Full,
    Busy,
    Missing,
}

/// Parts of error texts (LC_ALL=C) and their meaning; the first that occurs counts.
const COMPLAINTS: [(&str, Complaint); 18] = [
    ("cannot acquire state change lock", Complaint::Busy),
    ("another job is active", Complaint::Busy),
    ("there is already", Complaint::Busy),
    ("is already in use", Complaint::Busy),
    ("Failed to get \"write\" lock", Complaint::Busy),
    ("Failed to get shared", Complaint::Busy),
    ("no space left", Complaint::Full),
    ("disk quota exceeded", Complaint::Full),
    ("already exists with uuid", Complaint::Exists),
    ("already defined with uuid", Complaint::Exists),
    ("file exists", Complaint::Exists),
    ("failed to get domain", Complaint::NoVm),
    ("domain not found", Complaint::NoVm),
    ("permission denied", Complaint::Forbidden),
    ("authentication unavailable", Complaint::Forbidden),
    ("access denied", Complaint::Forbidden),
    ("operation not permitted", Complaint::Forbidden),
    ("command not found", Complaint::Missing),
];

/// The error of a command that ended with another exit code than 0.
pub(super) fn failure(host: &Host, vm: Option<&VmRef>, what: &str, output: &Output) -> DriverError {
    let reason = reason(&output.stderr);
    let (host, what) = (host.name.to_string(), what.to_owned());
    let busy = |reason: String| match vm {
        Some(vm) => DriverError::Busy { vm: vm.clone(), reason },
        None => DriverError::Failed { host: host.clone(), what: what.clone(), reason },
    };
    match output.code {
        EXIT_EXISTS => return DriverError::AlreadyExists { what: reason, host },
        EXIT_BUSY | EXIT_POWER => return busy(reason),
        124 | 137 => return busy("libvirt did not answer in time".into()),
        126 | 127 => return DriverError::Unsupported(missing(&host, &what, &reason)),
        _ => {}
    }
    let folded = reason.to_lowercase();
    let meaning = COMPLAINTS.iter().find(|(part, _)| folded.contains(&part.to_lowercase()));
    match (meaning.map(|(_, complaint)| *complaint), vm) {
        (Some(Complaint::Busy), _) => busy(reason),
        (Some(Complaint::Full), _) => DriverError::HostFull { host, what: reason },
        (Some(Complaint::Exists), _) => DriverError::AlreadyExists { what: reason, host },
        (Some(Complaint::NoVm), Some(vm)) => {
            DriverError::VmNotFound { vm: vm.clone(), similar: None }
        }
        (Some(Complaint::Forbidden), _) => DriverError::PermissionDenied { host, what, reason },
        (Some(Complaint::Missing), _) => DriverError::Unsupported(missing(&host, &what, &reason)),
        (Some(Complaint::NoVm) | None, _) => DriverError::Failed { host, what, reason },
    }
}

fn missing(host: &str, what: &str, reason: &str) -> String {
    format!("host {host} lacks a tool for {what}: {reason}")
}

/// The complaint in one line, without the words that every `virsh` error begins with.
pub(super) fn reason(stderr: &str) -> String {
    let lines = stderr.lines().map(|line| line.trim().trim_start_matches("error:").trim());
    let text = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    match text.is_empty() {
        true => "it gave no reason".into(),
        false => text.chars().take(500).collect(),
    }
}

/// A line of the inventory: state, UUID, name.
pub(super) struct Listed {
    pub(super) power: PowerState,
    pub(super) uuid: String,
    pub(super) name: String,
}

/// Reads the output of `inventory.sh`.
pub(super) fn inventory(text: &str) -> Vec<Listed> {
    let line = |line: &str| {
        let (state, rest) = line.split_once(' ')?;
        let (uuid, name) = rest.trim_start().split_once(' ')?;
        let power = match state {
            "running" => PowerState::Running,
            "paused" => PowerState::Paused,
            "shutoff" => PowerState::Off,
            _ => PowerState::Broken,
        };
        Some(Listed { power, uuid: uuid.to_owned(), name: name.trim().to_owned() })
    };
    text.lines().filter_map(line).collect()
}

/// Sizes that the guest sees, by disk name, from `virsh domblkinfo --all`.
pub(super) fn disk_sizes(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// The value behind `key:` in a table such as `virsh dominfo`.
pub(super) fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// What a host can run, from `virsh capabilities`.
#[derive(Debug, Default)]
pub(super) struct HostCapabilities {
    /// Machine types by architecture; an alias with the name it stands for.
    machines: BTreeMap<String, Vec<String>>,
    kvm: bool,
}

impl HostCapabilities {
    pub(super) fn parse(document: &str) -> Result<Self, String> {
        let root = Element::parse(document)?;
        let mut capabilities = Self::default();
        for arch in root.all("guest").filter_map(|guest| guest.at("arch")) {
            let machines =
                arch.all("machine").chain(arch.all("domain").flat_map(|d| d.all("machine")));
            let names = machines.map(|machine| machine.text().to_owned());
            let name = arch.attribute("name").unwrap_or_default().to_owned();
            capabilities.machines.entry(name).or_default().extend(names);
            capabilities.kvm |= arch.all("domain").any(|it| it.attribute("type") == Some("kvm"));
        }
        Ok(capabilities)
    }

    /// Whether it runs guests with hardware support.
    pub(super) fn kvm(&self) -> bool {
        self.kvm
    }

    /// Whether guests of that architecture run here at all.
    pub(super) fn runs(&self, arch: &str) -> bool {
        self.machines.contains_key(arch)
    }

    /// That machine type, else the newest of its family (`pc-q35`, `pc-i440fx`).
    pub(super) fn machine(&self, arch: &str, wanted: &str) -> Option<&str> {
        let known = self.machines.get(arch)?;
        if let Some(same) = known.iter().find(|name| *name == wanted) {
            return Some(same);
        }
        let (family, _) = wanted.rsplit_once('-')?;
        let version = |name: &str| -> Option<Vec<u32>> {
            let (of, version) = name.rsplit_once('-')?;
            (of == family).then(|| version.split('.').filter_map(|n| n.parse().ok()).collect())
        };
        let relatives = known.iter().filter_map(|name| Some((version(name)?, name)));
        relatives.max().map(|(_, name)| name.as_str())
    }
}

/// A folder that may be used for disks: absolute, without `..`, without what a tool could mistake.
pub(super) fn folder(text: &str) -> Result<String, DriverError> {
    let plain = text.starts_with('/')
        && text.len() <= 512
        && !text.split('/').any(|part| part == "..")
        && !text.chars().any(|c| c.is_control() || "'\"\\,".contains(c));
    match plain {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err(DriverError::Invalid(format!(
            "{text:?} is no folder for disks: it must be an absolute path without \"..\", quotes and commas"
        ))),
    }
}
