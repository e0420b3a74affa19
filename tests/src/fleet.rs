//! The job core of a cluster for benches: real RabbitMQ, Redis and PostgreSQL, and in this process the
//! adapters, schedulers and workers that a bench wants to look at from inside.
//!
//! Hosts are simulated. One that is reached through an [`Sshd`] has the real guard, over real SSH.

mod over_ssh;
mod sshd;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use async_trait::async_trait;
use drs_backend::{Backend, BackendError, Catalog, JobStore, submit};
use drs_backend_amqp::{AmqpConfig, AmqpDispatch};
use drs_backend_postgres::{PostgresCatalog, PostgresConfig};
use drs_backend_redis::{Clock, RedisConfig, RedisStore};
use drs_hypervisor::simulated::SimulatedDriver;
use drs_hypervisor::{Driver, Drivers};
use drs_lab_servers::{PASSWORD, Postgres, RabbitMq, Redis, USER};
use drs_model::{Fault, Host, HostName, HypervisorKind, JobId, JobSpec, Secret};
use drs_runtime::clock;
use drs_vault::{DirVault, Vault};
use drs_worker::{Worker, WorkerConfig};
use tempfile::TempDir;
use tokio::task::JoinSet;

pub use over_ssh::Login;
pub use sshd::Sshd;

/// How many jobs are submitted at one time.
const SUBMITTERS: usize = 32;

/// The servers of a cluster, and a directory for what its hosts and its vault hold.
pub struct Fleet {
    /// Hands jobs out.
    pub rabbitmq: RabbitMq,
    /// Where jobs stand.
    pub redis: Redis,
    /// Hosts, jobs of the past.
    pub postgres: Postgres,
    dir: TempDir,
}

impl Fleet {
    /// Fresh servers; `rabbitmq_conf` are further lines of its configuration.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn start(rabbitmq_conf: &str) -> Result<Self> {
        let dir = TempDir::with_prefix("drs-fleet-")?;
        DirVault::create(dir.path().join("vault"))?;
        Ok(Self {
            rabbitmq: RabbitMq::start_with(rabbitmq_conf),
            redis: Redis::start(),
            postgres: Postgres::start(),
            dir,
        })
    }

    /// What other processes need to know of it.
    #[must_use]
    pub fn reach(&self) -> Reach {
        Reach {
            amqp: self.rabbitmq.url(),
            redis: self.redis.port(),
            postgres: self.postgres.port(),
            dir: self.dir.path().to_owned(),
        }
    }
}

/// Where the servers and the directory of a [`Fleet`] are.
#[derive(Debug, Clone)]
pub struct Reach {
    /// The URL of RabbitMQ, with the password.
    pub amqp: String,
    /// The port of Redis.
    pub redis: u16,
    /// The port of PostgreSQL.
    pub postgres: u16,
    /// The directory.
    pub dir: PathBuf,
}

