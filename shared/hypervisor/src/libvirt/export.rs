//! Exports: a VM's disks as they were at one instant, opened for reading.

use std::collections::BTreeMap;

use bytes::Bytes;
use drs_model::{Consistency, Disk, Fault, FaultCode, Grip, PowerState, Timestamp, VmRef, VmSpec};
use drs_transport::Argv;
use serde::{Deserialize, Serialize};

use super::inventory::Examined;
use super::parse::{self, Listed};
use super::pass::still;
use super::xml::Element;
use super::{LibvirtDriver, script, spec, virsh};
use crate::turn::order;
use crate::{DriverError, Export, ExportEnd};

const EXPORT: &str = concat!(include_str!("../turn.sh"), include_str!("export.sh"));
const PLACE: &str = include_str!("place.sh");

/// Longest path of a Unix socket.
const SOCKET_PATH_MAX: usize = 107;

/// What is kept of an open export beside its description.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "vm", rename_all = "snake_case")]
pub(super) enum Handle {
    /// QEMU serves every disk under its name on this socket.
    Running { uuid: String, socket: String, scratch: Vec<String> },
    /// A `qemu-nbd` per disk is to be started with its socket in this folder. `stamps` hold what
    /// the disks looked like, by name.
    Off { uuid: String, run: String, stamps: BTreeMap<String, String> },
}

/// A call of `export.sh`.
pub(super) fn script_call(command: &str) -> Argv {
    script(EXPORT, "drs-export").arg(command)
}

impl LibvirtDriver {
    pub(super) fn close_command(&self, grip: &Grip, order: &str, end: ExportEnd) -> Argv {
        let end = match end {
            ExportEnd::Complete => "complete",
            ExportEnd::Abandoned => "abandoned",
        };
        script_call("close").args([
            &grip.job.to_string(),
            grip.vm.name.as_str(),
            order,
            self.image_dir(),
            end,
        ])
    }

    pub(super) async fn open(&self, grip: &Grip) -> Result<Export, DriverError> {
        let vm = self.find(&grip.vm).await?;
        let examined = self.examine(&grip.vm, &vm).await?;
        let place = script(PLACE, "drs-place").arg(&vm.uuid);
        let place = self.ask(Some(&grip.vm), "looking at the VM", &place).await?;
        match vm.power {
            PowerState::Running | PowerState::Paused => {
                self.open_running(grip, &vm, examined, &place).await
            }
            PowerState::Off => self.open_off(grip, &vm, examined, &place).await,
            PowerState::Broken => Err(DriverError::Busy {
                vm: grip.vm.clone(),
                reason: "it is neither running nor off".into(),
            }),
        }
    }

    async fn open_running(
        &self,
        grip: &Grip,
        vm: &Listed,
        examined: Examined,
        place: &str,
    ) -> Result<Export, DriverError> {
        let mut description = examined.description;
        let mut warnings = Vec::new();
        if let Some(live) = &examined.live {
            leave_out_absent(&mut description.spec, live, &mut warnings);
        }
        something_to_cover(&grip.vm, &description.spec, &mut warnings)?;
        let job = grip.job.to_string();
        let run = parse::field(place, "run").unwrap_or_default();
        let socket = socket_path(run, parse::field(place, "private"), &job)?;
        let scratch = scratch_paths(&description.spec, &vm.uuid, &job, self.image_dir());
        let raw =
            description.spec.disks.iter().find(|disk| disk.protected && disk.format != "qcow2");
        let checkpoint = match raw {
            None => checkpoint_xml(&description.spec, &job).to_string(),
            Some(disk) => {
                warnings.push(format!(
                    "disk {} is {}: no mark for later incremental backups",
                    disk.name, disk.format
                ));
                String::new()
            }
        };
        let agent = if description.spec.guest_agent { "yes" } else { "no" };
        let backup = backup_xml(&description.spec, &socket, &scratch).to_string();
        let argv = script_call("open").args([
            &job,
            grip.vm.name.as_str(),
            &order(grip),
            run,
            &vm.uuid,
            agent,
            &backup,
            &checkpoint,
        ]);
        let answer = self.change(grip, "virsh backup-begin", &argv, Bytes::new()).await?;
        let opened = self.opened(&answer)?;
        warnings.extend(opened.warnings);
        let scratch = scratch.into_values().collect();
        let handle = Handle::Running { uuid: vm.uuid.clone(), socket, scratch };
        Ok(Export {
            description,
            consistent_at: opened.at,
            consistency: opened.consistency,
            warnings,
            handle: self.packed(&handle)?,
        })
    }

