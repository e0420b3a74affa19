//! Reading simulated VMs.

use std::time::Duration;

use drs_model::{Consistency, Disk, Grip, JobId, PowerState, Timestamp, VmName};

use super::SimulatedDriver;
use super::content::{Content, ContentSource, hash, hash_text, marker};
use super::image::ImageSource;
use super::pace::{Pace, share};
use super::settings::Step;
use super::state::{HostDir, Machine, OpenExport, VmState, now_ms};
use crate::digest::ContentDigest;
use crate::port::{DiskSource, DriverError, Export};

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

    pub(super) async fn read_disk(
        &self,
        grip: &Grip,
        export: &Export,
        disk: &Disk,
    ) -> Result<Box<dyn DiskSource>, DriverError> {
        let vm = &grip.vm.name;
        let gone = |reason: &str| DriverError::Stream {
            disk: disk.name.clone(),
            reason: reason.to_owned(),
        };
        let disks = &export.description.spec.disks;
        let number = disks
            .iter()
            .position(|known| known.name == disk.name)
            .ok_or_else(|| gone("the export has no such disk"))?;
        let all = export.description.spec.protected_bytes();
        self.with_vm(vm, |state| {
            self.admit(grip, state)?;
            let machine = self.machine(vm, state)?.clone();
            let Some(open) = state.export.clone().filter(|open| open.job == grip.job) else {
                return Err(gone("the export is closed"));
            };
            let length = share(self.settings.backup(vm), disk.size_bytes, all);
            let pace = self.pace(vm, state, Step::ReadDisk, length, gone);
            self.source(vm, &machine, open.generation, number, pace)
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
        broken: impl Fn(&str) -> DriverError,
    ) -> Pace {
        state.copies += 1;
        let settings = &self.settings;
        let chance = |what: u64| hash([settings.seed, hash_text(vm.as_str()), state.copies, what]);
        let jitter = chance(0) % (2 * settings.jitter_percent + 1);
        let length = length * (100 + jitter as u32 - settings.jitter_percent as u32) / 100;
        let random = (chance(1) % 100 < settings.fail_percent).then(|| broken("simulated failure"));
        let ordered = self.fail_on_order(step, &mut state.failures).err();
        let failure = ordered.map(|error| broken(&error.to_string())).or(random);
        Pace::new(length, failure)
    }

    fn source(
        &self,
        vm: &VmName,
        machine: &Machine,
        generation: u64,
        disk: usize,
        pace: Pace,
    ) -> Result<Box<dyn DiskSource>, DriverError> {
        if let Some(imported) = &machine.imported {
            let path = self.image(vm, disk, imported.job);
            return Ok(Box::new(ImageSource::open(&path, pace)?));
        }
        let content = Content {
            seed: self.settings.seed,
            vm: vm.clone(),
            disk,
            disk_mib: self.settings.disk_mib,
            data_percent: self.settings.data_percent,
            generation,
        };
        Ok(Box::new(ContentSource { content, next_mib: 0, pace }))
    }
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
        let first = self.sources(vm)?.into_iter().next();
        let Some(mut disk) = first else { return Ok(None) };
        let extent = disk.next().await?.filter(|extent| extent.offset == 0);
        Ok(extent.and_then(|extent| marker(&extent.data)))
    }

    /// A digest of each disk of the VM as it is now, in order.
    ///
    /// # Errors
    /// No such VM, or its files cannot be read.
    pub async fn digest(&self, vm: &VmName) -> Result<Vec<String>, DriverError> {
        let mut digests = Vec::new();
        for mut disk in self.sources(vm)? {
            let mut digest = ContentDigest::default();
            while let Some(extent) = disk.next().await? {
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
        let owner: Option<JobId> =
            state.machine.and_then(|machine| machine.imported).map(|imported| imported.job);
        found.extend(self.dir.stray_images(vm, owner)?);
        Ok(found)
    }

    fn sources(&self, vm: &VmName) -> Result<Vec<Box<dyn DiskSource>>, DriverError> {
        let state = self.dir.peek(vm)?;
        let machine = self.dir.machine(vm, &state)?;
        let generation = machine.generation_at(now_ms());
        let disks = self.dir.describe(vm, machine)?.spec.disks.len();
        (0..disks)
            .map(|disk| self.dir.source(vm, machine, generation, disk, Pace::at_once()))
            .collect()
    }
}
