//! Reading simulated VMs.

use std::collections::VecDeque;
use std::time::Duration;

use drs_model::{Consistency, Disk, Grip, PowerState, Timestamp, VmName};

use super::SimulatedDriver;
use super::content::{Content, hash, hash_text, marker};
use super::copy::{DiskPass, Source};
use super::image::ImageReader;
use super::pace::Pace;
use super::settings::Step;
use super::state::{HostDir, Machine, OpenExport, VmState, now_ms};
use crate::digest::ContentDigest;
use crate::port::{DriverError, Export};

impl HostDir {
    pub(super) async fn open_export(&self, grip: &Grip) -> Result<Export, DriverError> {
        let vm = &grip.vm.name;
        self.with_vm(vm, |state| {
            self.admit(grip, state)?;
            self.machine(vm, state)?;
            if let Some(other) = state.export.as_ref().filter(|export| export.job != grip.job) {
                return Err(DriverError::Busy {
                    vm: grip.vm.clone(),
                    reason: format!("job {} exports it", other.job),
                });
            }
            self.fail_on_order(Step::OpenExport, &mut state.failures)?;
            let now = now_ms();
            let machine = self.machine(vm, state)?;
            let consistency = match machine.power {
                PowerState::Off => Consistency::Off,
                PowerState::Running | PowerState::Paused | PowerState::Broken => Consistency::Crash,
            };
            let (generation, description) =
                (machine.generation_at(now), self.describe(vm, machine)?);
            state.export = Some(OpenExport { job: grip.job, generation });
            Ok(Export {
                description,
                consistent_at: instant(now),
                consistency,
                warnings: Vec::new(),
                handle: serde_json::json!({ "generation": generation }),
            })
        })
        .await
    }

    pub(super) async fn close_export(&self, grip: &Grip) -> Result<(), DriverError> {
        self.with_vm(&grip.vm.name, |state| {
            self.admit(grip, state)?;
            self.fail_on_order(Step::CloseExport, &mut state.failures)?;
            state.export.take_if(|export| export.job == grip.job);
            Ok(())
        })
        .await
    }

    pub(super) async fn source(&self, grip: &Grip, export: &Export) -> Result<Source, DriverError> {
        let vm = &grip.vm.name;
        let disks = export.description.spec.disks.len();
        self.with_vm(vm, |state| {
            self.admit(grip, state)?;
            let machine = self.machine(vm, state)?.clone();
            let Some(open) = state.export.clone().filter(|open| open.job == grip.job) else {
                return Err(gone(vm, "the export is closed"));
            };
            let passes = self.passes(vm, &machine, open.generation)?;
            if passes.len() != disks {
                return Err(gone(vm, "the export has other disks"));
            }
            let pace = self.pace(vm, state, Step::ReadDisk, self.settings.backup(vm));
            Ok(Source::new(passes, pace))
        })
        .await
    }

    /// How long the copy takes that begins now, and whether it breaks.
    pub(super) fn pace(
        &self,
        vm: &VmName,
        state: &mut VmState,
        step: Step,
        length: Duration,
    ) -> Pace {
        state.copies += 1;
        let settings = &self.settings;
        let chance = |what: u64| hash([settings.seed, hash_text(vm.as_str()), state.copies, what]);
        let jitter = chance(0) % (2 * settings.jitter_percent + 1);
        let length = length * (100 + jitter as u32 - settings.jitter_percent as u32) / 100;
        let random =
            (chance(1) % 100 < settings.fail_percent).then(|| gone(vm, "simulated failure"));
        let ordered = self.fail_on_order(step, &mut state.failures).err();
        let failure = ordered.map(|error| gone(vm, &error.to_string())).or(random);
        Pace::new(length, failure)
    }

    /// A pass over each disk, with its size in bytes.
    fn passes(
        &self,
        vm: &VmName,
        machine: &Machine,
        generation: u64,
    ) -> Result<VecDeque<(u64, DiskPass)>, DriverError> {
        if let Some(imported) = &machine.imported {
            let open = |disk: &Disk| {
                Ok((disk.size_bytes, DiskPass::Imported(ImageReader::open(disk.source.as_ref())?)))
            };
            return imported.spec.disks.iter().map(open).collect();
        }
        let generated = |disk: u32| {
            let content = Content {
                seed: self.settings.seed,
                vm: machine.origin.as_ref().unwrap_or(vm).clone(),
                disk: disk as usize,
                disk_mib: self.settings.disk_mib,
                data_percent: self.settings.data_percent,
                generation,
            };
            (self.settings.disk_bytes(), DiskPass::Generated(content, 0))
        };
        Ok((0..self.settings.disks).map(generated).collect())
    }
}

fn gone(vm: &VmName, reason: &str) -> DriverError {
    DriverError::Stream { disk: format!("the disks of {vm}"), reason: reason.to_owned() }
}

fn instant(ms: u64) -> Timestamp {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::MAX)
}

/// Looks at a VM from outside, for tests and demonstrations.
impl SimulatedDriver {
    /// The line with which the VM's first disk begins now: its name at the source and how far it had
    /// written. `None` when the disk has no such line.
    ///
    /// # Errors
    /// No such VM, or its files cannot be read.
    pub async fn marker(&self, vm: &VmName) -> Result<Option<String>, DriverError> {
        let first = self.passes(vm)?.into_iter().next();
        let Some((_, mut disk)) = first else { return Ok(None) };
        let extent = disk.next()?.filter(|extent| extent.offset == 0);
        Ok(extent.and_then(|extent| marker(&extent.data)))
    }

    /// A digest of each disk of the VM as it is now, in order.
    ///
    /// # Errors
    /// No such VM, or its files cannot be read.
    pub async fn digest(&self, vm: &VmName) -> Result<Vec<String>, DriverError> {
        let mut digests = Vec::new();
        for (_, mut disk) in self.passes(vm)? {
            let mut digest = ContentDigest::default();
            while let Some(extent) = disk.next()? {
                digest.update(&extent);
            }
            digests.push(digest.finish());
        }
        Ok(digests)
    }

    /// What DR Switch left of unfinished work on a VM name: an open export, images of no VM. Empty
    /// when everything was put in order.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn leftovers(&self, vm: &VmName) -> Result<Vec<String>, DriverError> {
        let state = self.dir.with_vm::<_, DriverError>(vm, |state| Ok(state.clone())).await?;
        let mut found = Vec::new();
        found.extend(state.export.map(|export| format!("export of job {}", export.job)));
        found.extend(self.dir.stray_images(vm)?);
        Ok(found)
    }

    fn passes(&self, vm: &VmName) -> Result<VecDeque<(u64, DiskPass)>, DriverError> {
        let state = self.dir.peek(vm)?;
        let machine = self.dir.machine(vm, &state)?;
        self.dir.passes(vm, machine, machine.generation_at(now_ms()))
    }
}
