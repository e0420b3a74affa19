//! Decides what an import makes. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use drs_model::{DiskContent, HypervisorKind, JobId, PowerState, RestoreTarget, VmForm, VmRef};
use drs_transport::Argv;

use super::domain::{self, Facts, Wanted};
use super::import::{self, is_kept};
use super::parse::{self, HostCapabilities, Listed};
use super::xml::Element;
use super::{LibvirtDriver, foreign, virsh};
use crate::replacement::{self, Replacement, Standing};
use crate::{DriverError, ImportPlan, ImportRequest, PlannedDisk};

impl LibvirtDriver {
    pub(super) async fn plan(
        &self,
        job: JobId,
        request: &ImportRequest<'_>,
    ) -> Result<ImportPlan, DriverError> {
        if request.point.spec.form == VmForm::Container {
            return Err(DriverError::Unsupported(
                "a container can be restored on Proxmox VE only".into(),
            ));
        }
        let listed = self.list().await?;
        let replacement = self.replacement(job, request.target, &listed).await?;
        let disks = self.disks(job, request)?;
        let native = request.point.hypervisor == HypervisorKind::Libvirt;
        let source = match native {
            true => Element::parse(&request.point.native_config).map_err(|reason| {
                DriverError::Invalid(format!("the point's VM description is damaged: {reason}"))
            })?,
            false => foreign::domain(request.point),
        };
        let files = domain::files(&source);
        let exists = self.probe(&disks, &files, &request.point.disks).await?;
        let facts = Facts {
            files: exists,
            networks: self.networks().await?,
            bridges: self.bridges().await?,
            capabilities: self.host_capabilities().await?,
            uuids: listed.into_iter().map(|vm| vm.uuid).collect(),
            host: self.host.name.to_string(),
        };
        let Replacement { name, made_as, replaces, mut remarks } = replacement;
        let wanted = Wanted { job, name: &made_as, disks: &disks, target: request.target };
        let (native_config, adapted) = domain::adapt(source, &wanted, &facts)?;
        remarks.extend(adapted);
        if !native {
            remarks.extend(foreign::remarks(request.point));
        }
        Ok(ImportPlan {
            name,
            made_as,
            replaces,
            form: VmForm::Machine,
            disks,
            native_config,
            remarks,
            handle: serde_json::Value::Null,
        })
    }

    /// What is to happen with the VM that has the wanted name.
    async fn replacement(
        &self,
        job: JobId,
        target: &RestoreTarget,
        listed: &[Listed],
    ) -> Result<Replacement, DriverError> {
        let there = listed.iter().find(|vm| vm.name == target.vm.name.as_str());
        let standing = match there {
            None => None,
            Some(vm) => Some(Standing {
                native_id: vm.uuid.clone(),
                running: vm.power != PowerState::Off,
                imported: self.imported(&vm.uuid).await?,
            }),
        };
        let replacement = replacement::decide(job, &target.vm, target.replace, standing)?;
        if let Some(old) = replacement.replaces.as_ref().filter(|old| old.policy.takes_place()) {
            self.demand_renamable(&target.vm, &old.native_id).await?;
        }
        let aside = replacement.replaces.as_ref().map(|old| &old.aside);
        for name in [&replacement.made_as].into_iter().chain(aside) {
            let other = listed.iter().any(|vm| vm.name == name.as_str());
            if other && *name != target.vm.name {
                return Err(self.taken(format!("VM {name}")));
            }
        }
        Ok(replacement)
    }

    /// libvirt renames no VM whose memory is saved.
    async fn demand_renamable(&self, vm: &VmRef, uuid: &str) -> Result<(), DriverError> {
        let info = self.ask(Some(vm), "virsh dominfo", &virsh(["dominfo", uuid])).await?;
        match parse::field(&info, "Managed save") {
            Some("yes") => Err(DriverError::NotReplaceable {
                vm: vm.clone(),
                reason: "its memory is saved on the host (`virsh managedsave`), and libvirt renames no such VM".into(),
            }),
            _ => Ok(()),
        }
    }

    fn taken(&self, what: String) -> DriverError {
        DriverError::AlreadyExists { what, host: self.host.name.to_string() }
    }

