//! Dumping a guest into an archive on the node.

use drs_model::Grip;
use drs_transport::Argv;

use super::{ProxmoxDriver, script};
use crate::{DriverError, StagedArchive};

impl ProxmoxDriver {
    pub(super) async fn admit_dump(&self, _grip: &Grip) -> Result<(), DriverError> {
        Err(DriverError::Unsupported("dump".into()))
    }

    pub(super) fn dump_call(&self, _grip: &Grip, _limit_bytes_per_second: Option<u64>) -> Argv {
        script("exit 1", "drs-dump")
    }

    pub(super) async fn dumped_archive(&self, _grip: &Grip) -> Result<StagedArchive, DriverError> {
        Err(DriverError::Unsupported("dump".into()))
    }
}
