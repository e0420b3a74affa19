//! What an import will make.

use drs_model::JobId;

use super::ProxmoxDriver;
use crate::{DriverError, ImportPlan, ImportRequest};

impl ProxmoxDriver {
    pub(super) async fn plan(
        &self,
        _job: JobId,
        _request: &ImportRequest<'_>,
    ) -> Result<ImportPlan, DriverError> {
        Err(DriverError::Unsupported("import".into()))
    }
}
