//! What becomes of a guest whose place an import takes.

use drs_model::Grip;

use super::ProxmoxDriver;
use crate::{DriverError, ImportPlan};

impl ProxmoxDriver {
    pub(super) async fn destroy_displaced_vm(
        &self,
        _grip: &Grip,
        _plan: &ImportPlan,
    ) -> Result<(), DriverError> {
        Err(DriverError::Unsupported("import".into()))
    }
}