    fn disks(
        &self,
        job: JobId,
        request: &ImportRequest<'_>,
    ) -> Result<Vec<PlannedDisk>, DriverError> {
        let storage = &request.target.storage;
        let stem = file_stem(job, request.target);
        let disk = |content: &DiskContent| {
            let name = disk_name(&content.name)?;
            let chosen = storage.get(name).map_or(self.image_dir(), String::as_str);
            let folder = parse::folder(chosen)?;
            let firmware = foreign::is_firmware(request.point, name);
            let file = |path: String| if firmware { String::new() } else { path };
            Ok(PlannedDisk {
                name: name.to_owned(),
                size_bytes: content.size_bytes,
                staging: file(format!("{folder}/.drs-{job}-{name}.qcow2")),
                path: file(format!("{folder}/{stem}-{name}.qcow2")),
                format: "qcow2".into(),
            })
        };
        let disks: Vec<PlannedDisk> =
            request.point.disks.iter().map(disk).collect::<Result<_, DriverError>>()?;
        let names: BTreeSet<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
        match names.len() == disks.len() {
            true => Ok(disks),
            false => Err(DriverError::Invalid("two disks of the point have one name".into())),
        }
    }

    /// Looks whether the disks have room and their names are free; tells which of `files` exist.
    async fn probe(
        &self,
        disks: &[PlannedDisk],
        files: &BTreeSet<String>,
        contents: &[DiskContent],
    ) -> Result<BTreeSet<String>, DriverError> {
        let mut needed: BTreeMap<&str, u64> = BTreeMap::new();
        for (disk, content) in disks.iter().zip(contents).filter(|(disk, _)| is_kept(disk)) {
            let folder = disk.path.rsplit_once('/').map_or("/", |(folder, _)| folder);
            *needed.entry(folder).or_default() += content.data_bytes;
        }
        let own: Vec<&str> = disks
            .iter()
            .filter(is_kept)
            .flat_map(|disk| [disk.path.as_str(), disk.staging.as_str()])
            .collect();
        let argv = import::import("probe")
            .args(needed.keys().copied())
            .arg("--")
            .args(own.iter().copied())
            .args(files.iter().map(String::as_str));
        let answer = self.ask(None, "looking at the image folder", &argv).await?;
        let mut lines = answer.lines();
        for (folder, needed) in needed {
            self.room(folder, needed, lines.next().unwrap_or_default())?;
        }
        let mut exists = |path: &&str| (lines.next() == Some("yes")).then(|| (*path).to_owned());
        if let Some(path) = own.iter().find_map(&mut exists) {
            return Err(self.taken(path));
        }
        Ok(files.iter().map(String::as_str).filter_map(|path| exists(&path)).collect())
    }

    fn room(&self, folder: &str, needed: u64, answer: &str) -> Result<(), DriverError> {
        let host = self.host.name.to_string();
        match (answer, answer.parse::<u64>()) {
            (_, Ok(free)) if free >= needed => Ok(()),
            (_, Ok(free)) => Err(DriverError::HostFull {
                host,
                what: format!("{folder} has {free} bytes free, the data takes {needed}"),
            }),
            ("read-only", _) => Err(DriverError::PermissionDenied {
                host,
                what: format!("writing to {folder}"),
                reason: "the folder cannot be written by this login".into(),
            }),
            ("missing", _) => Err(DriverError::Invalid(format!(
                "there is no folder {folder} on host {host}; make it or choose another one"
            ))),
            _ => Err(self.failed("looking at the image folder", format!("it answered {answer:?}"))),
        }
    }

    async fn networks(&self) -> Result<BTreeSet<String>, DriverError> {
        let argv = virsh(["net-list", "--all", "--name"]);
        let names = self.ask(None, "virsh net-list", &argv).await?;
        Ok(names.lines().map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect())
    }

    /// Every network device of the host: bridges, and what a VM can be attached to directly.
    async fn bridges(&self) -> Result<BTreeSet<String>, DriverError> {
        let argv = Argv::new("cat").arg("/proc/net/dev");
        let table = self.ask(None, "reading /proc/net/dev", &argv).await?;
        let name = |line: &str| Some(line.split_once(':')?.0.trim().to_owned());
        Ok(table.lines().filter_map(name).collect())
    }

    async fn host_capabilities(&self) -> Result<HostCapabilities, DriverError> {
        let text = self.ask(None, "virsh capabilities", &virsh(["capabilities"])).await?;
        HostCapabilities::parse(&text).map_err(|reason| self.failed("virsh capabilities", reason))
    }
}

/// A disk's name as part of a file name: what comes from a point is not trusted.
fn disk_name(name: &str) -> Result<&str, DriverError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match (1..=32).contains(&name.len()) && name.chars().all(plain) {
        true => Ok(name),
        false => Err(DriverError::Invalid(format!("{name:?} is no name of a disk"))),
    }
}

/// What the names of the disks' files begin with: the VM's name, whose rules leave nothing to escape
/// but spaces. A target that may be replaced gets new files each time, so they carry the job's digits.
fn file_stem(job: JobId, target: &RestoreTarget) -> String {
    let name = target.vm.name.as_str().replace(' ', "_");
    match target.replace {
        None => name,
        Some(_) => format!("{name}-{}", replacement::digits(job)),
    }
}
