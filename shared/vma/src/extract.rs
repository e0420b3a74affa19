//! Lays an archive out as files: a sparse raw file for each disk, and the configurations.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::error::VmaError;
use crate::header::{Device, Header};
use crate::reader::{EXTENTS_AHEAD, Piece, Reader};
use crate::totals::{Progress, Totals};

/// Extracts the archive into `directory`, which must not exist: `disk-<device>.raw` for each
/// device, and each configuration under its own name. Until all is there the directory is called
/// `<directory>.partial`; when anything fails, that is removed. The files are as durable as those
/// of a copy: the system writes them to the disk when it sees fit. `progress` is called after
/// every extent.
///
/// # Errors
/// `directory` or its partial form exists, the archive is damaged, or a file fails.
pub fn extract<R: Read>(
    mut reader: Reader<R>,
    directory: &Path,
    mut progress: impl FnMut(Progress),
) -> Result<Totals, VmaError> {
    let failed = |source| VmaError::File { path: directory.to_owned(), source };
    if directory.symlink_metadata().is_ok() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    let partial = Partial::create(directory)?;
    let disks = Disks::create(&partial.path, reader.header())?;
    copy(&mut reader, &disks, &mut progress)?;
    fs::rename(&partial.path, directory).map_err(failed)?;
    partial.complete();
    Ok(reader.totals())
}

/// Reads on this thread and writes on another. One alone writes: two would wait for each other at
/// the lock of the file, and scatter it on the disk.
/// the file, and scatter it on the disk.
fn copy<R: Read>(
    reader: &mut Reader<R>,
    disks: &Disks,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), VmaError> {
    let (sender, receiver) = sync_channel(EXTENTS_AHEAD);
    thread::scope(|scope| {
        let writer = scope.spawn(move || disks.write_all(receiver));
        let mut read = || {
            while let Some(pieces) = reader.next_pieces()? {
                if sender.send(pieces).is_err() {
                    // Writing failed, which the other side tells.
                    break;
                }
                progress(reader.progress());
            }
            Ok(())
        };
        let read = read();
        drop(sender);
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.and(written)
    })
}

/// The directory until it is complete.
struct Partial {
    path: PathBuf,
    complete: bool,
}

impl Partial {
    fn create(directory: &Path) -> Result<Self, VmaError> {
        let path = directory.with_added_extension("partial");
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self { path, complete: false }),
            Err(source) => Err(VmaError::File { path, source }),
        }
    }

    fn complete(mut self) {
        self.complete = true;
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.complete {
            // The failure that led here is told; what cannot be removed still has its telling name.
            fs::remove_dir_all(&self.path).unwrap_or_default();
        }
    }
}

/// The files of the disks, by device.
struct Disks(BTreeMap<u8, (PathBuf, File)>);

impl Disks {
    /// Writes the configurations and makes every disk a hole of its full size.
    fn create(directory: &Path, header: &Header) -> Result<Self, VmaError> {
        for config in &header.configs {
            new_file(&directory.join(&config.name), |file| file.write_all(&config.data))?;
        }
        let disk = |device: &Device| {
            let path = directory.join(format!("disk-{}.raw", device.name));
            let file = new_file(&path, |file| file.set_len(device.size_bytes))?;
            Ok((device.id, (path, file)))
        };
        header.devices.iter().map(disk).collect::<Result<_, _>>().map(Self)
    }

    fn write_all(&self, batches: Receiver<Vec<Piece>>) -> Result<(), VmaError> {
        for piece in batches.into_iter().flatten() {
            if let Some((path, file)) = self.0.get(&piece.device) {
                file.write_all_at(&piece.data, piece.offset)
                    .map_err(|source| VmaError::File { path: path.clone(), source })?;
            }
        }
        Ok(())
    }
}

/// Makes a file that did not exist and fills it.
fn new_file(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<File, VmaError> {
    File::create_new(path)
        .and_then(|mut file| fill(&mut file).map(|()| file))
        .map_err(|source| VmaError::File { path: path.to_owned(), source })
}
