//! The disks of imported VMs: sparse files that hold exactly what was written.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use drs_model::Extent;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::pace::Pace;
use crate::{DiskSink, DiskSource, DriverError};

/// How much is read at once.
const CHUNK: u64 = 256 * 1024;

/// One pass over an image.
pub(super) struct ImageSource {
    disk: String,
    file: File,
    size_bytes: u64,
    position: u64,
    pace: Pace,
}

impl ImageSource {
    pub(super) fn open(path: &Path, pace: Pace) -> Result<Self, DriverError> {
        let disk = path.display().to_string();
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size_bytes, file) = opened.map_err(|error| broken(&disk, &error))?;
        Ok(Self { disk, file, size_bytes, position: 0, pace })
    }

    fn read(&mut self) -> io::Result<Option<Extent>> {
        let data = match rustix::fs::seek(&self.file, SeekFrom::Data(self.position)) {
            Ok(data) => data,
            Err(Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let offset = self.position.max(data / CHUNK * CHUNK);
        let mut bytes = vec![0; CHUNK.min(self.size_bytes - offset) as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        self.position = offset + bytes.len() as u64;
        Ok(Some(Extent { offset, data: Bytes::from(bytes) }))
    }
}

#[async_trait]
impl DiskSource for ImageSource {
    fn data_bytes(&self) -> u64 {
        self.file.metadata().map_or(self.size_bytes, |file| file.blocks() * 512)
    }

    async fn next(&mut self) -> Result<Option<Extent>, DriverError> {
        let extent = self.read().map_err(|error| broken(&self.disk, &error))?;
        let done = extent.as_ref().map_or(self.size_bytes, |extent| extent.offset);
        self.pace.reach(done, self.size_bytes).await?;
        Ok(extent)
    }
}

/// An image that is being written.
pub(super) struct ImageSink {
    host: String,
    path: PathBuf,
    file: File,
    size_bytes: u64,
    pace: Pace,
}

impl ImageSink {
    pub(super) fn open(
        host: &str,
        path: &Path,
        size_bytes: u64,
        pace: Pace,
    ) -> Result<Self, DriverError> {
        let (host, path) = (host.to_owned(), path.to_owned());
        let opened = File::options().write(true).open(&path);
        let file = opened.map_err(|error| broken(&path.display(), &error))?;
        Ok(Self { host, path, file, size_bytes, pace })
    }
}

#[async_trait]
impl DiskSink for ImageSink {
    async fn write(&mut self, extent: Extent) -> Result<(), DriverError> {
        let (offset, length) = (extent.offset, extent.data.len());
        let end = offset.checked_add(length as u64);
        if length > Extent::BYTES_MAX || end.is_none_or(|end| end > self.size_bytes) {
            return Err(DriverError::Invalid(format!(
                "{length} bytes at {offset} do not fit on a disk of {} bytes (at most {} at once)",
                self.size_bytes,
                Extent::BYTES_MAX
            )));
        }
        self.pace.reach(offset, self.size_bytes).await?;
        self.file.write_all_at(&extent.data, offset).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => DriverError::HostFull {
                host: self.host.clone(),
                what: self.path.display().to_string(),
            },
            _ => broken(&self.path.display(), &error),
        })
    }

    async fn finish(mut self: Box<Self>) -> Result<(), DriverError> {
        self.pace.reach(self.size_bytes, self.size_bytes).await
    }
}

fn broken(disk: &dyn std::fmt::Display, error: &io::Error) -> DriverError {
    DriverError::Stream { disk: disk.to_string(), reason: error.to_string() }
}
