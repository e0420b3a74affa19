//! Making a guest from a stream.

use drs_model::Grip;
use drs_transport::Argv;

use super::{ProxmoxDriver, script};
use crate::{ContentSink, DriverError, ImportPlan};

impl ProxmoxDriver {
    pub(super) async fn reserve(&self, _: &Grip, _: &ImportPlan) -> Result<(), DriverError> {
        Err(DriverError::Unsupported("import".into()))
    }

    pub(super) async fn open_sink(
        &self,
        _grip: &Grip,
        _plan: &ImportPlan,
    ) -> Result<Box<dyn ContentSink>, DriverError> {
        Err(DriverError::Unsupported("import".into()))
    }

    pub(super) fn check_imported(&self, _plan: &ImportPlan) -> Argv {
        script("exit 1", "drs-check-import")
    }

    pub(super) async fn settle_import(&self, _: &Grip, _: &ImportPlan) -> Result<(), DriverError> {
        Err(DriverError::Unsupported("import".into()))
    }

    pub(super) async fn take_back(&self, _: &Grip, _: &ImportPlan) -> Result<(), DriverError> {
        Err(DriverError::Unsupported("import".into()))
    }
}
