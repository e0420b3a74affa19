//! Whether a node can be used.

use super::ProxmoxDriver;
use crate::{DriverError, HostReport};

impl ProxmoxDriver {
    pub(super) async fn report(&self) -> Result<HostReport, DriverError> {
        Err(DriverError::Unsupported("checking a node".into()))
    }
}
