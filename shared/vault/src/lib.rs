//! Keeps recovery points on storage: complete or not there at all, verifiable, readable by disk.
//!
//! The vault knows nothing of jobs, hosts or hypervisors. A point exists only when its manifest
//! does, and its manifest is written last.

pub mod port;

pub use port::{DiskReader, DiskWriter, PointWriter, StoredPoint, Vault, VaultError, VerifyReport};
