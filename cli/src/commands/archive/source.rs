//! Where an archive comes from.

use std::fs::File;
use std::io::{self, Cursor, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;

use drs_model::{Fault, FaultCode};
use drs_runtime::Shutdown;
use drs_vma::Compression;
use drs_vma::compression::{self, Unpacked};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Advice, fadvise};

use super::failure::{file_failed, read_failed};
use crate::failure::{Failure, Outcome};

/// An archive's bytes, unpacked.
pub(super) type Input = io::Chain<Cursor<Vec<u8>>, Unpacked<Watched>>;

/// How much of an archive is looked at to see what it is.
const START: u64 = 512;

/// What is known of an archive before it is read.
pub(super) struct Source {
    /// Its path, or `standard input`.
    pub(super) name: String,
    pub(super) compression: Compression,
}

/// What an archive is of, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Machine,
    Container,
    Unknown,
}

impl Kind {
    fn of(start: &[u8]) -> Self {
        match (start.starts_with(b"VMA\0"), start.get(257..262)) {
            (true, _) => Self::Machine,
            (false, Some(b"ustar")) => Self::Container,
            (false, _) => Self::Unknown,
        }
    }
}

impl Source {
    /// Opens a file, or standard input when it is called `-`. A file whose name says something else
    /// than it is is refused: Proxmox's tools go by the name and could not restore it.
    pub(super) fn open(path: &Path, stop: &Shutdown) -> Outcome<(Self, Input)> {
        let (name, raw) = match path.to_str() {
            Some("-") => ("standard input".to_owned(), standard_input()?),
            _ => {
                let file = File::open(path).map_err(|error| file_failed(path, &error))?;
                // Lets the system read further ahead; one that cannot reads as before.
                fadvise(&file, 0, None, Advice::Sequential).unwrap_or_default();
                (path.display().to_string(), file)
            }
        };
        let bad = |error: io::Error| read_failed(name.clone(), &error);
        let input = compression::open(Watched { file: raw, stop: stop.clone() }).map_err(bad)?;
        let compression = input.compression();
        let mut start = input.take(START);
        let mut begun = Vec::new();
        start.read_to_end(&mut begun).map_err(bad)?;
        if begun.is_empty() {
            return Err(empty(&name));
        }
        let kind = Kind::of(&begun);
        if kind != Kind::Unknown && path != Path::new("-") {
            named_rightly(&name, path, kind, compression)?;
        }
        if kind == Kind::Container {
            return Err(container(&name));
        }
        Ok((Self { name, compression }, Cursor::new(begun).chain(start.into_inner())))
    }
}

fn standard_input() -> Outcome<File> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::invalid(
            "an archive is not read from a terminal",
            "Send one to it: `ssh node cat FILE | drs archive list -`.",
        ));
    }
    let descriptor = stdin.as_fd().try_clone_to_owned();
    descriptor.map(File::from).map_err(|error| {
        Failure::invalid(format!("standard input: {error}"), "Send it an archive.")
    })
}

/// Refuses a name that says another compression or another kind than the content is of.
fn named_rightly(name: &str, path: &Path, kind: Kind, compression: Compression) -> Outcome<()> {
    const REMEDY: &str = "Proxmox VE goes by the name and could not restore it: give it the name that \
                          it had when it was made. `drs archive verify - < FILE` reads it whatever it \
                          is called.";
    const TAR: &str = "Proxmox VE goes by the name and could not restore it: give it the name that it had, \
                       with .tar. Look into it with `tar tf`, restore it with `pct restore`.";
    let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if let Err(mismatch) = compression.check_name(file_name) {
        return Err(Failure::invalid(format!("{name}: {mismatch}"), REMEDY));
    }
    let (says_machine, says_container) = (file_name.contains(".vma"), file_name.contains(".tar"));
    let (named, found) = match kind {
        Kind::Machine if says_container && !says_machine => ("container (.tar)", "machine (VMA)"),
        Kind::Container if says_machine && !says_container => ("machine (.vma)", "container (tar)"),
        _ => return Ok(()),
    };
    let message = format!("{name}: the name says an archive of a {named}, but it is of a {found}");
    Err(Failure::invalid(message, if kind == Kind::Container { TAR } else { REMEDY }))
}

/// What a full disk, or a program that died before its first word, leaves.
fn empty(name: &str) -> Failure {
    Fault::permanent(
        FaultCode::ArchiveDamaged,
        format!("{name} is empty"),
        "Nothing of the archive is there: look at what should have written it, or take another copy.",
    )
    .into()
}

fn container(name: &str) -> Failure {
    Failure::invalid(
        format!("{name} is an archive of a container, not of a machine"),
        "It is a tar archive: look into it with `tar tf`, restore it with `pct restore`.",
    )
}

/// A file or pipe that is read until the user interrupts, also while nothing comes.
pub(super) struct Watched {
    file: File,
    stop: Shutdown,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        loop {
            go_on(&self.stop)?;
            let mut ready = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut ready, Some(&LOOK)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.file.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Fails when the user has interrupted.
pub(super) fn go_on(stop: &Shutdown) -> io::Result<()> {
    if stop.is_stopping() { Err(io::Error::other("interrupted")) } else { Ok(()) }
}
