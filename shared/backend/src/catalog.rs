//! The port to what the operator has described: hosts, sites, pairs and schedules.

use async_trait::async_trait;
use drs_model::{
    Fire, Host, HostName, PairName, ReplicationPair, Schedule, ScheduleName, Site, SiteName,
};

use crate::BackendError;

/// Hosts, sites, pairs and schedules. Durable when a method returns.
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

    /// Removes a host. Whether a job needs it is for [`crate::Backend::remove_host`] to find out.
    ///
    /// # Errors
    /// [`BackendError::NotFound`]; [`BackendError::InUse`] when a pair or a schedule names it;
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
    /// [`BackendError::NotFound`]; [`BackendError::InUse`] when a schedule names it; or the adapter
    /// failed.
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

    /// Adds a schedule.
    ///
    /// # Errors
    /// [`BackendError::Exists`]; [`BackendError::NotFound`] when its host or pair is not there; or the
    /// adapter failed.
    async fn add_schedule(&self, schedule: &Schedule) -> Result<(), BackendError>;

    /// Replaces a schedule's description. Its latest fire stays.
    ///
    /// # Errors
    /// [`BackendError::NotFound`], or the adapter failed.
    async fn update_schedule(&self, schedule: &Schedule) -> Result<(), BackendError>;

    /// Removes a schedule with its latest fire.
    ///
    /// # Errors
    /// [`BackendError::NotFound`], or the adapter failed.
    async fn remove_schedule(&self, name: &ScheduleName) -> Result<(), BackendError>;

    /// One schedule, and its latest fire if there was one.
    ///
    /// # Errors
    /// [`BackendError::NotFound`] (`schedule NAME`), or the adapter failed.
    async fn schedule(&self, name: &ScheduleName)
    -> Result<(Schedule, Option<Fire>), BackendError>;

    /// Every schedule with its latest fire, by name.
    ///
    /// # Errors
    /// The adapter failed.
    async fn schedules(&self) -> Result<Vec<(Schedule, Option<Fire>)>, BackendError>;

    /// Notes the latest fire of a schedule. One that is not later than what is noted changes nothing,
    /// nor does one of a schedule that is not there any more.
    ///
    /// # Errors
    /// The adapter failed.
    async fn note_fire(&self, name: &ScheduleName, fire: &Fire) -> Result<(), BackendError>;
}
