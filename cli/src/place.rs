//! An opened data directory: what nearly every command starts from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drs_backend::Backend;
use drs_hypervisor::{Driver, Drivers};
use drs_model::{HostName, Job, JobId};
use drs_runtime::telemetry::metrics::Metrics;
use drs_runtime::{Config, DataDir, environment};
use drs_vault::Vault;

use crate::args::Globals;
use crate::failure::{Failure, Outcome};
use crate::opened::Opened;
use crate::output::Output;
use crate::servers::Servers;
use crate::wiring::{self, CatalogDrivers};
use crate::{cluster, embedded};

/// The data directory, its configuration and the ports behind it.
pub(crate) struct Place {
    pub dir: DataDir,
    pub config: Config,
    /// The figures of this process, when somebody may ask for them.
    pub metrics: Option<Metrics>,
    pub backend: Backend,
    /// What stands behind the backend.
    pub servers: Servers,
    pub drivers: Arc<dyn Drivers>,
}

impl Place {
    /// Opens the ports of an opened data directory.
    pub(crate) fn open(opened: Opened) -> Outcome<Self> {
        let Opened { dir, config, metrics, role } = opened;
        let (backend, servers) = match &config.cluster {
            None => wiring::open_backend(&dir)?,
            Some(cluster) => wiring::open_cluster(cluster, role.unwrap_or("drs"))?,
        };
        let drivers = Arc::new(CatalogDrivers::new(Arc::clone(&backend.catalog), &dir));
        Ok(Self { dir, config, metrics, backend, servers, drivers })
    }

    /// Whether other processes run the jobs that this one submits.
    pub(crate) fn is_served(&self) -> Outcome<bool> {
        Ok(self.config.cluster.is_some() || self.dir.is_served()?)
    }

    /// Sees a job through to its end. `None` when the user interrupted; the job then goes on elsewhere or
    /// later.
    pub(crate) async fn see_through(&self, output: Output, id: JobId) -> Outcome<Option<Job>> {
        match self.config.cluster {
            None => embedded::see_through(self, output, id).await,
            Some(_) => cluster::see_through(self, output, id).await,
        }
    }

    /// The vault. Opened when it is needed: without its storage every other command still works.
    pub(crate) fn vault(&self) -> Outcome<Arc<dyn Vault>> {
        Ok(wiring::open_vault(&self.dir, &self.config)?)
    }

    /// The driver of a host in the catalogue.
    pub(crate) async fn driver(&self, host: &HostName) -> Outcome<Arc<dyn Driver>> {
        Ok(self.drivers.driver(host).await?)
    }
}

/// The data directory that is meant.
pub(crate) fn data_dir(globals: &Globals) -> Outcome<PathBuf> {
    let named = globals.data_dir.clone().or_else(environment::default_data_dir);
    let Some(path) = named else {
        return Err(Failure::invalid(
            "no data directory is named, and this user has no home directory",
            "Name one with `--data-dir DIR`.",
        ));
    };
    absolute(&path)
}

/// A path on this machine, made absolute.
pub(crate) fn absolute(path: &Path) -> Outcome<PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Failure::invalid(format!("{:?} is no path: {error}", path), "Name another one.")
    })
}
