//! The port to what the operator has described: hosts, sites and pairs.

use async_trait::async_trait;
use drs_model::{Host, HostName, PairName, ReplicationPair, Site, SiteName};

use crate::BackendError;

/// Hosts, sites and pairs. Durable when a method returns.
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

    /// Describes a site, in place of what was said of it before. A host may stand at a site that was
    /// never described.
    ///
    /// # Errors
    /// The adapter failed.
    async fn put_site(&self, site: &Site) -> Result<(), BackendError>;

    /// A site; with every default when it was never described.
    ///
    /// # Errors
    /// The adapter failed.
    async fn site(&self, name: &SiteName) -> Result<Site, BackendError>;

    /// Every site that was described or has a host, by name.
    ///
    /// # Errors
    /// The adapter failed.
    async fn sites(&self) -> Result<Vec<Site>, BackendError>;

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
