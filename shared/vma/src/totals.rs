//! What was read or written so far.

use crate::clusters::Clusters;

/// What was read or written of an archive so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Extents.
    pub extents: u64,
    /// Clusters of 64 KiB, those of zeros included.
    pub clusters: u64,
    /// Bytes of blocks stored, in whole blocks of 4096.
    pub data_bytes: u64,
}

/// How far the work on an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the uncompressed archive read or written.
    pub archive_bytes: u64,
    /// Clusters read or written, those of zeros included.
    pub clusters: u64,
    /// Clusters that all devices together have.
    pub clusters_total: u64,
}

impl Totals {
    pub(crate) fn progress(self, archive_bytes: u64, clusters: &Clusters) -> Progress {
        Progress { archive_bytes, clusters: self.clusters, clusters_total: clusters.total() }
    }
}
