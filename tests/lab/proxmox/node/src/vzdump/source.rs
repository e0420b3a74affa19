//! The disks of a VM as one instant shows them, and their copy into an archive.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use drs_vma::{VmaError, Writer};
use rustix::fs::SeekFrom as Extent;

use crate::config::{Config, Volume};
use crate::failure::{Done, Failure, message};
use crate::machine::Machine;
use crate::node::{self, Node};
use crate::storage;

use super::compressor::Sink;
use super::log::Log;
use super::progress::Progress;

/// Copied at a time; whole clusters.
const CHUNK: usize = 1 << 20;
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// A disk that goes into the archive.
pub(super) struct Disk {
    pub(super) key: String,
    pub(super) volume: Volume,
    pub(super) size: u64,
    path: PathBuf,
}

impl Disk {
    pub(super) fn all(node: &Node, config: &Config) -> Done<Vec<Self>> {
        let included = config.disks().into_iter().filter(|(_, volume)| !volume.is_excluded());
        included
            .map(|(key, volume)| {
                let path = node.file(storage::path(node, &volume.id)?);
                let size = virtual_size(&path, storage::format_of(&volume.id))
                    .map_err(|_| Failure::new(format!("no such volume '{}'", volume.id)))?;
                Ok(Self { key, volume, size, path })
            })
            .collect()
    }

    fn format(&self) -> &str {
        storage::format_of(&self.volume.id)
    }

    /// Its line in the archive's configuration, which says where it belongs.
    pub(super) fn map_line(&self) -> String {
        let store = self.volume.id.split(':').next().unwrap_or_default();
        format!("#qmdump#map:{0}:drive-{0}:{store}:{1}:\n", self.key, self.format())
    }

    /// A file without a name that holds the disk's content of now.
    fn copy(&self) -> Done<File> {
        let beside = self.path.with_extension(format!("vzdump-{}", std::process::id()));
        let copied = if self.format() == "raw" {
            copy_sparse(&self.path, &beside)
        } else {
            raw_of(&self.path, self.format(), &beside)
        };
        let opened = copied.and_then(|()| Ok(File::open(&beside)?));
        fs::remove_file(&beside).ok();
        opened
    }
}

/// The disks' contents: of a machine that runs, all at one instant.
pub(super) fn open(machine: &Machine<'_>, disks: &[Disk], runs: bool) -> Done<Vec<File>> {
    if !runs {
        let plain = |disk: &Disk| {
            if disk.format() == "raw" { Ok(File::open(&disk.path)?) } else { disk.copy() }
        };
        return disks.iter().map(plain).collect();
    }
    machine.pause()?;
    let copies = disks.iter().map(Disk::copy).collect();
    machine.resume()?;
    copies
}

/// Copies a disk into the archive, in order, holes as zeros.
pub(super) fn stream(
    writer: &mut Writer<Sink>,
    device: u8,
    (file, size): (&mut File, u64),
    progress: &mut Progress,
    log: &mut Log<'_>,
) -> Done {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    let mut data = next_data(file, 0, size);
    while at < size {
        if at >= data.end {
            data = next_data(file, at, size);
        }
        let length = usize::try_from(size - at).map_or(CHUNK, |rest| rest.min(CHUNK));
        let zero = if at + length as u64 <= data.start {
            writer.write(device, at, ZEROS.get(..length).unwrap_or_default()).map_err(words)?;
            length as u64
        } else {
            let part = buffer.get_mut(..length).unwrap_or_default();
            read_at(file, at, part)?;
            writer.write(device, at, part).map_err(words)?;
            zero_bytes(part)
        };
        at += length as u64;
        progress.add(log, length as u64, zero)?;
    }
    Ok(())
}

/// The next stretch that is not a hole.
fn next_data(file: &File, at: u64, size: u64) -> std::ops::Range<u64> {
    let Ok(start) = rustix::fs::seek(file, Extent::Data(at)) else { return size..size };
    let end = rustix::fs::seek(file, Extent::Hole(start)).unwrap_or(size);
    start..end.min(size)
}

/// A disk that is shorter than its configuration says reads as zeros there.
fn read_at(file: &mut File, at: u64, part: &mut [u8]) -> Done {
    file.seek(SeekFrom::Start(at))?;
    let mut got = 0;
    while let Some(rest) = part.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => {
                rest.fill(0);
                break;
            }
            more => got += more,
        }
    }
    Ok(())
}

fn zero_bytes(part: &[u8]) -> u64 {
    let is_zero = |block: &&[u8]| ZEROS.get(..block.len()) == Some(*block);
    part.chunks(4096).filter(is_zero).map(|block| block.len() as u64).sum()
}

/// An error of the archive writer in QEMU's words.
pub(super) fn words(error: VmaError) -> Failure {
    match error {
        VmaError::Write { source, .. } => {
            Failure::new(format!("vma_queue_write: write error - {}", message(&source)))
        }
        other => Failure::new(other.to_string()),
    }
}

fn copy_sparse(from: &Path, to: &Path) -> Done {
    let source = File::open(from)?;
    let target = OpenOptions::new().write(true).create(true).truncate(true).open(to)?;
    let size = source.metadata()?.len();
    target.set_len(size)?;
    let mut at = 0;
    while at < size {
        let data = next_data(&source, at, size);
        let (mut offset_in, mut offset_out) = (data.start, data.start);
        while offset_in < data.end {
            let length = usize::try_from(data.end - offset_in).unwrap_or(CHUNK);
            let copied = rustix::fs::copy_file_range(
                &source,
                Some(&mut offset_in),
                &target,
                Some(&mut offset_out),
                length,
            )?;
            if copied == 0 {
                break;
            }
        }
        at = data.end;
    }
    Ok(())
}

fn raw_of(from: &Path, format: &str, to: &Path) -> Done {
    let (from, to) = (from.display().to_string(), to.display().to_string());
    node::program("qemu-img", &["convert", "-U", "-f", format, "-O", "raw", &from, &to]).map(|_| ())
}

/// The size that the guest sees.
pub(crate) fn virtual_size(path: &Path, format: &str) -> Done<u64> {
    if format == "raw" {
        return Ok(fs::metadata(path)?.len());
    }
    let file = path.display().to_string();
    let info = node::program("qemu-img", &["info", "-U", "--output=json", "-f", format, &file])?;
    let info: serde_json::Value = serde_json::from_slice(&info).unwrap_or_default();
    info["virtual-size"].as_u64().ok_or_else(|| Failure::new("qemu-img tells no size"))
}
