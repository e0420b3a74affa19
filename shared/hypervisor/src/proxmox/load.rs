//! Making a guest from an archive that is staged on the node.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use drs_model::{Grip, Piece};
use drs_transport::Argv;
use drs_vma::compression::Packer;

use super::import::layout;
use super::plan::Handle;
use super::vma_sink::{Feed, FeedError, Output};
use super::{ProxmoxDriver, script};
use crate::{ContentSink, DriverError, ImportPlan};

impl ProxmoxDriver {
    /// An archive on this machine, packed as `vzdump` does it.
    pub(super) async fn pack_archive(
        &self,
        plan: &ImportPlan,
        local: &Path,
    ) -> Result<Box<dyn ContentSink>, DriverError> {
        let layout = layout(plan, &Handle::of(plan)?)?;
        let path = local.to_owned();
        let made = tokio::task::spawn_blocking(move || Packer::new(File::create(path)?)).await;
        let packer = made.unwrap_or_else(|error| Err(io::Error::other(error)));
        let packer = packer.map_err(|error| not_packed(local, error.into()))?;
        let feed = Feed::start(layout, packer);
        Ok(Box::new(Packing { feed, local: local.to_owned() }))
    }

    /// Makes the folder for the archive, which must have room.
    pub(super) async fn make_load_path(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
        size_bytes: u64,
    ) -> Result<String, DriverError> {
        let handle = Handle::of(plan)?;
        let argv = self.import_call("stage", grip, plan, &handle).arg(size_bytes.to_string());
        self.run_import(grip, "making room for the archive", &argv).await?;
        Ok(format!("{}/{}", self.import_dir(grip), handle.archive))
    }

    /// The command that makes the guest from the archive.
    pub(super) fn load_call(
        &self,
        grip: &Grip,
        plan: &ImportPlan,
        path: &str,
        limit_bytes_per_second: Option<u64>,
    ) -> Argv {
        let kib = limit_bytes_per_second.map(|bytes| (bytes / 1024).max(1));
        match Handle::of(plan) {
            Ok(handle) => self.restore_call(grip, plan, &handle, path, kib),
            Err(error) => {
                script(r#"printf '%s\n' "$1" >&2; exit 1"#, "drs-import").arg(error.to_string())
            }
        }
    }
}

/// An archive on this machine that is being written.
struct Packing {
    feed: Feed,
    local: PathBuf,
}

#[async_trait]
impl ContentSink for Packing {
    async fn write(&mut self, piece: Piece) -> Result<(), DriverError> {
        let written = self.feed.write(piece).await;
        written.map_err(|error| not_packed(&self.local, error))
    }

    async fn finish(self: Box<Self>) -> Result<(), DriverError> {
        let Self { feed, local } = *self;
        feed.finish().await.map_err(|error| not_packed(&local, error))
    }
}

impl Output for Packer<File> {
    fn complete(self) -> io::Result<()> {
        let mut file = self.finish()?;
        file.flush()?;
        file.sync_all()
    }
}

fn not_packed(local: &Path, error: FeedError) -> DriverError {
    let path = local.to_owned();
    match error {
        FeedError::Misplaced(reason) => DriverError::Invalid(reason),
        FeedError::Output(source) => DriverError::Spool { path, source },
        FeedError::Abandoned => {
            DriverError::Spool { path, source: io::Error::other(error.to_string()) }
        }
    }
}

/// How far a load is by its log: done and total bytes. `qmrestore` tells both; `pct restore` nothing.
pub(super) fn progress(log: &str) -> Option<(u64, u64)> {
    let size = |line: &str| {
        let (_, rest) = line.strip_prefix("DEV: ")?.split_once(" size: ")?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    let read = |line: &str| {
        let (_, rest) = line.strip_prefix("progress ")?.split_once("(read ")?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    let total: u64 = log.lines().filter_map(size).sum();
    let done = log.lines().rev().find_map(read)?;
    (total > 0).then_some((done.min(total), total))
}

#[cfg(test)]
mod tests {
    use drs_model::{FaultClass, FaultCode};

    use super::*;

    #[test]
    fn a_spool_that_fills_is_told_as_this_machine_s_full_disk() {
        let full = FeedError::Output(io::ErrorKind::StorageFull.into());
        let fault = not_packed(Path::new("/spool/packing"), full).fault();
        assert_eq!((fault.class, fault.code), (FaultClass::Permanent, FaultCode::DiskFull));
        let broken = FeedError::Output(io::ErrorKind::ReadOnlyFilesystem.into());
        let fault = not_packed(Path::new("/spool/packing"), broken).fault();
        assert_eq!((fault.class, fault.code), (FaultClass::Transient, FaultCode::SpoolFailed));
    }

    #[test]
    fn trap_09_progress_of_a_restore_never_passes_its_end() {
        let text = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/proxmox/transcripts/qmrestore-new.txt"
        ));
        let (done, total) = progress(text).expect("a progress");
        assert_eq!(total, 8_388_608 + 1_573_376);
        assert!(done <= total && done > total / 100 * 99, "{done} of {total}");
        let beyond = text.replace("progress 100% (read ", "progress 101% (read 9");
        assert_eq!(progress(&beyond), Some((total, total)));
        let (early, _) = text.split_once("progress 20%").expect("a progress line");
        let (done, total) = progress(early).expect("a progress");
        assert!(done > 0 && done < total / 4, "{done} of {total}");
        assert_eq!(progress("restoring '/x' now..\nextracting archive '/x'\n"), None);
    }
}
