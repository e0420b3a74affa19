//! Making a guest: its number, its archive as a stream, and what makes it ours.

mod pipe;
mod settled;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use drs_model::{Grip, VmForm};
use drs_transport::Argv;
use drs_vma::{Config as ArchiveConfig, Device, Header, Writer};

use super::guest::words;
use super::native::Native;
use super::paths::STATE_DIR;
use super::plan::Handle;
use super::vma_sink::{FeedError, Layout};
use super::{ProxmoxDriver, failure, script};
use crate::turn::order;
use crate::{ContentSink, DriverError, ImportPlan};

pub(super) use settled::is_secret;

/// Where a cluster keeps its configurations.
pub(super) const PVE_DIR: &str = "/etc/pve";

/// Longest a command may take that may destroy a guest: its disks are freed block by block.
const REMOVE_LIMIT: Duration = Duration::from_secs(900);

const IMPORT: &str = concat!(include_str!("../turn.sh"), include_str!("import.sh"));

/// A call of `import.sh` that changes nothing.
pub(super) fn unordered(verb: &str) -> Argv {
    script(IMPORT, "drs-import").arg(verb)
}

/// A guest that commands of an import are about, and the folders that they use.
pub(super) struct Places<'a> {
    pub(super) pve: &'a str,
    pub(super) state: &'a str,
    pub(super) folder: &'a str,
    pub(super) vmid: String,
    pub(super) tool: &'a str,
}

impl Places<'_> {
    /// A call of `import.sh` that changes something.
    pub(super) fn call(&self, verb: &str, grip: &Grip) -> Argv {
        unordered(verb).args([grip.job.to_string(), order(grip)]).args([
            self.pve,
            self.state,
            self.folder,
            &self.vmid,
            self.tool,
        ])
    }
}

impl ProxmoxDriver {
    /// The folder of an import; the job's other one is its dump's, which may be open beside it.
    pub(super) fn import_dir(&self, grip: &Grip) -> String {
        format!("{}-import", self.job_dir(grip.job))
    }

    /// A call of `import.sh` for the planned guest.
    pub(super) fn import_call(
        &self,
        verb: &str,
        grip: &Grip,
        plan: &ImportPlan,
        handle: &Handle,
    ) -> Argv {
        let folder = self.import_dir(grip);
        let tool = words(plan.form).tool;
        let (pve, state) = (PVE_DIR, STATE_DIR);
        Places { pve, state, folder: &folder, vmid: handle.vmid.to_string(), tool }.call(verb, grip)
    }

    pub(super) async fn reserve(&self, grip: &Grip, plan: &ImportPlan) -> Result<(), DriverError> {
        let handle = Handle::of(plan)?;
        let argv = self.import_call("reserve", grip, plan, &handle).args(handle.identity);
        self.run_import(grip, "reserving the VMID", &argv).await.map(drop)
    }

