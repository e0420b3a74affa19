//! Dumping a guest into an archive on the node.

use bytes::Bytes;
use drs_model::{Grip, VmForm};
use drs_transport::Argv;

use super::export::Log;
use super::guest::{Guest, Vmid, words};
use super::log::Account;
use super::unpack::Head;
use super::{ProxmoxDriver, failure};
use crate::turn::order;
use crate::{DriverError, StagedArchive};

pub(super) const DUMP: &str =
    concat!(include_str!("../turn.sh"), include_str!("vzdump.sh"), include_str!("dump.sh"));

/// So many bytes of an archive, unpacked, hold every head that is read.
const HEAD_BYTES: u64 = (1 << 20) + 512;

impl ProxmoxDriver {
    fn dump_command_of(&self, command: &str, grip: &Grip) -> Argv {
        self.dump_script(grip, DUMP, "drs-dump", command)
    }

    pub(super) async fn admit_dump(&self, grip: &Grip) -> Result<(), DriverError> {
        let guest = self.dumpable(grip).await?;
        self.node_admits(grip).await?;
        let disks = guest.description().spec.disks;
        let bytes: u64 = disks.iter().filter(|it| it.protected).map(|it| it.size_bytes).sum();
        let argv = self.dump_command_of("room", grip).arg(bytes.to_string());
        self.ask(Some(&grip.vm), "looking for room for the archive", &argv).await.map(drop)
    }

    pub(super) fn dump_call(&self, grip: &Grip, limit_bytes_per_second: Option<u64>) -> Argv {
        // vzdump counts in KiB/s, and 0 would be no limit.
        let limit = limit_bytes_per_second.map(|bytes| (bytes / 1024).max(1).to_string());
        self.dump_command_of("dump", grip).args([order(grip), limit.unwrap_or_default()])
    }

    pub(super) async fn dumped_archive(&self, grip: &Grip) -> Result<StagedArchive, DriverError> {
        let guest = self.locate(&grip.vm).await?;
        let what = "looking at the dump";
        let answer = self.ask(Some(&grip.vm), what, &self.dump_command_of("report", grip)).await?;
        let report = Report::parse(&answer)
            .ok_or_else(|| self.failed(what, format!("the node answered {answer:.200}")))?;
        let Some(found) = report.archive(guest.vmid, &self.job_dir(grip.job)) else {
            return Err(self.no_archive(&guest, &report));
        };
        let (path, size_bytes) = found.map_err(|reason| self.failed("vzdump", reason))?;
        let name = path.rsplit('/').next().unwrap_or_default();
        let argv = self.dump_command_of("head", grip).args([name, &HEAD_BYTES.to_string()]);
        let head = self.remote.exec(&argv, Bytes::new()).await?;
        if !head.ok() {
            return Err(failure::failure(&self.host, Some(&grip.vm), what, &head));
        }
        let form = form_of(name, guest.vmid).unwrap_or(guest.native.form);
        let head = Head::read(form, &head.stdout)
            .map_err(|error| self.failed(what, format!("{name}: {error}")))?;
        let export = self.exported(&guest, &head, &report.log)?;
        Ok(StagedArchive { path, size_bytes, export: Some(export) })
    }

    fn no_archive(&self, guest: &Guest, report: &Report) -> DriverError {
        let log = &report.log.text;
        match log.trim().is_empty() {
            true => self.failed(
                "vzdump",
                "it ended without a backup and without a word, as it does when the guest has moved to another node",
            ),
            false => failure::classify(&self.host, Some(&guest.vm), "vzdump", log),
        }
    }
}

/// What `dump.sh report` told.
struct Report {
    /// Names and sizes of the files in the job's folder.
    files: Vec<(String, u64)>,
    log: Log,
}

impl Report {
    fn parse(answer: &str) -> Option<Self> {
        let files = answer.lines().take_while(|line| *line != "LOG").filter_map(|line| {
            let (size, name) = line.strip_prefix("FILE ")?.split_once(' ')?;
            Some((name.to_owned(), size.parse().ok()?))
        });
        Some(Self { files: files.collect(), log: Log::parse(answer)? })
    }

    /// Path and length of the archive. None when vzdump made none; an error when it says that it did
    /// and what lies there contradicts it.
    fn archive(&self, vmid: Vmid, folder: &str) -> Option<Result<(String, u64), String>> {
        let account = Account::read(vmid, &self.log.text);
        // Behind complete data only a hook can fail.
        let path = account.archive.filter(|_| account.finished || account.data_complete)?;
        let name = path.strip_prefix(folder).and_then(|name| name.strip_prefix('/'));
        let Some(name) = name.filter(|name| form_of(name, vmid).is_some()) else {
            return Some(Err(format!(
                "it wrote {path}, which is no archive of {vmid} in {folder}"
            )));
        };
        if let Some((partial, _)) = self.files.iter().find(|(name, _)| name.ends_with(".dat")) {
            return Some(Err(format!("{partial} is still being written, or was left behind")));
        }
        match self.files.iter().find(|(file, _)| file == name) {
            Some((_, size)) if *size > 0 => Some(Ok((path, *size))),
            Some(_) => Some(Err(format!("{name} is empty"))),
            None => Some(Err(format!("{name} is not there"))),
        }
    }
}

/// Whether a file has the name of an archive of this guest, and of which form:
/// `vzdump-qemu-112-2026_11_22-01_48_38.vma.zst`.
fn form_of(name: &str, vmid: Vmid) -> Option<VmForm> {
    [(VmForm::Machine, ".vma.zst"), (VmForm::Container, ".tar.zst")].into_iter().find_map(
        |(form, end)| {
            let stamp = name
                .strip_prefix(&format!("vzdump-{}-{vmid}-", words(form).kind))?
                .strip_suffix(end)?;
            let digits = |c: char| if c.is_ascii_digit() { '0' } else { c };
            let shape: String = stamp.chars().map(digits).collect();
            (shape == "0000_00_00-00_00_00").then_some(form)
        },
    )
}

#[cfg(test)]
mod tests;
