//! Reads and writes VMA, the archive format of Proxmox VE's backups, more strictly than the original.
//!
//! [`Reader`] gives the data of all disks piece by piece, from any stream; [`Writer`] takes it and
//! writes what `qmrestore` reads. [`compression`] unpacks what `vzdump` packed. On top of them
//! stand [`verify()`], [`extract()`] and [`create()`]. Everything is synchronous and knows nothing of
//! jobs, hosts or recovery points.
//!
//! # The format
//!
//! Numbers are big-endian but for the length of a text. A disk ("device") is cut into clusters of
//! 64 KiB, each of 16 blocks of 4 KiB. The header comes first:
//!
//! ```text
//!     0     4  "VMA\0"
//!     4     4  version: 1
//!     8    16  uuid
//!    24     8  when it was made: seconds since 1970, signed
//!    32    16  MD5 of the whole header with these 16 bytes as zeros
//!    48     4  where the texts begin: 12288
//!    52     4  how many bytes of texts there are
//!    56     4  length of the header: 12288 and room for the texts
//!  2044   4*256  where each configuration's name is, 0 = none
//!  3068   4*256  where each configuration's content is
//!  4096  32*256  devices by id: where the name is (4), 0 (4), size in bytes (8), 0 (16)
//! 12288        texts: a 0, then each as its length (2, LITTLE-endian) and its bytes;
//!              a name ends with a NUL, which its length includes
//! ```
//!
//! Room for the texts grows as each is added: by the text's need in whole 512 bytes whenever it
//! does not fit. So the header may be longer than its texts need; its stated length counts. Texts
//! are written in the order name, content of each configuration, then the names of the devices.
//!
//! Extents follow to the end of the file, at least one:
//!
//! ```text
//!     0     4  "VMAE"
//!     4     2  0
//!     6     2  number of blocks that follow
//!     8    16  uuid of the header
//!    24    16  MD5 of these 512 bytes with these 16 as zeros
//!    40   8*59  slots: mask (2), any (1), device (1, 0 = empty slot), cluster (4)
//!   512        for each slot in turn, for each bit of its mask from the lowest: that block
//! ```
//!
//! A block whose bit is not set is all zeros. Clusters come in any order, those of a machine that
//! ran during its backup in a very wild one, and devices are mixed. The original's writer fills 58
//! slots of an extent, and so does ours: an archive read and written in the same order is the same
//! file.
//!
//! # Invariants
//! - Every cluster of every device is in an archive exactly once, those of zeros too. The reader
//!   says that there is no more data only after it has checked this and seen the end of the input;
//!   until then nothing that it handed out is to be trusted. After an error it gives nothing more.
//! - No piece reaches beyond its device. What an archive holds behind the end of a disk, in its
//!   last block, is not looked at.
//! - A name is a plain file name: not empty, no `.` or `..`, no `/`, no control character, at most
//!   200 bytes, and unique. So nothing is written outside of the directory of [`extract()`].
//! - What the reader would refuse is not written.
//! - No input makes the code panic, and none makes it take more than 64 MiB.
//!
//! The original lets pass, and we refuse: missing clusters, an archive cut between two extents or
//! behind its header, unsafe names, texts that lie upon each other, blocks behind a disk's end, and
//! (it crashes) clusters and devices that do not exist. A reserved byte of a slot, and sizes that
//! are no multiple of 512, real archives have and we take.
//!
//! **Data has no checksum in this format.** A flipped bit within a block goes unseen by every
//! reader; only a [`ContentDigest`] known from elsewhere, or the checksum of a compressed file,
//! tells.
//!
//! # Limits
//!
//! | what | limit | why |
//! |---|---|---|
//! | header | 1 MiB | memory; the original writes at most half of it |
//! | configurations | 256, each 65535 bytes | the format |
//! | devices | 254, each 2^48 bytes | the format |
//! | ranges of 2 GiB that are complete in part | 4096 | 16 MiB of memory; 8 TiB in perfect disorder |
//! | window of zstd | 16 MiB | memory; all levels up to 19 keep to it |
//! | block of lzop | 4 MiB | memory; `lzop` makes them of 256 KiB |
//!
//! Deliberately absent: the stream `vmstate` (a running machine's memory, which `vzdump` never
//! writes), and repair of damaged archives.

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
