//! Reads and writes VMA, the archive format of Proxmox VE's backups, more strictly than the original.

mod clusters;
mod error;
mod extent;
mod format;
mod header;
mod reader;
mod writer;

pub use error::{Damage, Limit, Misuse, NameFault, VmaError};
pub use header::{Config, Device, Header};
pub use reader::{Piece, Reader, Totals};
pub use writer::Writer;

#[cfg(test)]
mod tests;
