//! Reading a guest as a stream, and what ends every backup of a guest.
//!
//! An export is a `vzdump --stdout` that runs as long as its channel. It is open when its archive's
//! head is in hand: then the freeze instant is over. What follows waits in the channel, so an export is
//! read once, from its beginning, by the worker that opened it.
//!
//! `vzdump.sh` says what a backup leaves on the node and how that is taken back.

mod stream;
#[cfg(test)]
pub(super) mod tests;

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use drs_model::{Fault, Grip, Host, JobId, Timestamp, VmForm};
use drs_transport::{Argv, Output, Spawned};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::guest::Guest;
use super::log::{Account, Freeze};
use super::native::Native;
use super::unpack::{ArchiveSource, Decoding, Head};
use super::{ProxmoxDriver, failure, script, vma_source};
use crate::turn::order;
use crate::{ContentSource, DriverError, Export, ExportEnd, VmDescription};
use stream::Run;

/// The file that vzdump locks while it runs: one backup at a time on a node.
const LOCK: &str = "/var/run/vzdump.lock";

const EXPORT: &str =
    concat!(include_str!("../turn.sh"), include_str!("vzdump.sh"), include_str!("export.sh"));

/// Longest a machine may take until its archive begins: a guest agent may be asked to freeze for ten
/// minutes.
const MACHINE_HEAD_LIMIT: Duration = Duration::from_secs(20 * 60);
/// Longest a container may take: one whose storage has no snapshots is copied on the node first.
const CONTAINER_HEAD_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);
/// Longest that the log may lag behind the archive, in tenths of a second.
const LOG_LAG: &str = "200";

/// A stream whose head was read and that waits for its reader.
pub(super) struct OpenStream {
    decoding: Decoding,
    run: Run,
    handle: Handle,
}

/// What is kept of an export beside its description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handle {
    /// What tells the archive from others: the UUID of a machine's, nothing of a container's.
    pub(super) archive: String,
    /// Length of a container's archive, uncompressed, when the node has told it.
    pub(super) tar_bytes: Option<u64>,
}

impl Handle {
    /// The handle of an export.
    pub(super) fn of(export: &Export) -> Result<Self, DriverError> {
        serde_json::from_value(export.handle.clone())
            .map_err(|error| DriverError::Internal(format!("the export's record: {error}")))
    }
}

/// What every call of our scripts begins with.
pub(super) struct Place<'a> {
    pub(super) job: &'a str,
    pub(super) vmid: &'a str,
    /// The job's folder.
    pub(super) folder: &'a str,
    /// The file that vzdump locks while it runs.
    pub(super) lock: &'a str,
}

impl Place<'_> {
    /// A call of a script of ours.
    pub(super) fn call(&self, text: &str, name: &str, command: &str) -> Argv {
        script(text, name).args([command, self.job, self.vmid, self.folder, self.lock])
    }
}

impl ProxmoxDriver {
    fn export_command(&self, command: &str, grip: &Grip) -> Argv {
        self.dump_script(grip, EXPORT, "drs-export", command)
    }

    /// A call of a script of ours for what this job leaves on the node.
    pub(super) fn dump_script(&self, grip: &Grip, text: &str, name: &str, command: &str) -> Argv {
        let (job, folder) = (grip.job.to_string(), self.job_dir(grip.job));
        let vmid = grip.vm.name.as_str();
        Place { job: &job, vmid, folder: &folder, lock: LOCK }.call(text, name, command)
    }

    pub(super) async fn open_stream(&self, grip: &Grip) -> Result<Export, DriverError> {
        let guest = self.dumpable(grip).await?;
        self.streams().remove(&grip.job);
        let argv = self.export_command("stream", grip).arg(order(grip));
        let spawned = self.guard.serve(grip, &argv).await?;
        let (mut run, archive) = self.run(grip, &guest, spawned);
        let form = guest.native.form;
        let limit = match form {
            VmForm::Machine => MACHINE_HEAD_LIMIT,
            VmForm::Container => CONTAINER_HEAD_LIMIT,
        };
        let decoding = match timeout(limit, Decoding::begin(form, archive)).await {
            Ok(Ok(decoding)) => decoding,
            Ok(Err(error)) => return Err(run.why(error).await),
            Err(_) => {
                let what = format!("no archive came within {} minutes", limit.as_secs() / 60);
                return Err(self.failed("vzdump", what));
            }
        };
        let log = run.log().await?;
        let export = self.exported(&guest, &decoding.head, &log)?;
        let handle = Handle::of(&export)?;
        self.streams().insert(grip.job, OpenStream { decoding, run, handle });
        Ok(export)
    }

