//! The configuration file `drs.toml`.
//!
//! The file is held against one table of keys (`schema`), and everything that is wrong with it is
//! told at once, with line numbers. A key that is not in the file has its default; a missing file
//! is an empty one.

mod check;
mod cluster;
mod schema;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use drs_model::{Fault, FaultCode};

pub use cluster::{ClusterSection, Server};
pub use schema::template;
use schema::{SOCKET, Values};

use crate::environment;

/// The configuration of a `drs` process, valid as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[worker]`
    pub worker: WorkerSection,
    /// `[scheduler]`
    pub scheduler: SchedulerSection,
    /// `[vault]`
    pub vault: VaultSection,
    /// `[cluster]`; `None` when everything is in one file of this machine.
    pub cluster: Option<ClusterSection>,
    /// `[log]`
    pub log: LogSection,
    /// `[telemetry]`
    pub telemetry: TelemetrySection,
}

/// How jobs are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSection {
    /// `slots`: jobs at one time. Default 4, 1 to 256.
    pub slots: usize,
    /// `critical_slots`: more slots, for restores and power only. Default 1, 0 to 64.
    pub critical_slots: usize,
    /// `lease_seconds`: after how many seconds without a sign of life another worker takes a job
    /// over. Default 60, 3 to 3600.
    pub lease_seconds: u32,
    /// `attempts_max`: attempts before a job fails for good. Default 5, 1 to 100.
    pub attempts_max: u32,
}

/// How schedulers take turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerSection {
    /// `lease_seconds`: after how many seconds without a sign of life of the leader another scheduler
    /// leads. Default 15, 3 to 600.
    pub lease_seconds: u32,
}

/// Where recovery points are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSection {
    /// `path`: the vault's directory, absolute. Default `None`: `vault` in the data directory.
    pub path: Option<PathBuf>,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSection {
    /// `level`: `error`, `warn`, `info`, `debug` or `trace`. Default `info`.
    pub level: String,
    /// `format`. Default `text`.
    pub format: LogFormat,
}

/// Who is told what happens, beside the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TelemetrySection {
    /// `otlp`: where traces go, as OTLP over HTTP: the URL before `/v1/traces`. The environment's
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` stands over it. Default `None`: nowhere.
    pub otlp: Option<String>,
    /// `metrics`: on which address a role answers `/metrics`, `/healthz` and `/readyz`. The environment's
    /// `DRS_METRICS` stands over it. Default `None`: on none.
    pub metrics: Option<SocketAddr>,
}

impl TelemetrySection {
    /// What the environment says, over what the file says.
    ///
    /// # Errors
    /// `DRS_METRICS` is no address.
    fn completed(self) -> Result<Self, ConfigError> {
        let metrics = match environment::metrics() {
            None => self.metrics,
            Some(text) => Some(text.parse().map_err(|_| {
                ConfigError::Environment(format!("DRS_METRICS must be {SOCKET}, not {text:?}"))
            })?),
        };
        Ok(Self { otlp: environment::otlp_endpoint().or(self.otlp), metrics })
    }
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One thing that is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what would be right, in one sentence without a full stop.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A variable of the environment breaks rules.
    #[error("{0}")]
    Environment(String),
    /// Some servers of the cluster are named, others are not.
    #[error("a cluster needs amqp, redis and postgres, and {0} is not named")]
    HalfCluster(String),
    /// The file breaks rules.
    #[error("{path} has {} mistake{}", mistakes.len(), if mistakes.len() == 1 { "" } else { "s" })]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// All of them, by line; at least one.
        mistakes: Vec<Mistake>,
    },
}

impl ConfigError {
    /// The error in the operator's terms.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let remedy = match self {
            Self::Unreadable { .. } => "Make it readable for this user.",
            Self::Mistakes { .. } => "Correct the lines named; nothing was started.",
            Self::Environment(_) => "Correct the variable; nothing was started.",
            Self::HalfCluster(_) => {
                "Name it in [cluster] or in DRS_AMQP_URL, DRS_REDIS_URL, DRS_POSTGRES_URL; or name none."
            }
        };
        Fault::permanent(FaultCode::InvalidConfig, self.to_string(), remedy)
    }

    /// The mistakes of the file, if that is what is wrong.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        match self {
            Self::Unreadable { .. } | Self::Environment(_) | Self::HalfCluster(_) => &[],
            Self::Mistakes { mistakes, .. } => mistakes,
        }
    }
}

impl Config {
    /// Reads and checks a file; a missing one is an empty one. What the environment says of the
    /// cluster, the vault and telemetry stands over the file.
    ///
    /// # Errors
    /// It cannot be read, or it breaks rules: all of them are told.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        };
        let config = Self::parse(&text)
            .map_err(|mistakes| ConfigError::Mistakes { path: path.to_owned(), mistakes })?;
        Ok(Self {
            vault: VaultSection { path: environment::vault().or(config.vault.path) },
            cluster: ClusterSection::completed(config.cluster)?,
            telemetry: config.telemetry.completed()?,
            ..config
        })
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, by line.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let values = check::check(text)?;
        Ok(Self::from_values(&values))
    }

    fn from_values(values: &Values) -> Self {
        Self {
            worker: WorkerSection {
                slots: values.integer("worker", "slots", 4) as usize,
                critical_slots: values.integer("worker", "critical_slots", 1) as usize,
                lease_seconds: values.integer("worker", "lease_seconds", 60),
                attempts_max: values.integer("worker", "attempts_max", 5),
            },
            scheduler: SchedulerSection {
                lease_seconds: values.integer("scheduler", "lease_seconds", 15),
            },
            cluster: ClusterSection::from_values(values),
            vault: VaultSection { path: values.text("vault", "path").map(PathBuf::from) },
            log: LogSection {
                level: values.text("log", "level").unwrap_or("info").to_owned(),
                format: match values.text("log", "format") {
                    Some("json") => LogFormat::Json,
                    _ => LogFormat::Text,
                },
            },
            telemetry: TelemetrySection {
                otlp: values.text("telemetry", "otlp").map(str::to_owned),
                metrics: values.text("telemetry", "metrics").and_then(|text| text.parse().ok()),
            },
        }
    }
}
