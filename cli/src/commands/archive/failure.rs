//! What is wrong with an archive, in the operator's words.

use std::io;
use std::path::Path;

use drs_model::{Fault, FaultCode};
use drs_vma::VmaError;

use crate::failure::Failure;

/// Work on the archive `name` ended with this.
pub(super) fn failed(name: &str, error: &VmaError) -> Failure {
    match error {
        VmaError::Damaged { .. } => Fault::permanent(
            FaultCode::ArchiveDamaged,
            format!("{name}: {error}"),
            "Do not trust this archive: take another copy of it, or another backup.",
        )
        .into(),
        VmaError::File { path, source } => file_failed(path, source),
        VmaError::Read { source, .. } if is_damage(source) => Fault::permanent(
            FaultCode::ArchiveDamaged,
            format!("{name}: {error}: {source}"),
            "Do not trust this archive: take another copy of it, or another backup.",
        )
        .into(),
        VmaError::Read { source, .. } | VmaError::Write { source, .. } => {
            described(format!("{name}: {error}: {source}"), source)
        }
        VmaError::Limit { .. } | VmaError::Misused { .. } => Failure::invalid(
            format!("{name}: {error}"),
            "Such an archive is not read or made by drs; the limits are those of the format or \
             stated in the message.",
        ),
    }
}

/// A file cannot be used.
pub(super) fn file_failed(path: &Path, error: &io::Error) -> Failure {
    described(format!("{}: {error}", path.display()), error)
}

/// A packed stream that does not unpack fails as reading does.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput
    ) || (error.kind() == io::ErrorKind::Other && error.raw_os_error().is_none())
}

fn described(message: String, error: &io::Error) -> Failure {
    let (code, remedy) = match error.kind() {
        io::ErrorKind::NotFound => (FaultCode::InvalidInput, "Check the path."),
        io::ErrorKind::AlreadyExists => (
            FaultCode::AlreadyExists,
            "Nothing is overwritten: choose another name, or remove what is there yourself.",
        ),
        io::ErrorKind::PermissionDenied => {
            (FaultCode::InvalidInput, "Run it as a user who may read and write there.")
        }
        io::ErrorKind::StorageFull => {
            (FaultCode::DiskFull, "Free space there, or choose another place.")
        }
        _ => (FaultCode::InvalidInput, "Check the file and the disk that it lies on."),
    };
    Fault::permanent(code, message, remedy).into()
}