    async fn open_off(
        &self,
        grip: &Grip,
        vm: &Listed,
        examined: Examined,
        place: &str,
    ) -> Result<Export, DriverError> {
        let description = examined.description;
        let mut warnings = Vec::new();
        something_to_cover(&grip.vm, &description.spec, &mut warnings)?;
        let mut consistency = Consistency::Off;
        if parse::field(place, "Managed save") == Some("yes") {
            consistency = Consistency::Crash;
            warnings.push("its memory is saved on the host and not part of the backup".into());
        }
        let mut stamps = BTreeMap::new();
        for disk in description.spec.disks.iter().filter(|disk| disk.protected) {
            let argv = still(&vm.uuid, &disk.source);
            let stamp = self.ask(Some(&grip.vm), "looking at a disk", &argv).await?;
            if !stamp.starts_with("shut off") && !stamp.starts_with("crashed") {
                return Err(DriverError::Busy {
                    vm: grip.vm.clone(),
                    reason: "it was off and was started meanwhile".into(),
                });
            }
            stamps.insert(disk.name.clone(), stamp);
        }
        let now = self.ask(None, "date", &Argv::new("date").arg("+%s%3N")).await?;
        let consistent_at = self.instant(now.trim())?;
        let run = parse::field(place, "run").unwrap_or_default().to_owned();
        let handle = Handle::Off { uuid: vm.uuid.clone(), run, stamps };
        let handle = self.packed(&handle)?;
        Ok(Export { description, consistent_at, consistency, warnings, handle })
    }

    pub(super) async fn danger(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Option<Fault>, DriverError> {
        let handle = self.unpacked(export)?;
        let (Handle::Running { uuid, .. } | Handle::Off { uuid, .. }) = &handle;
        let argv = script_call("look").args([&grip.job.to_string(), grip.vm.name.as_str(), uuid]);
        let state = self.change(grip, "looking at the VM", &argv, Bytes::new()).await?;
        let state = state.trim();
        let off = state.starts_with("shut off") || state.starts_with("crashed");
        let gone = |text: &str| {
            Some(Fault::transient(
                FaultCode::VmBusy,
                format!("{} {text} while its disks were read", grip.vm),
                "The job starts this attempt again by itself.",
            ))
        };
        match &handle {
            Handle::Off { .. } if off => Ok(None),
            Handle::Off { .. } => Ok(gone("was started")),
            Handle::Running { .. } if off => Ok(gone("was stopped")),
            Handle::Running { scratch, .. } if state.contains("I/O error") => {
                let argv = virsh(["domblkerror", uuid]);
                let disks = self.ask(Some(&grip.vm), "virsh domblkerror", &argv).await?;
                let full = DriverError::HostFull {
                    host: self.host.name.to_string(),
                    what: format!(
                        "the guest {} was paused ({}); what it overwrites during a backup is kept in {}",
                        grip.vm,
                        disks.trim().replace('\n', ", "),
                        scratch.join(", ")
                    ),
                };
                Ok(Some(full.fault()))
            }
            Handle::Running { .. } => Ok(None),
        }
    }

    fn packed(&self, handle: &Handle) -> Result<serde_json::Value, DriverError> {
        serde_json::to_value(handle).map_err(|error| self.failed("packing", error.to_string()))
    }

    pub(super) fn unpacked(&self, export: &Export) -> Result<Handle, DriverError> {
        serde_json::from_value(export.handle.clone())
            .map_err(|error| self.failed("reading the export's record", error.to_string()))
    }

    fn instant(&self, milliseconds: &str) -> Result<Timestamp, DriverError> {
        let parsed = milliseconds.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        parsed.ok_or_else(|| self.failed("date", format!("it answered {milliseconds:?}")))
    }

    fn opened(&self, answer: &str) -> Result<Opened, DriverError> {
        let with = |word: &'static str| {
            answer.lines().filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '))
        };
        Ok(Opened {
            at: self.instant(with("AT").next().unwrap_or_default())?,
            consistency: match with("LEVEL").next() {
                Some("file_system") => Consistency::FileSystem,
                _ => Consistency::Crash,
            },
            warnings: with("WARN").map(str::to_owned).collect(),
        })
    }
}

/// What `export.sh open` told.
struct Opened {
    at: Timestamp,
    consistency: Consistency,
    warnings: Vec<String>,
}

