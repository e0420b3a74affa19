//! Where the servers of a cluster are.
//!
//! Each setting can come from the environment in place of the file, so that a worker in a container needs no
//! file for them: `DRS_AMQP_URL`, `DRS_REDIS_URL`, `DRS_POSTGRES_URL`, each with `..._PASSWORD`,
//! `DRS_CA_FILE`, and `DRS_LANES`, a list with commas.

use std::path::{Path, PathBuf};

use drs_model::{Lane, Secret};

use super::ConfigError;
use super::schema::Values;
use crate::environment;

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its URL with the user, without a password. Empty when it is missing.
    pub url: String,
    /// The file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// The password, when the environment gives it.
    pub password: Option<Secret>,
}

impl Server {
    fn of(values: &Values, name: &'static str, password_file: &'static str) -> Self {
        Self {
            url: values.text("cluster", name).unwrap_or_default().to_owned(),
            password_file: values.text("cluster", password_file).map(PathBuf::from),
            password: None,
        }
    }

    fn override_from(&mut self, name: &str) {
        if let Some(url) = environment::server_url(name) {
            self.url = url;
        }
        if let Some(password) = environment::server_password(name) {
            self.password = Some(password);
        }
    }

    /// The password: the environment's, else the first line of its file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn password(&self) -> Result<Option<Secret>, ConfigError> {
        match (&self.password, &self.password_file) {
            (Some(password), _) => Ok(Some(password.clone())),
            (None, None) => Ok(None),
            (None, Some(path)) => first_line(path).map(Some),
        }
    }
}

fn first_line(path: &Path) -> Result<Secret, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok(Secret::new(text.lines().next().unwrap_or_default().trim_end()))
}

/// The servers of a cluster, and what its worker takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSection {
    /// `amqp`: RabbitMQ, which hands jobs out.
    pub amqp: Server,
    /// `redis`: where jobs stand.
    pub redis: Server,
    /// `postgres`: hosts, pairs, schedules and the jobs of the past.
    pub postgres: Server,
    /// `ca_file`: whose signatures are trusted, for all three, and nobody else's. Default `None`: those of
    /// the authorities of this machine.
    pub ca_file: Option<PathBuf>,
    /// `lanes`: whose jobs the worker of this machine takes. Default `main`.
    pub lanes: Vec<Lane>,
}

impl ClusterSection {
    /// What the file says, if anything: the environment may name the servers, and the file the rest.
    pub(super) fn from_values(values: &Values) -> Option<Self> {
        Some(Self::read(values)).filter(|read| *read != Self::read(&Values::default()))
    }

    fn read(values: &Values) -> Self {
        Self {
            amqp: Server::of(values, "amqp", "amqp_password_file"),
            redis: Server::of(values, "redis", "redis_password_file"),
            postgres: Server::of(values, "postgres", "postgres_password_file"),
            ca_file: values.text("cluster", "ca_file").map(PathBuf::from),
            lanes: values.lanes("cluster", "lanes").unwrap_or_else(|| vec![Lane::default()]),
        }
    }

    /// What the environment says, over what the file says.
    ///
    /// # Errors
    /// A lane is no name, or some of the three servers are named and others are not.
    pub(super) fn completed(section: Option<Self>) -> Result<Option<Self>, ConfigError> {
        let mut section = section.unwrap_or_else(|| Self::read(&Values::default()));
        section.amqp.override_from("AMQP");
        section.redis.override_from("REDIS");
        section.postgres.override_from("POSTGRES");
        section.ca_file = environment::ca_file().or(section.ca_file);
        if let Some(lanes) = environment::lanes() {
            let read: Result<_, drs_model::InvalidName> =
                lanes.split(',').map(|lane| lane.trim().parse()).collect();
            section.lanes =
                read.map_err(|error| ConfigError::Environment(format!("DRS_LANES: {error}")))?;
        }
        if !section.is_named() {
            return Ok(None);
        }
        let missing: Vec<&str> =
            [("amqp", &section.amqp), ("redis", &section.redis), ("postgres", &section.postgres)]
                .into_iter()
                .filter(|(_, server)| server.url.is_empty())
                .map(|(name, _)| name)
                .collect();
        if missing.is_empty() {
            return Ok(Some(section));
        }
        Err(ConfigError::HalfCluster(missing.join(" and ")))
    }

    fn is_named(&self) -> bool {
        [&self.amqp, &self.redis, &self.postgres].iter().any(|server| !server.url.is_empty())
    }
}
