//! The header: what the archive is, its configurations and its devices.

mod build;
mod parse;

pub(crate) use build::build;
pub(crate) use parse::read;

use crate::error::NameFault;

/// The longest name of a configuration or device, in bytes: the files made of it stay possible.
const NAME_MAX: usize = 200;

/// What stands in front of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The archive's own id; every extent repeats it.
    pub uuid: [u8; 16],
    /// When the archive was begun, in seconds since 1970.
    pub created_at: i64,
    /// Configuration files, in the order of the archive.
    pub configs: Vec<Config>,
    /// The disks, by rising id.
    pub devices: Vec<Device>,
}

/// A configuration file that travels with the disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// A plain file name of at most 200 bytes: `qemu-server.conf`, `qemu-server.fw`.
    pub name: String,
    /// Its content, at most 65535 bytes.
    pub data: Vec<u8>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// 1 to 254, unique in the archive.
    pub id: u8,
    /// A plain file name of at most 200 bytes, unique in the archive: `drive-scsi0`.
    pub name: String,
    /// The size that the guest sees, at most 2^48. It need not be a multiple of anything.
    pub size_bytes: u64,
}

/// Names become file names, and are shown on terminals.
fn check_name(name: &str) -> Result<(), NameFault> {
    match name {
        "" | "." | ".." => Err(NameFault::Dots),
        _ if name.len() > NAME_MAX => Err(NameFault::Form),
        _ if name.chars().any(|char| char == '/' || char.is_control()) => Err(NameFault::Character),
        _ => Ok(()),
    }
}