/// The socket of the backup job: in the VM's own folder when its path is short enough.
fn socket_path(run: &str, private: Option<&str>, job: &str) -> Result<String, DriverError> {
    let path = |folder: &str| format!("{folder}/drs-{job}.sock");
    let fits = |path: &String| path.len() <= SOCKET_PATH_MAX;
    private.into_iter().chain([run]).map(path).find(fits).ok_or_else(|| {
        DriverError::Unsupported(format!("the folder {run} is too deep for a Unix socket"))
    })
}

/// Scratch files by disk name: beside the disk, or in the image folder for a block device.
fn scratch_paths(
    spec: &VmSpec,
    uuid: &str,
    job: &str,
    image_dir: &str,
) -> BTreeMap<String, String> {
    let path = |disk: &Disk| {
        let folder = match disk.source.rsplit_once('/') {
            Some((folder, _)) if !disk.source.starts_with("/dev/") => folder,
            _ => image_dir,
        };
        (disk.name.clone(), format!("{folder}/drs-{job}.{uuid}.{}.scratch", disk.name))
    };
    spec.disks.iter().filter(|disk| disk.protected).map(path).collect()
}

fn backup_xml(spec: &VmSpec, socket: &str, scratch: &BTreeMap<String, String>) -> Element {
    let server = Element::new("server").with("transport", "unix").with("socket", socket);
    let disk = |disk: &Disk| {
        let element = Element::new("disk").with("name", &disk.name);
        match scratch.get(&disk.name) {
            None => element.with("backup", "no"),
            Some(file) => element
                .with("backup", "yes")
                .with("type", "file")
                .with("exportname", &disk.name)
                .containing(Element::new("driver").with("type", "qcow2"))
                .containing(Element::new("scratch").with("file", file)),
        }
    };
    let mut disks = Element::new("disks");
    disks.children = spec.disks.iter().filter(|it| is_backup_disk(it)).map(disk).collect();
    Element::new("domainbackup").with("mode", "pull").containing(server).containing(disks)
}

fn checkpoint_xml(spec: &VmSpec, job: &str) -> Element {
    let disk = |disk: &Disk| {
        let mode = if disk.protected { "bitmap" } else { "no" };
        Element::new("disk").with("name", &disk.name).with("checkpoint", mode)
    };
    let mut disks = Element::new("disks");
    disks.children = spec.disks.iter().filter(|it| is_backup_disk(it)).map(disk).collect();
    Element::new("domaincheckpoint")
        .containing(Element::new("name").saying(&format!("drs-{job}")))
        .containing(disks)
}

/// Whether libvirt wants a word about the disk: drives without a medium it leaves out by itself.
fn is_backup_disk(disk: &Disk) -> bool {
    disk.protected || !disk.source.is_empty()
}

/// A disk of the next start's configuration that the running VM does not have cannot be read, and
/// the other way round it would not be in the restored VM.
fn leave_out_absent(spec: &mut VmSpec, live: &Element, warnings: &mut Vec<String>) {
    let running: BTreeMap<&str, Option<String>> = live
        .at("devices")
        .into_iter()
        .flat_map(|devices| devices.all("disk"))
        .map(|disk| (spec::disk_name(disk), spec::disk_source(disk)))
        .collect();
    for disk in spec.disks.iter_mut().filter(|disk| disk.protected) {
        let same = running
            .get(disk.name.as_str())
            .is_some_and(|source| source.as_deref() == Some(disk.source.as_str()));
        if !same {
            disk.protected = false;
            disk.unprotected_reason = "it is attached at the next start only".into();
        }
    }
    for name in running.keys().filter(|name| !spec.disks.iter().any(|disk| disk.name == **name)) {
        warnings.push(format!(
            "disk {name} is attached to the running VM only, not in its configuration: it is not covered"
        ));
    }
}

/// Warns of every disk that is not covered; fails when none is.
fn something_to_cover(
    vm: &VmRef,
    spec: &VmSpec,
    warnings: &mut Vec<String>,
) -> Result<(), DriverError> {
    let drives = ["it is a cdrom", "it is a floppy"];
    for disk in spec.disks.iter().filter(|disk| !disk.protected) {
        if !drives.contains(&disk.unprotected_reason.as_str()) {
            warnings
                .push(format!("disk {} is not covered: {}", disk.name, disk.unprotected_reason));
        }
    }
    match spec.disks.iter().any(|disk| disk.protected) {
        true => Ok(()),
        false => Err(DriverError::Invalid(format!("{vm} has no disk to back up"))),
    }
}
