//! The disks of imported VMs: sparse files that hold exactly what was written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use drs_model::Extent;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::DriverError;

/// How much is read at once.
const CHUNK: u64 = 256 * 1024;

/// One pass over an image.
pub(super) struct ImageReader {
    disk: String,
    file: File,
    size_bytes: u64,
    position: u64,
}

impl ImageReader {
    pub(super) fn open(path: &Path) -> Result<Self, DriverError> {
        let disk = path.display().to_string();
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size_bytes, file) = opened.map_err(|error| broken(&disk, &error))?;
        Ok(Self { disk, file, size_bytes, position: 0 })
    }

    /// The next run of data, `None` behind the last one.
    pub(super) fn next(&mut self) -> Result<Option<Extent>, DriverError> {
        self.read().map_err(|error| broken(&self.disk, &error))
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

/// An image that is being written.
pub(super) struct ImageWriter {
    host: String,
    path: PathBuf,
    file: File,
    size_bytes: u64,
}

impl ImageWriter {
    pub(super) fn open(host: &str, path: &Path, size_bytes: u64) -> Result<Self, DriverError> {
        let (host, path) = (host.to_owned(), path.to_owned());
        let opened = File::options().write(true).open(&path);
        let file = opened.map_err(|error| broken(&path.display(), &error))?;
        Ok(Self { host, path, file, size_bytes })
    }

    /// Refuses what does not fit.
    pub(super) fn fits(&self, extent: &Extent) -> Result<(), DriverError> {
        let (offset, length) = (extent.offset, extent.data.len());
        let end = offset.checked_add(length as u64);
        if length > Extent::BYTES_MAX || end.is_none_or(|end| end > self.size_bytes) {
            return Err(DriverError::Invalid(format!(
                "{length} bytes at {offset} do not fit on a disk of {} bytes (at most {} at once)",
                self.size_bytes,
                Extent::BYTES_MAX
            )));
        }
        Ok(())
    }

    pub(super) fn write(&self, extent: &Extent) -> Result<(), DriverError> {
        self.file.write_all_at(&extent.data, extent.offset).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => DriverError::HostFull {
                host: self.host.clone(),
                what: self.path.display().to_string(),
            },
            _ => broken(&self.path.display(), &error),
        })
    }
}

fn broken(disk: &dyn std::fmt::Display, error: &io::Error) -> DriverError {
    DriverError::Stream { disk: format!("image {disk}"), reason: error.to_string() }
}
