//! Reading a guest as a stream.

use drs_model::{Fault, Grip};
use drs_transport::Argv;

use super::{ProxmoxDriver, script};
use crate::{ContentSource, DriverError, Export, ExportEnd};

/// A stream whose header was read and that waits for its reader.
pub(super) struct OpenStream;

impl ProxmoxDriver {
    pub(super) async fn open_stream(&self, _grip: &Grip) -> Result<Export, DriverError> {
        Err(DriverError::Unsupported("export".into()))
    }

    pub(super) async fn take_source(
        &self,
        _grip: &Grip,
        _export: &Export,
    ) -> Result<Box<dyn ContentSource>, DriverError> {
        Err(DriverError::Unsupported("export".into()))
    }

    pub(super) async fn danger(
        &self,
        _grip: &Grip,
        _export: &Export,
    ) -> Result<Option<Fault>, DriverError> {
        Err(DriverError::Unsupported("export".into()))
    }

    pub(super) async fn close(&self, _grip: &Grip, _end: ExportEnd) -> Result<(), DriverError> {
        Err(DriverError::Unsupported("export".into()))
    }

    pub(super) fn close_command(&self, _grip: &Grip, _end: ExportEnd) -> Argv {
        script("exit 1", "drs-close")
    }
}
