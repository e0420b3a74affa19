//! Which adapter stands behind which port: the one file that names adapters.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use drs_backend::{Backend, BackendError, Catalog, JobFilter, JobStore};
use drs_backend_amqp::{AmqpConfig, AmqpDispatch};
use drs_backend_postgres::{PostgresCatalog, PostgresConfig};
use drs_backend_redis::{Clock, RedisConfig, RedisStore};
use drs_backend_sqlite::SqliteBackend;
use drs_hypervisor::libvirt::LibvirtDriver;
use drs_hypervisor::proxmox::ProxmoxDriver;
use drs_hypervisor::simulated::SimulatedDriver;
use drs_hypervisor::{Driver, DriverError, Drivers};
use drs_model::{Fault, Host, HostName, HypervisorKind};
use drs_runtime::config::ClusterSection;
use drs_runtime::{Config, DataDir, environment};
use drs_transport::{ShellGuard, SshConfig, SshRemote};
use drs_vault::{DirVault, Vault, VaultError};

use crate::failure::Outcome;
use crate::servers::{Server, Servers};

/// Makes the job core of a new data directory.
pub(crate) fn create_backend(dir: &DataDir) -> Result<(), BackendError> {
    SqliteBackend::open(&dir.database()).map(drop)
}

/// Makes a vault, or takes the one that is there.
pub(crate) fn create_vault(path: &Path) -> Result<(), VaultError> {
    DirVault::create(path).map(drop)
}

/// The job core of a data directory.
pub(crate) fn open_backend(dir: &DataDir) -> Result<(Backend, Servers), BackendError> {
    let (path, file) = (dir.database(), SqliteBackend::open(&dir.database())?);
    Ok((file.backend(), Arc::new([Box::new(Embedded { path, file })])))
}

/// The job core of a cluster. Each server is connected when it is first asked for something, so that a command
/// needs those alone that it uses. `name` is what the servers show of this process.
pub(crate) fn open_cluster(cluster: &ClusterSection, name: &str) -> Outcome<(Backend, Servers)> {
    let ca_file = || cluster.ca_file.clone();
    let amqp = AmqpConfig {
        password: cluster.amqp.password()?,
        lanes: cluster.lanes.clone(),
        ca_file: ca_file(),
        name: name.to_owned(),
        ..AmqpConfig::at(&cluster.amqp.url)
    };
    let redis = RedisConfig {
        password: cluster.redis.password()?,
        ca_file: ca_file(),
        ..RedisConfig::new(&cluster.redis.url)
    };
    let postgres = PostgresConfig {
        password: cluster.postgres.password()?,
        ca_file: ca_file(),
        ..PostgresConfig::new(&cluster.postgres.url)
    };
    let amqp = AmqpDispatch::open(&amqp)?;
    let redis = RedisStore::open(&redis, Clock::Server)?;
    let postgres = PostgresCatalog::open(&postgres)?;
    let servers: Servers =
        Arc::new([Box::new(amqp.clone()), Box::new(redis.clone()), Box::new(postgres.clone())]);
    let (amqp, redis, postgres) = (Arc::new(amqp), Arc::new(redis), Arc::new(postgres));
    let backend = Backend {
        store: redis.clone(),
        dispatch: amqp.clone(),
        catalog: postgres.clone(),
        events: redis,
        history: Some(postgres),
        feed: Some(amqp.clone()),
        dead: Some(amqp),
    };
    Ok((backend, servers))
}

macro_rules! servers {
    ($($adapter:ty),*) => {$(
        #[async_trait]
        impl Server for $adapter {
            fn name(&self) -> String {
                self.server().to_owned()
            }

            async fn reach(&self) -> Result<(), BackendError> {
                self.reach().await
            }
        }
    )*};
}
servers!(AmqpDispatch, RedisStore, PostgresCatalog);

/// The one file on which everything stands without a cluster.
struct Embedded {
    path: PathBuf,
    file: SqliteBackend,
}

#[async_trait]
impl Server for Embedded {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    async fn reach(&self) -> Result<(), BackendError> {
        let any = JobFilter { limit: 1, ..JobFilter::default() };
        self.file.list(&any).await?;
        self.file.hosts().await.map(drop)
    }
}

/// The vault that the configuration names.
pub(crate) fn open_vault(dir: &DataDir, config: &Config) -> Result<Arc<dyn Vault>, VaultError> {
    let path = config.vault.path.clone().unwrap_or_else(|| dir.vault());
    Ok(Arc::new(DirVault::open(path)?))
}

/// The driver of a host, in the catalogue or not.
pub(crate) fn driver(host: Host, simulated: &Path) -> Result<Arc<dyn Driver>, DriverError> {
    match host.kind {
        HypervisorKind::Simulated => Ok(Arc::new(SimulatedDriver::open(host, simulated)?)),
        HypervisorKind::Libvirt => {
            let (remote, guard) = reached(&host)?;
            Ok(Arc::new(LibvirtDriver::new(host, remote, guard)))
        }
        HypervisorKind::Proxmox => {
            let (remote, guard) = reached(&host)?;
            Ok(Arc::new(ProxmoxDriver::new(host, remote, guard)))
        }
    }
}

/// A host over SSH, and its guard.
fn reached(host: &Host) -> Result<(Arc<SshRemote>, Arc<ShellGuard>), DriverError> {
    let remote = Arc::new(SshRemote::new(SshConfig {
        host: host.name.clone(),
        address: host.address.clone(),
        key_file: host.key_file.as_ref().map(PathBuf::from),
        agent_socket: environment::ssh_agent(),
        pinned: host.host_keys.clone(),
        connect_timeout: SshConfig::CONNECT_TIMEOUT,
    })?);
    let guard = Arc::new(ShellGuard::new(remote.clone()));
    Ok((remote, guard))
}

/// A driver, and the description that it was made from.
struct Made {
    host: Host,
    driver: Arc<dyn Driver>,
}

/// The drivers of the hosts in the catalogue. A host's driver, and with it the connection, is kept
/// until the host's description changes.
pub(crate) struct CatalogDrivers {
    catalog: Arc<dyn Catalog>,
    simulated: PathBuf,
    known: Mutex<HashMap<HostName, Made>>,
}

impl CatalogDrivers {
    pub(crate) fn new(catalog: Arc<dyn Catalog>, dir: &DataDir) -> Self {
        Self { catalog, simulated: dir.simulated(), known: Mutex::default() }
    }
}

#[async_trait]
impl Drivers for CatalogDrivers {
    async fn host(&self, name: &HostName) -> Result<Host, Fault> {
        self.catalog.host(name).await.map_err(|error| error.fault())
    }

    async fn driver(&self, name: &HostName) -> Result<Arc<dyn Driver>, Fault> {
        let host = self.host(name).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = known.get(name).filter(|made| made.host == host) {
            return Ok(Arc::clone(&made.driver));
        }
        let driver = driver(host.clone(), &self.simulated).map_err(|error| error.fault())?;
        known.insert(name.clone(), Made { host, driver: Arc::clone(&driver) });
        Ok(driver)
    }
}
