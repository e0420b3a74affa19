//! The port to what the operator has described: hosts and pairs.

use async_trait::async_trait;
use drs_model::{Host, HostName, PairName, ReplicationPair};

use crate::BackendError;

/// Hosts and pairs. Durable when a method returns.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Adds a host.
    ///
    /// # Errors
    /// [`BackendError::Exists`], or the adapter failed.
    async fn add_host(&self, host: &Host) -> Result<(), BackendError>;

    /// Replaces a host's description.
    ///
    /// # Errors
    /// [`BackendError::NotFound`], or the adapter failed.
    async fn update_host(&self, host: &Host) -> Result<(), BackendError>;

    /// Removes a host.
    ///
    /// # Errors
    /// [`BackendError::NotFound`]; [`BackendError::InUse`] when a pair or an unfinished job names it;
    /// or the adapter failed.
    async fn remove_host(&self, name: &HostName) -> Result<(), BackendError>;

    /// One host.
    ///
    /// # Errors
    /// [`BackendError::NotFound`] (`host NAME`), or the adapter failed.
    async fn host(&self, name: &HostName) -> Result<Host, BackendError>;

    /// Every host, by name.
    ///
    /// # Errors
    /// The adapter failed.
    async fn hosts(&self) -> Result<Vec<Host>, BackendError>;

    /// Adds a pair.
    ///
    /// # Errors
    /// [`BackendError::Exists`]; [`BackendError::NotFound`] when one of its hosts is not there; or the
    /// adapter failed.
    async fn add_pair(&self, pair: &ReplicationPair) -> Result<(), BackendError>;

    /// Replaces a pair's description.
    ///
    /// # Errors
    /// [`BackendError::NotFound`], or the adapter failed.
    async fn update_pair(&self, pair: &ReplicationPair) -> Result<(), BackendError>;

    /// Removes a pair.
    ///
    /// # Errors
    /// [`BackendError::NotFound`], or the adapter failed.
    async fn remove_pair(&self, name: &PairName) -> Result<(), BackendError>;

    /// One pair.
    ///
    /// # Errors
    /// [`BackendError::NotFound`] (`pair NAME`), or the adapter failed.
    async fn pair(&self, name: &PairName) -> Result<ReplicationPair, BackendError>;

    /// Every pair, by name.
    ///
    /// # Errors
    /// The adapter failed.
    async fn pairs(&self) -> Result<Vec<ReplicationPair>, BackendError>;
}
