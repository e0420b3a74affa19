//! The one thing that a job changes in the catalogue: which VM is the counterpart of a pair.

use std::sync::Arc;

use drs_backend::{BackendError, Catalog};
use drs_model::{Fault, PairName, VmName, VmRef};

/// The replication pairs of the catalogue.
#[derive(Clone)]
pub(crate) struct Pairs(Arc<dyn Catalog>);

/// What became of a pair.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Adoption {
    /// Its counterpart is the new VM.
    Adopted,
    /// It is gone, or its counterpart is another VM by now: it stays as it is.
    LeftAlone,
}

impl Pairs {
    pub(crate) fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self(catalog)
    }

    /// Makes the VM `new`, on the host of `old`, the counterpart of a pair in the place of `old`.
    /// Idempotent.
    pub(crate) async fn adopt(
        &self,
        name: &PairName,
        old: &VmRef,
        new: &VmName,
    ) -> Result<Adoption, Fault> {
        let mut pair = match self.0.pair(name).await {
            Err(BackendError::NotFound(_)) => return Ok(Adoption::LeftAlone),
            pair => pair.map_err(|error| error.fault())?,
        };
        if pair.target_host == old.host && pair.target_name == *new {
            return Ok(Adoption::Adopted);
        }
        if pair.target() != *old {
            return Ok(Adoption::LeftAlone);
        }
        pair.target_name = new.clone();
        match self.0.update_pair(&pair).await {
            Err(BackendError::NotFound(_)) => Ok(Adoption::LeftAlone),
            updated => updated.map(|()| Adoption::Adopted).map_err(|error| error.fault()),
        }
    }
}