    /// A vzdump behind a channel, and its archive for a thread to read.
    fn run(
        &self,
        grip: &Grip,
        guest: &Guest,
        spawned: Spawned,
    ) -> (Run, impl Read + Send + 'static) {
        let watch = self.export_command("watch", grip).args([guest.words().kind, LOG_LAG]);
        Run::of(self.host.clone(), guest.clone(), Arc::clone(&self.remote), watch, spawned)
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<JobId, OpenStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest, when it can be dumped. A lock that an earlier attempt of ours has left is taken
    /// away first.
    pub(super) async fn dumpable(&self, grip: &Grip) -> Result<Guest, DriverError> {
        self.demand_dump_dir()?;
        let mut guest = self.locate(&grip.vm).await?;
        if guest.lock == "backup" {
            self.close(grip, ExportEnd::Abandoned).await?;
            guest = self.locate(&grip.vm).await?;
        }
        guest.demand_unlocked()?;
        Ok(guest)
    }

    /// What an archive is the export of, by its head and its log.
    pub(super) fn exported(
        &self,
        guest: &Guest,
        head: &Head,
        log: &Log,
    ) -> Result<Export, DriverError> {
        let account = Account::read(guest.vmid, &log.text);
        let description = described(guest, head);
        let consistent_at = match head {
            Head::Machine(header) => Timestamp::from_second(header.created_at).ok(),
            Head::Container(_) => Some(log.began),
        };
        let handle = Handle { archive: head.identity(), tar_bytes: account.tar_bytes };
        Ok(Export {
            warnings: warnings(&description, &account),
            description,
            consistent_at: consistent_at.unwrap_or(log.began),
            consistency: account.consistency(),
            handle: serde_json::to_value(handle)
                .map_err(|error| self.failed("packing", error.to_string()))?,
        })
    }

    pub(super) async fn take_source(
        &self,
        grip: &Grip,
        export: &Export,
    ) -> Result<Box<dyn ContentSource>, DriverError> {
        let gone = |reason: &str| DriverError::Stream {
            disk: grip.vm.to_string(),
            reason: reason.to_owned(),
        };
        let open = self.streams().remove(&grip.job);
        let open = open.ok_or_else(|| gone("the stream is gone; it is read once"))?;
        if open.handle != Handle::of(export)? {
            return Err(gone("another stream was opened meanwhile"));
        }
        let spec = &export.description.spec;
        let contents = open.decoding.contents(spec).map_err(|reason| gone(&reason))?;
        Ok(Box::new(ArchiveSource::new(open.decoding, contents, open.run)))
    }

    /// Nothing endangers the guest but a reader that stands still: QEMU keeps what the guest overwrites by
    /// writing it to the stream first, so who reads slowly slows the guest's writes down. A transfer
    /// that stands still is ended by the worker.
    pub(super) async fn danger(
        &self,
        _grip: &Grip,
        _export: &Export,
    ) -> Result<Option<Fault>, DriverError> {
        Ok(None)
    }

    pub(super) async fn close(&self, grip: &Grip, _end: ExportEnd) -> Result<(), DriverError> {
        self.streams().remove(&grip.job);
        let argv = self.export_command("close", grip).arg(order(grip));
        self.change(grip, &grip.vm, "closing the export", &argv, Bytes::new()).await.map(drop)
    }

    pub(super) fn close_command(&self, grip: &Grip, _end: ExportEnd) -> Argv {
        // Made before the commands that it follows.
        self.export_command("close", grip).arg("any")
    }

    /// Whether nobody else dumps on the node.
    pub(super) async fn node_admits(&self, grip: &Grip) -> Result<(), DriverError> {
        let argv = self.export_command("admit", grip);
        self.ask(Some(&grip.vm), "looking for other backups", &argv).await.map(drop)
    }
}

/// What a script told of a run of vzdump.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Log {
    /// When it was started; before every freeze instant.
    pub(super) began: Timestamp,
    /// What it printed, or the end of that.
    pub(super) text: String,
}

impl Log {
    /// Reads `BEGAN MILLISECONDS`, `LOG`, and the log behind them.
    pub(super) fn parse(answer: &str) -> Option<Self> {
        let (head, text) = answer.split_once("\nLOG\n")?;
        let began = head.lines().find_map(|line| line.strip_prefix("BEGAN "))?;
        let began = Timestamp::from_millisecond(began.trim().parse().ok()?).ok()?;
        Some(Self { began, text: text.to_owned() })
    }
}

/// The guest as the archive has it.
fn described(guest: &Guest, head: &Head) -> VmDescription {
    let (form, config, firewall) = match head {
        Head::Machine(header) => {
            let (config, firewall) = vma_source::configuration(header);
            (VmForm::Machine, config, firewall)
        }
        Head::Container(head) => (VmForm::Container, head.config.clone(), head.firewall.clone()),
    };
    let mut native = Native::new(form, &config, &firewall);
    native.config.remove_maps();
    let mut description = Guest { native, ..guest.clone() }.description();
    if let Head::Machine(header) = head {
        vma_source::correct(&mut description.spec, header);
    }
    description
}

/// Drives that hold nothing of the guest's own; that they are left out surprises nobody.
const PLAIN_DRIVES: [&str; 2] = ["it is a CD-ROM drive", "it is a cloud-init drive"];

fn warnings(description: &VmDescription, account: &Account) -> Vec<String> {
    let spec = &description.spec;
    let left_out = spec.disks.iter().filter(|disk| {
        let reason = &disk.unprotected_reason;
        !disk.protected && !PLAIN_DRIVES.iter().any(|plain| reason.starts_with(plain))
    });
    let mut warnings: Vec<String> = left_out
        .map(|disk| format!("disk {} is not covered: {}", disk.name, disk.unprotected_reason))
        .collect();
    match &account.freeze {
        Freeze::Skipped(reason) if spec.guest_agent => {
            warnings.push(format!("the guest's file systems were not frozen: {reason}"));
        }
        Freeze::Failed(reason) => {
            warnings.push(format!("the guest agent could not freeze the file systems: {reason}"));
        }
        Freeze::None | Freeze::Done | Freeze::Skipped(_) => {}
    }
    warnings.extend(account.warnings.iter().cloned());
    warnings
}

/// What a script of ours said that ended before vzdump was started.
fn refused(host: &Host, guest: &Guest, code: i32, stderr: String) -> DriverError {
    let output = Output { code, stdout: Vec::new(), stderr };
    failure::failure(host, Some(&guest.vm), "vzdump", &output)
}
