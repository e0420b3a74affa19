//! Archives as they are read: decoded in a thread of their own, handed out in pieces.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use drs_model::{Extent, Piece, VmForm, VmSpec};
use drs_vma::compression::{self, Unpacked};
use drs_vma::{Header, Reader, VmaError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::export::Handle;
use super::tar_source::{TarError, TarHead, TarReader};
use super::{ProxmoxDriver, vma_source};
use crate::{ContentSource, DriverError, StagedArchive};

/// Most pieces that wait for their reader: they share the memory of at most so many extents of 4 MiB.
const PIECES_MAX: usize = 4;
/// Bytes read from the input at once where the format asks for less.
const BUFFER: usize = 64 << 10;
/// A container's archive has one content; this stands for it where a VMA has devices.
const TAR: u8 = 1;

/// Why an archive was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// A machine's.
    #[error("{}", told(.0))]
    Vma(#[from] VmaError),
    /// A container's.
    #[error("{0}")]
    Tar(#[from] TarError),
    /// It does not decompress.
    #[error("{0}")]
    Packing(#[from] std::io::Error),
    /// The thread that reads it is gone: the program is being shut down.
    #[error("reading was given up")]
    Abandoned,
}

fn told(error: &VmaError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// What stands at an archive's beginning.
#[derive(Debug)]
pub(super) enum Head {
    /// Of a machine.
    Machine(Header),
    /// Of a container.
    Container(TarHead),
}

impl Head {
    /// Reads the head from the first bytes of an archive.
    pub(super) fn read(form: VmForm, bytes: &[u8]) -> Result<Self, ArchiveError> {
        Ok(match form {
            VmForm::Machine => Self::Machine(Reader::open(bytes)?.header().clone()),
            VmForm::Container => Self::Container(TarReader::open(bytes)?.head().clone()),
        })
    }

    /// What tells the archive from another one of the same guest, where the format has such a thing.
    pub(super) fn identity(&self) -> String {
        match self {
            Self::Machine(header) => header.uuid.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Container(_) => String::new(),
        }
    }
}

/// A part of a device, and how much of all devices is covered with it.
struct Part {
    device: u8,
    extent: Extent,
    covered: u64,
}

/// An archive that is being read.
pub(super) struct Decoding {
    /// What it begins with.
    pub(super) head: Head,
    parts: mpsc::Receiver<Result<Option<Part>, ArchiveError>>,
    position: u64,
}

impl Decoding {
    /// Begins to read; returns when the head is in hand. The reading thread lives until the input
    /// ends or fails.
    pub(super) async fn begin(
        form: VmForm,
        input: impl Read + Send + 'static,
    ) -> Result<Self, ArchiveError> {
        let (tell, head) = oneshot::channel();
        let (send, parts) = mpsc::channel(PIECES_MAX);
        let input = BufReader::with_capacity(BUFFER, input);
        // It tells its end through the channels; nobody waits for it.
        drop(spawn_blocking(move || match form {
            VmForm::Machine => read_vma(input, tell, &send),
            VmForm::Container => read_tar(input, tell, &send),
        }));
        let head = head.await.map_err(|_| ArchiveError::Abandoned)??;
        Ok(Self { head, parts, position: 0 })
    }

    /// The next part of a device, None when the archive was complete.
    async fn next(&mut self) -> Result<Option<(u8, Extent)>, ArchiveError> {
        let part = self.parts.recv().await.unwrap_or(Err(ArchiveError::Abandoned))?;
        match (&part, &self.head) {
            (Some(part), _) => self.position = part.covered,
            // Behind the last part there may be holes.
            (None, Head::Machine(header)) => {
                self.position = header.devices.iter().map(|device| device.size_bytes).sum();
            }
            (None, Head::Container(_)) => {}
        }
        Ok(part.map(|Part { device, extent, .. }| (device, extent)))
    }

    /// Bytes covered so far, holes included; of a container's archive its length so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Which content each device is.
    ///
    /// # Errors
    /// The archive holds something else than was announced.
    pub(super) fn contents(&self, spec: &VmSpec) -> Result<BTreeMap<u8, usize>, String> {
        match &self.head {
            Head::Machine(header) => vma_source::contents(header, spec),
            Head::Container(_) => Ok(BTreeMap::from([(TAR, 0)])),
        }
    }
}

type Tell = oneshot::Sender<Result<Head, ArchiveError>>;
/// None stands behind the last part.
type Parts = mpsc::Sender<Result<Option<Part>, ArchiveError>>;

fn read_vma(input: impl Read, tell: Tell, parts: &Parts) {
    let mut reader = match Reader::open(input) {
        Ok(reader) => reader,
        Err(error) => return drop(tell.send(Err(error.into()))),
    };
    let header = reader.header().clone();
    let whole: u64 = header.devices.iter().map(|device| device.size_bytes).sum();
    drop(tell.send(Ok(Head::Machine(header))));
    let mut next = || {
        let Some(piece) = reader.next()? else { return Ok(None) };
        let covered = reader.totals().clusters.saturating_mul(CLUSTER).min(whole);
        let extent = Extent { offset: piece.offset, data: piece.data };
        Ok(Some(Part { device: piece.device, extent, covered }))
    };
    hand_out(&mut next, parts);
}

/// Bytes of a device that a cluster of a VMA stands for.
const CLUSTER: u64 = 64 << 10;

fn read_tar(input: impl Read, tell: Tell, parts: &Parts) {
    let mut reader = match TarReader::open(input) {
        Ok(reader) => reader,
        Err(error) => return drop(tell.send(Err(error.into()))),
    };
    drop(tell.send(Ok(Head::Container(reader.head().clone()))));
    let mut next = || {
        let Some(extent) = reader.next()? else { return Ok(None) };
        let covered = extent.end();
        Ok(Some(Part { device: TAR, extent, covered }))
    };
    hand_out(&mut next, parts);
}

/// Hands out every part, then the end or the error, as long as somebody takes them.
fn hand_out(next: &mut dyn FnMut() -> Result<Option<Part>, ArchiveError>, parts: &Parts) {
    loop {
        let part = next();
        let last = !matches!(part, Ok(Some(_)));
        if parts.blocking_send(part).is_err() || last {
            return;
        }
    }
}

/// How a source that has come to its end learns whether that was all.
#[async_trait]
pub(super) trait Ending: Send {
    /// Confirms that an archive which was complete in itself, of so many bytes covered, is the whole
    /// backup.
    async fn confirm(&mut self, covered: u64) -> Result<(), DriverError>;

    /// Why reading failed, when more is known than the archive itself tells.
    async fn explain(&mut self, error: ArchiveError) -> DriverError;
}

/// The contents of an archive.
pub(super) struct ArchiveSource<E> {
    decoding: Decoding,
    contents: BTreeMap<u8, usize>,
    ending: E,
    ended: bool,
}

impl<E: Ending> ArchiveSource<E> {
    /// The source of an archive whose devices are these contents.
    pub(super) fn new(decoding: Decoding, contents: BTreeMap<u8, usize>, ending: E) -> Self {
        Self { decoding, contents, ending, ended: false }
    }
}

#[async_trait]
impl<E: Ending> ContentSource for ArchiveSource<E> {
    fn position_bytes(&self) -> u64 {
        self.decoding.position()
    }

    async fn next(&mut self) -> Result<Option<Piece>, DriverError> {
        while !self.ended {
            match self.decoding.next().await {
                Ok(Some((device, extent))) => {
                    if let Some(&content) = self.contents.get(&device) {
                        return Ok(Some(Piece { content, extent }));
                    }
                }
                Ok(None) => {
                    self.ending.confirm(self.decoding.position()).await?;
                    self.ended = true;
                }
                Err(error) => return Err(self.ending.explain(error).await),
            }
        }
        Ok(None)
    }
}

/// An archive that lies here in whole.
struct Fetched {
    name: String,
    /// Length of a container's archive, as the host told it.
    tar_bytes: Option<u64>,
}

#[async_trait]
impl Ending for Fetched {
    async fn confirm(&mut self, covered: u64) -> Result<(), DriverError> {
        match self.tar_bytes {
            Some(told) if told != covered => Err(broken(
                &self.name,
                format!("it holds {covered} bytes, the node had written {told}"),
            )),
            _ => Ok(()),
        }
    }

    async fn explain(&mut self, error: ArchiveError) -> DriverError {
        broken(&self.name, error)
    }
}

/// What is read of this archive is not to be trusted.
pub(super) fn broken(archive: &str, reason: impl std::fmt::Display) -> DriverError {
    DriverError::Stream { disk: archive.to_owned(), reason: reason.to_string() }
}

impl ProxmoxDriver {
    pub(super) async fn unpack_archive(
        &self,
        archive: &StagedArchive,
        local: &Path,
    ) -> Result<Box<dyn ContentSource>, DriverError> {
        let name = archive.file_name();
        let Some(export) = &archive.export else {
            return Err(DriverError::Invalid(format!("{name} is no dump")));
        };
        let spec = &export.description.spec;
        let handle = Handle::of(export)?;
        let failed = |reason: &dyn std::fmt::Display| broken(name, reason);
        let plain = open_file(local.to_owned(), name.to_owned()).await?;
        let decoding = Decoding::begin(spec.form, plain).await.map_err(|error| failed(&error))?;
        if handle.archive != decoding.head.identity() {
            return Err(failed(&"it is not the archive that the node told of"));
        }
        let contents = decoding.contents(spec).map_err(|reason| failed(&reason))?;
        let ending = Fetched { name: name.to_owned(), tar_bytes: handle.tar_bytes };
        Ok(Box::new(ArchiveSource::new(decoding, contents, ending)))
    }
}

/// Opens an archive whose packing is what its name says, for that is how Proxmox's tools go by it.
async fn open_file(local: PathBuf, name: String) -> Result<Unpacked<File>, DriverError> {
    let opened = spawn_blocking(move || {
        let plain = compression::open(File::open(&local).map_err(|error| broken(&name, error))?);
        let plain = plain.map_err(|error| broken(&name, error))?;
        plain.compression().check_name(&name).map_err(|error| broken(&name, error))?;
        Ok(plain)
    });
    opened.await.unwrap_or(Err(broken("archive", ArchiveError::Abandoned)))
}
