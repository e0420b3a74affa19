//! The worker's own folder for archives on their way.
//!
//! `SPOOL/JOB/` holds what a staged job has fetched or is to push. It belongs to one machine: a job that
//! goes on elsewhere fetches or packs again. What is in it is removed when the job needs it no more or
//! undoes it, and with all jobs that are over when a process starts.

use std::io;
use std::path::{Path, PathBuf};

use drs_backend::Backend;
use drs_model::{Fault, JobId};
use drs_transport::Rsync;

/// Where archives lie, and what brings them there and away.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    root: PathBuf,
    /// Moves archives between the spool and hosts.
    pub(crate) rsync: Rsync,
}

impl Spool {
    pub(crate) fn new(root: &Path, rsh_program: &Path) -> Self {
        Self { root: root.to_owned(), rsync: Rsync::new(rsh_program) }
    }

    /// The path of a job's file, in a folder that is there.
    pub(crate) async fn file(&self, job: JobId, name: &str) -> Result<PathBuf, Fault> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(Fault::internal(format!("{name:?} is no name for a spooled file")));
        }
        let folder = self.folder(job);
        let mut builder = tokio::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&folder).await.map_err(|error| Fault::spool(&folder, &error))?;
        Ok(folder.join(name))
    }

    /// Removes everything of a job.
    pub(crate) async fn clear(&self, job: JobId) -> Result<(), Fault> {
        let folder = self.folder(job);
        match tokio::fs::remove_dir_all(&folder).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Fault::spool(&folder, &error))
            }
            _ => Ok(()),
        }
    }

    fn folder(&self, job: JobId) -> PathBuf {
        self.root.join(job.to_string())
    }
}

/// Removes from a worker's spool folder what belongs to jobs that are over. Of jobs that are not known to
/// be over, nothing is touched; nor is anything that no job made.
pub async fn tidy_spool(backend: &Backend, spool: &Path) {
    let mut entries = match tokio::fs::read_dir(spool).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return tracing::warn!(%error, "the spool is tidied at the next start"),
    };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<JobId>().ok()) else { continue };
        let over = match backend.job(id).await {
            Ok(job) => job.is_some_and(|job| job.state.is_terminal()),
            Err(error) => return tracing::warn!(%error, "the spool is tidied at the next start"),
        };
        if over && let Err(error) = tokio::fs::remove_dir_all(entry.path()).await {
            tracing::warn!(job = %id, %error, "its spooled files are removed at the next start");
        }
    }
}
