//! What a node has and what its guests are made of.

use drs_model::{VmRef, VmSummary};

use super::ProxmoxDriver;
use super::guest::Guest;
use crate::{DriverError, VmDescription};

impl ProxmoxDriver {
    pub(super) async fn summaries(&self) -> Result<Vec<VmSummary>, DriverError> {
        Err(DriverError::Unsupported("listing guests".into()))
    }

    /// The guest of that VMID, on this node.
    pub(super) async fn locate(&self, _vm: &VmRef) -> Result<Guest, DriverError> {
        Err(DriverError::Unsupported("finding a guest".into()))
    }

    /// What a guest is made of.
    pub(super) async fn examine(&self, _guest: &Guest) -> Result<VmDescription, DriverError> {
        Err(DriverError::Unsupported("describing a guest".into()))
    }
}
