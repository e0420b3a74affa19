//! Where an archive comes from.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use drs_vma::compression::{self, Unpacked};
use drs_vma::Compression;

use super::unusable;
use crate::failure::{Failure, Outcome};

/// An archive's bytes, unpacked.
pub(super) type Input = Unpacked<Box<dyn Read + Send>>;

/// What is known of an archive before it is read.
pub(super) struct Source {
    /// Its path, or `standard input`.
    pub(super) name: String,
    pub(super) compression: Compression,
}

impl Source {
    /// Opens a file, or standard input when it is called `-`. A file whose name says another
    /// compression than it has is refused: Proxmox's tools go by the name and could not restore it.
    pub(super) fn open(path: &Path) -> Outcome<(Self, Input)> {
        let standard = path == Path::new("-");
        let raw: Box<dyn Read + Send> = if standard {
            Box::new(BufReader::with_capacity(1 << 20, io::stdin()))
        } else {
            Box::new(File::open(path).map_err(|error| unusable(path, &error))?)
        };
        let name = match standard {
            true => "standard input".to_owned(),
            false => path.display().to_string(),
        };
        let input = compression::open(raw).map_err(|error| unusable(path, &error))?;
        let compression = input.compression();
        let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !standard {
            compression.check_name(file_name).map_err(|mismatch| {
                Failure::invalid(
                    format!(
                        "{name} is called {} and is {}",
                        mismatch.named, mismatch.found
                    ),
                    "Proxmox VE goes by the name: rename it to what it is, or look where it was \
                     changed. `drs archive verify - < FILE` reads it whatever it is called.",
                )
            })?;
            if file_name.contains(".tar") || file_name.ends_with(".tgz") {
                return Err(Failure::invalid(
                    format!("{name} is an archive of a container, not of a machine"),
                    "It is a plain tar archive: look into it with `tar`, restore it with `pct restore`.",
                ));
            }
        }
        Ok((Self { name, compression }, input))
    }
}