    pub(super) async fn open_sink(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<Box<dyn ContentSink>, DriverError> {
        let handle = Handle::of(plan)?;
        // `qmrestore` waits a minute for the header, so it is in hand before.
        let layout = layout(plan, &handle)?;
        let argv = self.restore_call(grip, plan, &handle, "-", None);
        let sink = self.open_pipe(grip, plan, &argv, layout).await?;
        Ok(Box::new(sink))
    }

    /// The command that makes the guest from an archive; `-` is the pipe in the import's folder.
    pub(super) fn restore_call(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
        handle: &Handle,
        archive: &str,
        kib_per_second: Option<u64>,
    ) -> Argv {
        let limit = kib_per_second.map(|kib| ["--bwlimit".to_owned(), kib.to_string()]);
        self.import_call("restore", grip, plan, handle)
            .arg(archive)
            .args(handle.identity.clone())
            .arg("--")
            .args(limit.into_iter().flatten())
            .args(handle.restore.clone())
    }

    /// The command that fails when a volume is missing or damaged.
    pub(super) fn check_imported(&self, plan: &ImportPlan) -> Argv {
        let argv = unordered("check").args([PVE_DIR, STATE_DIR]);
        match Handle::of(plan) {
            Ok(handle) => {
                let size = |size: Option<u64>| size.map_or("-".to_owned(), |it| it.to_string());
                let volumes = handle.volumes.into_iter().flat_map(|(key, it)| [key, size(it)]);
                argv.args([handle.vmid.to_string(), words(plan.form).tool.to_owned()]).args(volumes)
            }
            // A plan that cannot be read names no guest, which the command will not find.
            Err(_) => argv.args(["-", words(plan.form).tool]),
        }
    }

    /// Demands that the guest is what the plan says, and remembers that DR Switch made it.
    pub(super) async fn settle_import(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<(), DriverError> {
        let handle = Handle::of(plan)?;
        let argv = self.import_call("settle", grip, plan, &handle).args(handle.settle.clone());
        let actual = self.run_import(grip, "settling the restored VM", &argv).await?;
        let wanted = Native::parse(&plan.native_config).map_err(DriverError::Internal)?;
        settled::demand(&wanted, &actual).map_err(|difference| {
            self.failed(
                "restoring the configuration",
                format!("VM {} is not what the plan says: {difference}", handle.vmid),
            )
        })?;
        let argv = self.import_call("made", grip, plan, &handle).args(handle.identity);
        self.run_import(grip, "remembering the restored VM", &argv).await.map(drop)
    }

    /// Removes what this job has made, and nothing else.
    pub(super) async fn take_back(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
    ) -> Result<(), DriverError> {
        let handle = Handle::of(plan)?;
        let argv = self.import_call("remove", grip, plan, &handle).args(handle.identity);
        self.run_import(grip, "removing the import", &argv).await.map(drop)
    }

    /// Runs a command that may take as long as destroying a guest.
    pub(super) async fn run_import(
        &self,
        grip: &Grip,
        what: &str,
        argv: &Argv,
    ) -> Result<String, DriverError> {
        let output = self.guard.run(grip, argv, Bytes::new(), REMOVE_LIMIT).await?;
        match output.ok() {
            true => Ok(output.text()),
            false => Err(failure::failure(&self.host, Some(&grip.vm), what, &output)),
        }
    }
}

/// What the archive of a plan holds. It is known to be an archive that `qmrestore` takes.
pub(super) fn layout(plan: &ImportPlan, handle: &Handle) -> Result<Layout, DriverError> {
    if plan.form == VmForm::Container {
        return Ok(Layout::Container { size_bytes: handle.tar_bytes });
    }
    let mut native = Native::parse(&plan.native_config).map_err(DriverError::Internal)?;
    for map in &handle.maps {
        native.config.add_map(&map.drive, &map.device, &map.storage, &map.format);
    }
    let words = words(plan.form);
    let file =
        |name: &str, text: String| ArchiveConfig { name: name.to_owned(), data: text.into() };
    let mut configs = vec![file(words.config, native.config.to_string())];
    if !native.firewall.is_empty() {
        configs.push(file(words.firewall, native.firewall));
    }
    let id = |device: usize| u8::try_from(device + 1).map_err(|_| too_many());
    let devices = handle.devices.iter().enumerate().map(|(at, (name, size_bytes))| {
        Ok(Device { id: id(at)?, name: name.clone(), size_bytes: *size_bytes })
    });
    let header = Header {
        uuid: handle.id,
        created_at: handle.created_at,
        configs,
        devices: devices.collect::<Result<_, DriverError>>()?,
    };
    let devices = handle.contents.iter().map(|device| id(*device)).collect::<Result<_, _>>()?;
    Writer::new(std::io::sink(), &header)
        .map_err(|error| DriverError::Invalid(format!("no archive can be made of it: {error}")))?;
    Ok(Layout::Machine { header, devices })
}

fn too_many() -> DriverError {
    DriverError::Invalid("the VM has more disks than an archive can hold".into())
}

/// The error of an archive that cannot be written, where nobody else tells why.
pub(super) fn unwritten(error: FeedError) -> DriverError {
    match error {
        FeedError::Misplaced(reason) => DriverError::Invalid(reason),
        other => DriverError::Stream { disk: "archive".into(), reason: other.to_string() },
    }
}