impl Reach {
    /// The URL of RabbitMQ without the password.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        self.amqp.replace(&format!(":{PASSWORD}@"), "@")
    }

    /// The URL of Redis.
    #[must_use]
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.redis)
    }

    /// The URL of PostgreSQL.
    #[must_use]
    pub fn postgres_url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{USER}?sslmode=disable", self.postgres)
    }

    /// The job core over connections of its own.
    ///
    /// # Errors
    /// A server cannot be reached.
    pub async fn backend(&self) -> Result<Backend, BackendError> {
        let password = || Secret::new(PASSWORD);
        let amqp = AmqpConfig::at(self.amqp_url()).with_password(password());
        let redis = RedisConfig::new(self.redis_url());
        let postgres = PostgresConfig {
            password: Some(password()),
            connections_max: 2,
            ..PostgresConfig::new(self.postgres_url())
        };
        let (amqp, redis, postgres) = tokio::try_join!(
            AmqpDispatch::connect(&amqp),
            RedisStore::connect(&redis, Clock::Server),
            PostgresCatalog::connect(&postgres),
        )?;
        let (amqp, redis, postgres) = (Arc::new(amqp), Arc::new(redis), Arc::new(postgres));
        Ok(Backend {
            store: redis.clone(),
            dispatch: amqp.clone(),
            catalog: postgres.clone(),
            events: redis,
            history: Some(postgres),
            feed: Some(amqp.clone()),
            dead: Some(amqp),
        })
    }

    /// A worker over connections of its own, on simulated hosts; with a login their guard is real.
    ///
    /// # Errors
    /// A server cannot be reached, or there is no vault.
    pub async fn worker(&self, mut config: WorkerConfig, login: Option<Login>) -> Result<Worker> {
        config.spool = self.dir.join("spool");
        let backend = self.backend().await?;
        let vault: Arc<dyn Vault> = Arc::new(DirVault::open(self.dir.join("vault"))?);
        let hosts = SimulatedHosts {
            catalog: Arc::clone(&backend.catalog),
            root: self.dir.join("simulated"),
            login,
            known: Mutex::default(),
        };
        Ok(Worker::new(config, backend, Arc::new(hosts), vault))
    }
}

/// A simulated host with these slots.
///
/// # Errors
/// The name is wrong.
pub fn host(name: &str, description: &str, slots: u32) -> Result<Host> {
    Ok(Host {
        name: name.parse()?,
        site: "lab".parse()?,
        kind: HypervisorKind::Simulated,
        address: description.to_owned(),
        key_file: None,
        host_keys: Vec::new(),
        image_dir: None,
        dump_dir: None,
        slots,
        bytes_per_second: None,
    })
}

/// Submits jobs, many at one time, each under its key.
///
/// # Errors
/// One was refused.
pub async fn submit_all(
    backend: &Backend,
    jobs: impl IntoIterator<Item = (String, JobSpec)>,
) -> Result<()> {
    let mut under_way = JoinSet::new();
    for (key, spec) in jobs {
        if under_way.len() == SUBMITTERS {
            under_way.join_next().await.context("a submission")???;
        }
        let backend = backend.clone();
        under_way.spawn(async move {
            let id = JobId::from_key(&key);
            submit(&backend, id, spec, None, clock::now()).await.map(drop)
        });
    }
    while let Some(submitted) = under_way.join_next().await {
        submitted??;
    }
    Ok(())
}

/// A store on a server, for measurements of the store alone.
///
/// # Errors
/// The server cannot be reached.
pub async fn store_on(redis: &Redis) -> Result<Arc<dyn JobStore>, BackendError> {
    let config = RedisConfig::new(redis.url());
    Ok(Arc::new(RedisStore::connect(&config, Clock::Server).await?))
}

/// The drivers of a worker.
struct SimulatedHosts {
    catalog: Arc<dyn Catalog>,
    root: PathBuf,
    login: Option<Login>,
    known: Mutex<HashMap<HostName, Arc<dyn Driver>>>,
}

impl SimulatedHosts {
    fn open(&self, host: Host, root: &Path) -> Result<Arc<dyn Driver>, Fault> {
        let driver = SimulatedDriver::open(host.clone(), root).map_err(|error| error.fault())?;
        match &self.login {
            None => Ok(Arc::new(driver)),
            Some(login) => Ok(Arc::new(login.guarding(&host, driver)?)),
        }
    }
}

#[async_trait]
impl Drivers for SimulatedHosts {
    async fn host(&self, name: &HostName) -> Result<Host, Fault> {
        self.catalog.host(name).await.map_err(|error| error.fault())
    }

    async fn driver(&self, name: &HostName) -> Result<Arc<dyn Driver>, Fault> {
        let host = self.host(name).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = known.get(name) {
            return Ok(Arc::clone(driver));
        }
        let driver = self.open(host, &self.root)?;
        known.insert(name.clone(), Arc::clone(&driver));
        Ok(driver)
    }
}
