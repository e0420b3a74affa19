//! Reading an archive that was fetched.

use std::path::Path;

use super::ProxmoxDriver;
use crate::{ContentSource, DriverError, StagedArchive};

impl ProxmoxDriver {
    pub(super) async fn unpack_archive(
        &self,
        _archive: &StagedArchive,
        _local: &Path,
    ) -> Result<Box<dyn ContentSource>, DriverError> {
        Err(DriverError::Unsupported("unpack".into()))
    }
}
