//! Keeps recovery points on storage: complete or not there at all, verifiable, readable by disk.
//!
//! The vault knows nothing of jobs, hosts or hypervisors. The port is [`Vault`]; its first form is
//! [`DirVault`], a directory with one compressed, sparse, self-checking file per disk.
//!
//! # Layout of a directory
//!
//! ```text
//! format                        "drs-vault 1\n"
//! points/ID/manifest.json       sealed RecoveryPoint; ID is its id
//! points/ID/disk-NAME.stream    content of the disk NAME, one for each disk of the manifest
//! points/ID/disk-NAME.json      sealed DiskContent; only the writing of the point needs it
//! points/ID/verdict.json        sealed verdict of the latest verification, if there was one
//! unfinished/ID/                the same files while the point is written, and `lock`
//! removed/ID/                   what a removal has not deleted yet
//! ```
//!
//! In NAME every byte but ASCII letters, digits, `-` and `_` is written `%XX`. A file that ends in
//! `.tmp` is what a crash left of a small file on its way; it means nothing.
//!
//! A *sealed* file is JSON: `{"format":1,"digest":"...","body":{...}}`. `digest` is the BLAKE3 of
//! the bytes of `body` as they stand in the file; `body` is the type's own JSON form (`drs-model`).
//! A verdict's body is `{"manifest":"...","at":"...","damage":[...]}`: the digest of the manifest
//! it is about, when, and what is wrong with it.
//!
//! A disk's stream is little-endian throughout:
//!
//! ```text
//! header   "DRSDISK\n"  8 bytes
//!          version      u32   2
//!          frame_max    u32   largest raw length of a frame: 1048576
//!          size         u64   size that the guest sees, in bytes; all ones: the trailer tells it
//!          check        8 bytes
//! frame    offset       u64   where the bytes belong in the disk
//!          raw          u32   their number: 1 to frame_max
//!          stored       u32   length of the payload: 1 to raw
//!          payload      `stored` bytes: the bytes themselves if stored = raw,
//!                       else one zstd frame of them
//!          check        8 bytes
//! ...      frames in any order; they do not overlap; what none covers reads as zeros
//! trailer  mark         u64   0xffffffffffffffff, where a frame has its offset
//!          data         u64   sum of the frames' raw lengths
//!          frames       u64   number of frames
//!          size         u64   length of the content (not in version 1)
//!          check        8 bytes
//! ```
//!
//! A *check* is the first 8 bytes of the BLAKE3 of everything before it in the file, earlier checks
//! included. So one pass of one hash proves every piece before it is used, tells the place of the
//! damage, and in the end is the digest of the whole file, which the manifest holds. Runs of zeros
//! that fill an aligned block of 64 KiB (or the part of it that an extent covers) are not stored.
//!
//! # Invariants
//! - A point exists exactly while `points/ID` does. It comes there by one rename, after every
//!   stream, its record and the manifest are durable; it leaves by one rename, and only then is its
//!   content deleted. So no crash leaves half a point, neither coming nor going.
//! - Nothing in a point changes but its verdict, and a verdict counts only for the manifest that it
//!   names. It is put into the point's folder and never makes one, so a point that is removed
//!   while it is verified stays removed.
//! - A point has one writer at a time among all processes: the one that holds a `flock` on
//!   `unfinished/ID/lock`. It is freed by the end of the process, however it ends. The sweep takes
//!   the same lock, so it never removes what is being written.
//! - No point hides another: one whose manifest cannot be read is listed beside the others with the
//!   reason, and every call about another point works as before.
//! - Nothing that is read is believed: lengths are held against limits before memory is taken for
//!   them, and no byte is handed out before its check was compared.
//!
//! # Crash points of a backup
//! - Before a disk's record is durable: the disk starts again when the point is begun again.
//! - Between records and the rename into `points/`: finished disks are kept; the manifest is
//!   written again.
//! - After the rename: the point is complete; begun again, it answers every disk as finished and
//!   takes the same manifest once more.
//!
//! # Costs
//! A disk that is written holds at most 7 MiB and one thread, one that is read at most 6 MiB and
//! one thread, whatever the disk's size.
//!
//! Deliberately absent: deduplication and encryption (the next form of the vault), retention (the
//! scheduler's), retries (layers around the port).

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod dir;
pub mod port;
mod sealed;
mod stream;

pub use dir::DirVault;
pub use port::{
    DiskReader, DiskWriter, Listing, PointWriter, StoredPoint, Vault, VaultError, VerifyReport,
};
