//! Reading a disk: a thread of its own reads, checks and decompresses ahead into a bounded queue.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use drs_model::{DiskContent, Extent, PointId};
use tokio::sync::mpsc;

use super::point_files::damaged;
use super::root::{Root, stream_file};
use crate::stream::decode::Decoder;
use crate::stream::{self, StreamError};
use crate::{DiskReader, VaultError};

/// Extents that are read ahead: with the decoder's 2 MiB and the extents in hand on both sides a
/// reader holds at most 6 MiB.
const QUEUE_EXTENTS: usize = 2;
/// Gathers the small pieces of the stream; payloads pass it by.
const BUFFER_BYTES: usize = 64 * 1024;

/// One disk's stream held against its manifest entry.
pub(super) struct DiskSource {
    root: Arc<Root>,
    point: PointId,
    content: DiskContent,
    path: PathBuf,
    decoder: Decoder<BufReader<File>>,
}

impl DiskSource {
    /// Opens the stream of a disk of a complete point.
    pub(super) fn open(
        root: Arc<Root>,
        point: PointId,
        content: DiskContent,
    ) -> Result<Self, VaultError> {
        let path = root.point(point).join(stream_file(&content.name)?);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(point, format!("{} is missing", path.display())));
            }
            opened => opened.map_err(|error| root.failed(&path, error))?,
        };
        let found = file.metadata().map_err(|error| root.failed(&path, error))?.len();
        if found != content.stored_bytes {
            let what = format!(
                "{} has {found} bytes instead of {}: it was damaged at byte {} or behind",
                path.display(),
                content.stored_bytes,
                found.min(content.stored_bytes),
            );
            return Err(damaged(point, what));
        }
        let decoder = Decoder::new(BufReader::with_capacity(BUFFER_BYTES, file))
            .map_err(|error| explained(&root, point, &path, error))?;
        let source = Self { root, point, content, path, decoder };
        if let Some(size_bytes) = source.decoder.size_bytes() {
            source.expect("size", size_bytes, source.content.size_bytes)?;
        }
        Ok(source)
    }

    /// Bytes of the file that were read.
    pub(super) fn read_bytes(&self) -> u64 {
        self.decoder.read_bytes()
    }

    /// The next extent; `None` after the last, when all is as the manifest says.
    pub(super) fn next(&mut self) -> Result<Option<Extent>, VaultError> {
        let next = self
            .decoder
            .next()
            .map_err(|error| explained(&self.root, self.point, &self.path, error))?;
        if let Some(end) = self.decoder.end() {
            self.expect("size", end.size_bytes, self.content.size_bytes)?;
            self.expect("amount of data", end.data_bytes, self.content.data_bytes)?;
            self.expect("digest", end.digest.to_hex().as_str(), self.content.digest.as_str())?;
        }
        Ok(next)
    }

    fn expect<T: PartialEq + std::fmt::Display>(
        &self,
        what: &str,
        found: T,
        wanted: T,
    ) -> Result<(), VaultError> {
        if found == wanted {
            return Ok(());
        }
        let path = self.path.display();
        let damage = format!("{path}: its {what} is {found}, the manifest says {wanted}");
        Err(damaged(self.point, damage))
    }
}

fn explained(root: &Root, point: PointId, path: &Path, error: StreamError) -> VaultError {
    match error {
        StreamError::Io(error) => root.failed(path, error),
        StreamError::Damaged { at, what } => {
            damaged(point, format!("{}, byte {at}: {what}", path.display()))
        }
        StreamError::TooNew { found } => {
            VaultError::TooNew { path: path.display().to_string(), found, known: stream::VERSION }
        }
    }
}

/// A disk of a [`DirVault`](super::DirVault) that is being read.
pub(super) struct DirDiskReader {
    size_bytes: u64,
    point: PointId,
    /// `None` in it is the checked end of the disk.
    extents: mpsc::Receiver<Result<Option<Extent>, VaultError>>,
    ended: bool,
}

impl DirDiskReader {
    /// Begins to read ahead. Must be called in a tokio runtime.
    pub(super) fn begin(mut source: DiskSource) -> Self {
        let (queue, extents) = mpsc::channel(QUEUE_EXTENTS);
        let (size_bytes, point) = (source.content.size_bytes, source.point);
        tokio::task::spawn_blocking(move || {
            loop {
                let next = source.next();
                let last = !matches!(next, Ok(Some(_)));
                if queue.blocking_send(next).is_err() || last {
                    return;
                }
            }
        });
        Self { size_bytes, point, extents, ended: false }
    }
}

#[async_trait]
impl DiskReader for DirDiskReader {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    async fn next(&mut self) -> Result<Option<Extent>, VaultError> {
        if self.ended {
            return Ok(None);
        }
        match self.extents.recv().await {
            Some(Ok(None)) => {
                self.ended = true;
                Ok(None)
            }
            Some(next) => next,
            None => Err(VaultError::Misuse(format!("reading of {} ended before", self.point))),
        }
    }
}
