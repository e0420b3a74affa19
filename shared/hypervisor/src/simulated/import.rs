//! Making simulated VMs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::time::Duration;

use drs_model::{Disk, Grip, JobId, PowerState, VmForm, VmName, VmSpec};

use super::content::{hash, hash_text};
use super::copy::Sink;
use super::image::ImageWriter;
use super::inventory::mac;
use super::settings::Step;
use super::state::{HostDir, Imported, Machine, now_ms};
use crate::port::{DriverError, ImportPlan, ImportRequest, PlannedDisk};
use crate::replacement::{self, Replacement, Standing};

impl HostDir {
    /// How long the detached check of an import takes.
    pub(super) fn check_length(&self) -> Duration {
        Duration::from_millis(self.settings.check_ms)
    }

    pub(super) fn plan_import(
        &self,
        job: JobId,
        request: &ImportRequest<'_>,
    ) -> Result<ImportPlan, DriverError> {
        let (point, target) = (request.point, request.target);
        if point.spec.form == VmForm::Container {
            return Err(DriverError::Unsupported(
                "a container can be restored on Proxmox VE only".to_owned(),
            ));
        }
        let standing = self.peek(&target.vm.name)?.machine.map(|machine| Standing {
            native_id: machine.native_id(&target.vm.name),
            running: machine.power != PowerState::Off,
            imported: machine.imported.is_some(),
        });
        let Replacement { name, made_as, replaces, mut remarks } =
            replacement::decide(job, &target.vm, target.replace, standing)?;
        let disks: Vec<PlannedDisk> = point
            .disks
            .iter()
            .enumerate()
            .map(|(number, disk)| {
                let path = self.image(&name, number, job).display().to_string();
                PlannedDisk {
                    name: disk.name.clone(),
                    size_bytes: disk.size_bytes,
                    staging: path.clone(),
                    path,
                    format: "raw".to_owned(),
                }
            })
            .collect();
        let mut spec = VmSpec {
            name: made_as.clone(),
            native_id: format!("simulated-{job}"),
            disks: disks.iter().map(defined).collect(),
            ..point.spec.clone()
        };
        for (number, nic) in spec.nics.iter_mut().enumerate() {
            if let Some(network) = target.networks.get(&nic.network) {
                nic.network.clone_from(network);
            }
            if !target.keep_macs {
                nic.mac = mac(hash([hash_text(&job.to_string()), number as u64]));
            }
        }
        remarks.extend(target.storage.iter().map(|(disk, folder)| {
            format!("disk {disk} does not go to {folder}: a simulated host has one folder")
        }));
        let native_config = serde_json::to_string_pretty(&spec)
            .map_err(|error| self.failed("planning an import", &error))?;
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

    pub(super) async fn allocate(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        self.with_vm_of(grip, &plan.made_as, |state| {
            if state.machine.is_some() {
                return Err(self.exists(&plan.made_as));
            }
            self.fail_on_order(Step::CreateDisks, &mut state.failures)?;
            for disk in &plan.disks {
                File::create(&disk.path)
                    .and_then(|file| file.set_len(disk.size_bytes))
                    .map_err(|error| self.failed("making a disk", &error))?;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn sink(&self, grip: &Grip, plan: &ImportPlan) -> Result<Sink, DriverError> {
        let vm = &plan.made_as;
        let length = Duration::from_millis(self.settings.restore_ms);
        let pace = self
            .with_vm_of(grip, vm, |state| Ok(self.pace(vm, state, Step::WriteDisk, length)))
            .await?;
        let host = self.host_name().as_str();
        let open =
            |disk: &PlannedDisk| ImageWriter::open(host, disk.path.as_ref(), disk.size_bytes);
        let disks = plan.disks.iter().map(open).collect::<Result<_, _>>()?;
        let total_bytes = plan.disks.iter().map(|disk| disk.size_bytes).sum();
        Ok(Sink::new(disks, total_bytes, pace))
    }

    pub(super) async fn define(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        let spec: VmSpec = serde_json::from_str(&plan.native_config)
            .map_err(|error| DriverError::Invalid(format!("the plan is no VM: {error}")))?;
        let made = |machine: &Machine| machine.made_by(grip.job);
        if self.peek(&plan.name)?.machine.as_ref().is_some_and(made) {
            return Ok(());
        }
        self.with_vm_of(grip, &plan.made_as, |state| {
            self.fail_on_order(Step::Define, &mut state.failures)?;
            match &state.machine {
                Some(machine) if made(machine) => return Ok(()),
                Some(_) => return Err(self.exists(&plan.made_as)),
                None => {}
            }
            for disk in &plan.disks {
                fs::metadata(&disk.path).map_err(|error| {
                    self.failed("defining a VM", &format!("{}: {error}", disk.path))
                })?;
            }
            state.machine = Some(Machine {
                power: PowerState::Off,
                generation: 0,
                since_ms: now_ms(),
                imported: Some(Imported { job: grip.job, spec }),
                origin: None,
            });
            Ok(())
        })
        .await
    }

    pub(super) async fn remove_import(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<(), DriverError> {
        for vm in [&plan.made_as, &plan.name] {
            self.with_vm_of(grip, vm, |state| {
                let Some(made) = state.machine.take_if(|machine| machine.made_by(grip.job)) else {
                    return Ok(());
                };
                if made.power == PowerState::Off {
                    return Ok(());
                }
                let reason = format!("it is {}: it is not removed", made.power);
                state.machine = Some(made);
                Err(DriverError::Busy { vm: self.vm_ref(vm), reason })
            })
            .await?;
        }
        self.with_vm_of(grip, &plan.made_as, |_| {
            plan.disks.iter().try_for_each(|disk| self.remove_image(&disk.path))
        })
        .await
    }

    pub(super) fn remove_image(&self, path: &str) -> Result<(), DriverError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("removing a disk", &error))
            }
            _ => Ok(()),
        }
    }

    /// Images that were made under a VM's name and belong to no VM.
    pub(super) fn stray_images(&self, vm: &VmName) -> Result<Vec<String>, DriverError> {
        let mut owned = BTreeSet::new();
        for name in self.recorded()? {
            let imported = self.peek(&name)?.machine.and_then(|machine| machine.imported);
            owned.extend(imported.into_iter().flat_map(|it| it.spec.disks).map(|it| it.source));
        }
        let listed = fs::read_dir(self.images())
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(|error| self.failed("listing images", &error))?;
        let made_as = |entry: &fs::DirEntry| {
            let file = entry.file_name().to_string_lossy().into_owned();
            file.strip_prefix(vm.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        let paths =
            listed.iter().filter(|it| made_as(it)).map(|it| it.path().display().to_string());
        Ok(paths.filter(|path| !owned.contains(path)).collect())
    }

    pub(super) fn exists(&self, vm: &VmName) -> DriverError {
        DriverError::AlreadyExists { what: format!("VM {vm}"), host: self.host_name().to_string() }
    }
}

fn defined(disk: &PlannedDisk) -> Disk {
    Disk {
        name: disk.name.clone(),
        size_bytes: disk.size_bytes,
        source: disk.path.clone(),
        format: disk.format.clone(),
        protected: true,
        unprotected_reason: String::new(),
    }
}
