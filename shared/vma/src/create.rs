//! Makes an archive of files: configurations and raw disks.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Limit, VmaError};
use crate::format::*;
use crate::header::{Config, Device, Header};
use crate::totals::{Progress, Totals};
use crate::writer::Writer;

/// Bytes that are read at once from a disk.
const PIECE: usize = 16 * CLUSTER;
/// The ids that a device can have.
const IDS: std::ops::RangeInclusive<u8> = 1..=254;

/// What an archive is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The id of the new archive; it should be random.
    pub uuid: [u8; 16],
    /// When it is made, in seconds since 1970.
    pub created_at: i64,
    /// Files that become configurations under their own names, at most 65535 bytes each.
    pub configs: Vec<PathBuf>,
    /// The disks, in their order in the archive; ids are given from 1.
    pub disks: Vec<RawDisk>,
}

/// A raw disk: a file or a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawDisk {
    /// Its name in the archive: `drive-scsi0`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Writes an archive of `content` to `output`. Holes of the files are not read. `progress` is
/// called after every piece.
///
/// # Errors
/// A file fails or shrinks while it is read, a name or size has no place in an archive, or writing
/// fails. What was written so far is of no use then.
pub fn create<W: Write>(
    output: W,
    content: &Content,
    mut progress: impl FnMut(Progress),
) -> Result<(W, Totals), VmaError> {
    if content.disks.len() > IDS.len() {
        return Err(VmaError::Limit { at: 0, limit: Limit::Devices(content.disks.len()) });
    }
    let configs = content.configs.iter().map(|path| config(path)).collect::<Result<_, _>>()?;
    let disks = IDS.zip(&content.disks).map(|(id, disk)| Disk::open(id, disk));
    let disks = disks.collect::<Result<Vec<_>, _>>()?;
    let header = Header {
        uuid: content.uuid,
        created_at: content.created_at,
        configs,
        devices: disks.iter().map(|disk| disk.device.clone()).collect(),
    };
    let mut writer = Writer::new(output, &header)?;
    for disk in &disks {
        disk.copy(&mut writer, &mut progress)?;
    }
    writer.finish()
}

/// Reads a configuration; one that is too long is told from one that fits by one byte more.
fn config(path: &Path) -> Result<Config, VmaError> {
    let failed = |source| VmaError::File { path: path.to_owned(), source };
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?.to_owned();
    let mut data = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(u64::from(u16::MAX) + 1).read_to_end(&mut data).map_err(failed)?;
    Ok(Config { name, data })
}

/// A disk that is being read.
struct Disk<'a> {
    path: &'a Path,
    file: File,
    device: Device,
}

impl<'a> Disk<'a> {
    fn open(id: u8, disk: &'a RawDisk) -> Result<Self, VmaError> {
        let path = disk.path.as_path();
        let failed = |source| VmaError::File { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        // A block device has no length but an end.
        let size_bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self { path, file, device: Device { id, name: disk.name.clone(), size_bytes } })
    }

    /// Writes all pieces that are not holes; the writer makes zeros of the rest.
    fn copy<W: Write>(
        &self,
        writer: &mut Writer<W>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), VmaError> {
        let failed = |source| VmaError::File { path: self.path.to_owned(), source };
        let size = self.device.size_bytes;
        let mut buffer = vec![0; PIECE];
        let mut offset = self.data_from(0).map_err(failed)?;
        while offset < size {
            let length = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            self.file.read_exact_at(piece, offset).map_err(failed)?;
            writer.write(self.device.id, offset, piece)?;
            progress(writer.progress());
            offset = self.data_from(offset + length as u64).map_err(failed)?;
        }
        Ok(())
    }

    /// The start of the first cluster at or behind `offset` that is not in a hole.
    fn data_from(&self, offset: u64) -> io::Result<u64> {
        use rustix::fs::{SeekFrom, seek};
        match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => Ok(data - data % CLUSTER as u64),
            Err(rustix::io::Errno::NXIO) => Ok(self.device.size_bytes),
            // Not every file system and no pipe knows holes.
            Err(rustix::io::Errno::INVAL) => Ok(offset),
            Err(error) => Err(error.into()),
        }
    }
}
