//! What is wrong with an archive, in the operator's words.

use std::io;
use std::path::Path;

use drs_model::{Fault, FaultCode};
use drs_vma::{Compression, Damage, VmaError};

use super::source::Source;
use crate::failure::Failure;

/// Reading an archive ended with this.
pub(super) fn failed(source: &Source, error: &VmaError) -> Failure {
    let name = &source.name;
    let mut failure = match error {
        VmaError::File { path, source } => return file_failed(path, source),
        VmaError::Damaged { damage: Damage::NotVma, .. } => return no_archive(name),
        VmaError::Damaged { .. } => damaged(format!("{name}: {error}")),
        VmaError::Read { source, .. } => read_failed(format!("{name}: {error}"), source),
        VmaError::Write { source, .. } => described(format!("{name}: {error}: {source}"), source),
        VmaError::Limit { .. } | VmaError::Misused { .. } => Failure::invalid(
            format!("{name}: {error}"),
            "drs does not read such an archive; `vma` on a Proxmox VE node may.",
        ),
    };
    if source.compression != Compression::None {
        failure.details.push("places are those of the unpacked archive".to_owned());
    }
    failure
}

/// Making an archive ended with this.
pub(super) fn not_made(name: &str, error: &VmaError) -> Failure {
    let rule = match error {
        VmaError::File { path, source } => return file_failed(path, source),
        VmaError::Read { source, .. } | VmaError::Write { source, .. } => {
            return described(format!("{name}: {error}: {source}"), source);
        }
        VmaError::Damaged { damage, .. } => damage.to_string(),
        VmaError::Limit { limit, .. } => limit.to_string(),
        VmaError::Misused { misuse, .. } => misuse.to_string(),
    };
    Failure::invalid(
        format!("{name} cannot be made: {rule}"),
        "An archive has names like qemu-server.conf and drive-scsi0, each once; see \
         `drs archive create --help`.",
    )
}

/// The bytes of an archive cannot be read, or do not unpack.
pub(super) fn read_failed(what: String, error: &io::Error) -> Failure {
    let message = format!("{what}: {error}");
    // What does not unpack has no errno: the library says it, not the system.
    if error.raw_os_error().is_none() && error.kind() != io::ErrorKind::Unsupported {
        return damaged(message);
    }
    described(message, error)
}

/// A file cannot be used.
pub(super) fn file_failed(path: &Path, error: &io::Error) -> Failure {
    let partial = path.extension().is_some_and(|extension| extension == "partial");
    match error.kind() {
        io::ErrorKind::AlreadyExists if partial => exists(
            path,
            "An earlier run was killed and left it, or one is under way: when none is, remove it.",
        ),
        io::ErrorKind::AlreadyExists => exists(
            path,
            "Nothing is overwritten: choose another name, or remove what is there yourself.",
        ),
        _ => described(format!("{}: {error}", path.display()), error),
    }
}

fn exists(path: &Path, remedy: &str) -> Failure {
    let message = format!("{} exists already", path.display());
    Fault::permanent(FaultCode::AlreadyExists, message, remedy).into()
}

fn damaged(message: String) -> Failure {
    Fault::permanent(
        FaultCode::ArchiveDamaged,
        message,
        "Do not trust this archive: take another copy of it, or another backup.",
    )
    .into()
}

fn no_archive(name: &str) -> Failure {
    Fault::permanent(
        FaultCode::ArchiveDamaged,
        format!("{name} is no archive of Proxmox VE: it does not begin like one"),
        "Check that it is the file you mean; if it is, its beginning is damaged: take another copy.",
    )
    .into()
}

fn described(message: String, error: &io::Error) -> Failure {
    use io::ErrorKind as K;
    let (code, remedy) = match error.kind() {
        K::NotFound => (FaultCode::InvalidInput, "Check the path."),
        K::PermissionDenied | K::ReadOnlyFilesystem => {
            (FaultCode::InvalidInput, "Run it as a user who may read and write there.")
        }
        K::StorageFull | K::QuotaExceeded => {
            (FaultCode::DiskFull, "Free space there, or choose another place.")
        }
        K::BrokenPipe => (
            FaultCode::InvalidInput,
            "The program behind the pipe ended before the archive did: see what it says. What it got \
             is incomplete.",
        ),
        _ => (FaultCode::InvalidInput, "Check the file and the disk that it lies on."),
    };
    Fault::permanent(code, message, remedy).into()
}
