//! Making a guest from an archive on the node.

use std::path::Path;

use drs_model::Grip;
use drs_transport::Argv;

use super::{ProxmoxDriver, script};
use crate::{ContentSink, DriverError, ImportPlan};

impl ProxmoxDriver {
    pub(super) async fn pack_archive(
        &self,
        _plan: &ImportPlan,
        _local: &Path,
    ) -> Result<Box<dyn ContentSink>, DriverError> {
        Err(DriverError::Unsupported("load".into()))
    }

    pub(super) async fn make_load_path(
        &self,
        _grip: &Grip,
        _plan: &ImportPlan,
        _size_bytes: u64,
    ) -> Result<String, DriverError> {
        Err(DriverError::Unsupported("load".into()))
    }

    pub(super) fn load_call(
        &self,
        _grip: &Grip,
        _plan: &ImportPlan,
        _path: &str,
        _limit_bytes_per_second: Option<u64>,
    ) -> Argv {
        script("exit 1", "drs-load")
    }
}

/// How far a load is by its log: done and total bytes.
pub(super) fn progress(_log: &str) -> Option<(u64, u64)> {
    None
}
