//! Making simulated VMs.

use std::fs::{self, File};
use std::io;
use std::time::Duration;

use drs_model::{Disk, Grip, JobId, PowerState, VmName, VmSpec};

use super::content::{hash, hash_text};
use super::image::ImageSink;
use super::inventory::{mac, native_id};
use super::pace::share;
use super::settings::Step;
use super::state::{HostDir, Imported, Machine, now_ms};
use crate::port::{DiskSink, DriverError, ImportPlan, ImportRequest, PlannedDisk};

/// How long the detached check of an import takes.
pub(super) const CHECK_LENGTH: Duration = Duration::from_millis(50);

impl HostDir {
    pub(super) fn plan_import(
        &self,
        job: JobId,
        request: &ImportRequest<'_>,
    ) -> Result<ImportPlan, DriverError> {
        let (point, target) = (request.point, request.target);
        let name = &target.vm.name;
        if self.peek(name)?.machine.is_some() {
            return Err(self.exists(name));
        }
        let disks: Vec<PlannedDisk> = point
            .disks
            .iter()
            .enumerate()
            .map(|(number, disk)| {
                let path = self.image(name, number, job).display().to_string();
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
            name: name.clone(),
            native_id: native_id(name),
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
        let remarks = target.storage.iter().map(|(disk, folder)| {
            format!("disk {disk} does not go to {folder}: a simulated host has one folder")
        });
        let native_config = serde_json::to_string_pretty(&spec)
            .map_err(|error| self.failed("planning an import", &error))?;
        Ok(ImportPlan { name: name.clone(), disks, native_config, remarks: remarks.collect() })
    }

    pub(super) async fn create_disks(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<(), DriverError> {
        self.with_vm(&plan.name, |state| {
            self.admit(grip, state)?;
            if state.machine.is_some() {
                return Err(self.exists(&plan.name));
            }
            self.fail_on_order(Step::CreateDisks, &mut state.failures)?;
            for (number, disk) in plan.disks.iter().enumerate() {
                let path = self.image(&plan.name, number, grip.job);
                File::create(&path)
                    .and_then(|file| file.set_len(disk.size_bytes))
                    .map_err(|error| self.failed("making a disk", &error))?;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn write_disk(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
        disk: &PlannedDisk,
    ) -> Result<Box<dyn DiskSink>, DriverError> {
        let broken = |reason: &str| DriverError::Stream {
            disk: disk.name.clone(),
            reason: reason.to_owned(),
        };
        let number = plan
            .disks
            .iter()
            .position(|planned| planned == disk)
            .ok_or_else(|| broken("the plan has no such disk"))?;
        let all: u64 = plan.disks.iter().map(|disk| disk.size_bytes).sum();
        let length = share(Duration::from_millis(self.settings.restore_ms), disk.size_bytes, all);
        let pace = self
            .with_vm::<_, DriverError>(&plan.name, |state| {
                self.admit(grip, state)?;
                Ok(self.pace(&plan.name, state, Step::WriteDisk, length, broken))
            })
            .await?;
        let path = self.image(&plan.name, number, grip.job);
        let host = self.host_name().as_str();
        Ok(Box::new(ImageSink::open(host, &path, disk.size_bytes, pace)?))
    }

    pub(super) async fn define(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        let spec: VmSpec = serde_json::from_str(&plan.native_config)
            .map_err(|error| DriverError::Invalid(format!("the plan is no VM: {error}")))?;
        self.with_vm(&plan.name, |state| {
            self.admit(grip, state)?;
            self.fail_on_order(Step::Define, &mut state.failures)?;
            let made_by = |machine: &Machine| machine.imported.as_ref().map(|made| made.job);
            match &state.machine {
                Some(machine) if made_by(machine) == Some(grip.job) => return Ok(()),
                Some(_) => return Err(self.exists(&plan.name)),
                None => {}
            }
            for number in 0..plan.disks.len() {
                let path = self.image(&plan.name, number, grip.job);
                fs::metadata(&path).map_err(|error| {
                    self.failed("defining a VM", &format!("{}: {error}", path.display()))
                })?;
            }
            state.machine = Some(Machine {
                power: PowerState::Off,
                generation: 0,
                since_ms: now_ms(),
                imported: Some(Imported { job: grip.job, spec }),
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
        self.with_vm(&plan.name, |state| {
            self.admit(grip, state)?;
            state.machine.take_if(|machine| {
                machine.imported.as_ref().is_some_and(|made| made.job == grip.job)
            });
            for number in 0..plan.disks.len() {
                match fs::remove_file(self.image(&plan.name, number, grip.job)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(self.failed("removing a disk", &error));
                    }
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }

    /// Images under a VM's name that do not belong to the VM that this job imported.
    pub(super) fn stray_images(
        &self,
        vm: &VmName,
        owner: Option<JobId>,
    ) -> Result<Vec<String>, DriverError> {
        let listed = fs::read_dir(self.images())
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(|error| self.failed("listing images", &error))?;
        let names = listed.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let owned = owner.map(|job| format!(".{job}.img"));
        Ok(names
            .filter(|name| name.strip_prefix(vm.as_str()).is_some_and(|rest| rest.starts_with('.')))
            .filter(|name| !owned.as_ref().is_some_and(|owned| name.ends_with(owned)))
            .collect())
    }

    fn exists(&self, vm: &VmName) -> DriverError {
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
