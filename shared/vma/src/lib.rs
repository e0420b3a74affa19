//! Reads and writes VMA, the archive format of Proxmox VE's backups, more strictly than the original.

mod clusters;
pub mod compression;
mod create;
mod digest;
mod error;
mod extent;
mod extract;
mod format;
mod header;
mod reader;
mod totals;
mod verify;
mod writer;

pub use compression::Compression;
pub use create::{Content, RawDisk, create};
pub use digest::ContentDigest;
pub use error::{Damage, Limit, Misuse, NameFault, VmaError};
pub use extract::extract;
pub use header::{Config, Device, Header};
pub use reader::{Piece, Reader};
pub use totals::{Progress, Totals};
pub use verify::{DeviceReport, Report, verify};
pub use writer::Writer;

#[cfg(test)]
mod tests;
