//! `drs archive create`

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use drs_runtime::{Shutdown, clock};
use drs_vma::compression::Packer;
use drs_vma::{Compression, Content, RawDisk, VmaError};
use serde_json::json;
use uuid::Uuid;

use super::failure::{file_failed, not_made};
use super::progress::Bar;
use super::source::go_on;
use crate::args::archive::DiskFile;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, plain, units};

/// Bytes written at once.
const BUFFER: usize = 1 << 20;

pub(super) fn run(
    output: Output,
    file: &Path,
    configs: Vec<PathBuf>,
    disks: Vec<DiskFile>,
    stop: &Shutdown,
) -> Outcome<Exit> {
    disks.iter().try_for_each(has_bytes)?;
    let content = Content {
        uuid: *Uuid::now_v7().as_bytes(),
        created_at: clock::now().as_second(),
        configs,
        disks: disks.into_iter().map(|disk| RawDisk { name: disk.name, path: disk.path }).collect(),
    };
    if file == Path::new("-") {
        return to_standard_output(output, &content, stop);
    }
    let compression = wanted(file)?;
    let partial = Partial::create(file)?;
    let bytes = write(output, &partial, compression, &content, stop)?;
    partial.complete(file)?;
    let name = file.display().to_string();
    let document = json!({ "archive": name, "size_bytes": bytes });
    output.answer(&document, || format!("made {}, {}", plain(&name), units::bytes(bytes)))?;
    Ok(Exit::Success)
}

/// A disk's file has bytes, and an end: a device like /dev/zero would be taken for an empty one.
fn has_bytes(disk: &DiskFile) -> Outcome<()> {
    const REMEDY: &str = "Name a raw image or a block device.";
    let found = fs::metadata(&disk.path).map_err(|error| file_failed(&disk.path, &error))?;
    let name = disk.path.display();
    if !found.is_file() && !found.file_type().is_block_device() {
        return Err(Failure::invalid(format!("{name} is no file and no block device"), REMEDY));
    }
    if found.is_file() && found.len() == 0 {
        return Err(Failure::invalid(format!("{name} is empty: a disk has bytes"), REMEDY));
    }
    Ok(())
}

fn to_standard_output(output: Output, content: &Content, stop: &Shutdown) -> Outcome<Exit> {
    const NAME: &str = "standard output";
    let stdout = io::stdout();
    if stdout.is_terminal() {
        return Err(Failure::invalid(
            "an archive is not written to a terminal",
            "Send it to a program: `drs archive create - ... | ssh node qmrestore - 112`.",
        ));
    }
    let io_bad = |error: io::Error| file_failed(Path::new(NAME), &error);
    let file = File::from(stdout.as_fd().try_clone_to_owned().map_err(io_bad)?);
    let bar = Bar::new(output, "create");
    let (mut out, _) = drs_vma::create(buffered(file, stop), content, |at| bar.show(at))
        .map_err(|error| not_made(NAME, &error))?;
    out.flush().map_err(io_bad)?;
    Ok(Exit::Success)
}

/// The compression that the name asks for.
fn wanted(file: &Path) -> Outcome<Compression> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name {
        _ if name.ends_with(".vma") => Ok(Compression::None),
        _ if name.ends_with(".vma.zst") => Ok(Compression::Zstd),
        _ => Err(Failure::invalid(
            format!("{} ends neither in .vma nor in .vma.zst", file.display()),
            "Proxmox VE goes by the name; it takes archives called like \
             vzdump-qemu-112-2026_11_22-12_00_00.vma.zst.",
        )),
    }
}

fn write(
    output: Output,
    partial: &Partial,
    compression: Compression,
    content: &Content,
    stop: &Shutdown,
) -> Outcome<u64> {
    let name = partial.path.display().to_string();
    let bad = |error: VmaError| not_made(&name, &error);
    let io_bad = |error: io::Error| file_failed(&partial.path, &error);
    let out = buffered(partial.file.try_clone().map_err(io_bad)?, stop);
    let bar = Bar::new(output, "create");
    let mut out = if compression == Compression::Zstd {
        let packer = Packer::new(out).map_err(io_bad)?;
        let (packer, _) = drs_vma::create(packer, content, |at| bar.show(at)).map_err(bad)?;
        packer.finish().map_err(io_bad)?
    } else {
        drs_vma::create(out, content, |at| bar.show(at)).map_err(bad)?.0
    };
    out.flush().map_err(io_bad)?;
    partial.file.sync_all().map_err(io_bad)?;
    Ok(partial.file.metadata().map_err(io_bad)?.len())
}

fn buffered(file: File, stop: &Shutdown) -> BufWriter<Stoppable> {
    BufWriter::with_capacity(BUFFER, Stoppable { file, stop: stop.clone() })
}

/// A file that is written until the user interrupts.
struct Stoppable {
    file: File,
    stop: Shutdown,
}

impl Write for Stoppable {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        go_on(&self.stop)?;
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The archive until it is complete: under another name, and removed when anything fails.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn create(file: &Path) -> Outcome<Self> {
        if file.symlink_metadata().is_ok() {
            return Err(file_failed(file, &io::ErrorKind::AlreadyExists.into()));
        }
        let path = file.with_added_extension("partial");
        let file = File::create_new(&path).map_err(|error| file_failed(&path, &error))?;
        Ok(Self { path, file })
    }

    /// Gives it its name, unless that was taken meanwhile; dropping takes the other one.
    fn complete(self, name: &Path) -> Outcome<()> {
        use io::ErrorKind::{PermissionDenied, Unsupported};
        let named = match fs::hard_link(&self.path, name) {
            // Not every file system has links; a name that is free can be taken without one.
            Err(error)
                if matches!(error.kind(), PermissionDenied | Unsupported)
                    && name.symlink_metadata().is_err() =>
            {
                fs::rename(&self.path, name)
            }
            linked => linked,
        };
        named.map_err(|error| file_failed(name, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // The failure that led here is told; what cannot be removed still has its telling name.
        fs::remove_file(&self.path).unwrap_or_default();
    }
}
