//! Switching a guest.

use drs_model::{Grip, PowerAction, PowerState, VmName};

use super::ProxmoxDriver;
use crate::DriverError;

impl ProxmoxDriver {
    pub(super) async fn switch(
        &self,
        _grip: &Grip,
        _vm: &VmName,
        _action: PowerAction,
    ) -> Result<PowerState, DriverError> {
        Err(DriverError::Unsupported("switching a guest".into()))
    }
}
