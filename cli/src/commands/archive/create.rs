//! `drs archive create`

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use drs_runtime::clock;
use drs_vma::compression::Packer;
use drs_vma::{Compression, Content, RawDisk, VmaError};
use serde_json::json;
use uuid::Uuid;

use super::failure::{failed, file_failed};
use super::progress::Bar;
use crate::args::archive::DiskFile;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, units};

pub(super) fn run(
    output: Output,
    file: &Path,
    configs: Vec<PathBuf>,
    disks: Vec<DiskFile>,
) -> Outcome<Exit> {
    let content = Content {
        uuid: *Uuid::now_v7().as_bytes(),
        created_at: clock::now().as_second(),
        configs,
        disks: disks.into_iter().map(|disk| RawDisk { name: disk.name, path: disk.path }).collect(),
    };
    if file == Path::new("-") {
        return to_standard_output(output, &content);
    }
    let compression = wanted(file)?;
    let partial = Partial::create(file)?;
    let bytes = write(output, &partial, compression, &content)?;
    partial.complete(file)?;
    let document = json!({ "archive": file, "size_bytes": bytes });
    output.answer(&document, || {
        format!("made {}, {} of archive", file.display(), units::bytes(bytes))
    })?;
    Ok(Exit::Success)
}

fn to_standard_output(output: Output, content: &Content) -> Outcome<Exit> {
    if io::stdout().is_terminal() {
        return Err(Failure::invalid(
            "an archive is not written to a terminal",
            "Send it to a file or a program: `drs archive create - ... | ssh node qmrestore - 112`.",
        ));
    }
    let out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let mut bar = Bar::new(output, "create");
    let made = drs_vma::create(out, content, |progress| bar.show(progress));
    bar.end();
    let (mut out, _) = made.map_err(|error| failed("standard output", &error))?;
    out.flush().map_err(|error| file_failed(Path::new("standard output"), &error))?;
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
) -> Outcome<u64> {
    let name = partial.path.display().to_string();
    let bad = |error: &VmaError| failed(&name, error);
    let io_bad = |error: io::Error| file_failed(&partial.path, &error);
    let out = BufWriter::with_capacity(1 << 20, partial.file.try_clone().map_err(io_bad)?);
    let mut bar = Bar::new(output, "create");
    let mut show = |progress| bar.show(progress);
    let mut out = if compression == Compression::Zstd {
        let packer = Packer::new(out).map_err(io_bad)?;
        let (packer, _) = drs_vma::create(packer, content, &mut show).map_err(|e| bad(&e))?;
        packer.finish().map_err(io_bad)?
    } else {
        drs_vma::create(out, content, &mut show).map_err(|error| bad(&error))?.0
    };
    bar.end();
    out.flush().map_err(io_bad)?;
    partial.file.sync_all().map_err(io_bad)?;
    Ok(partial.file.metadata().map_err(io_bad)?.len())
}

/// The archive until it is complete: under another name, and removed when anything fails.
struct Partial {
    path: PathBuf,
    file: File,
    complete: bool,
}

impl Partial {
    fn create(file: &Path) -> Outcome<Self> {
        if file.symlink_metadata().is_ok() {
            return Err(file_failed(file, &io::ErrorKind::AlreadyExists.into()));
        }
        let mut path = file.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        let file = File::create_new(&path).map_err(|error| file_failed(&path, &error))?;
        Ok(Self { path, file, complete: false })
    }

    /// Gives it its name, unless that was taken meanwhile.
    fn complete(mut self, name: &Path) -> Outcome<()> {
        fs::hard_link(&self.path, name).map_err(|error| file_failed(name, &error))?;
        self.complete = true;
        fs::remove_file(&self.path).map_err(|error| file_failed(&self.path, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.complete {
            // The failure that led here is told; what cannot be removed still has its telling name.
            fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}
