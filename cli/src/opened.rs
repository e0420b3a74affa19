//! What a command has before its async runtime starts: the data directory, its configuration, telemetry.

use std::path::Path;

use drs_runtime::config::{self, TelemetrySection};
use drs_runtime::telemetry::metrics::Metrics;
use drs_runtime::{Config, DataDir, DataDirError, LogFormat, Telemetry, Voice, environment};
use tracing::Span;

use crate::args::{self, Cli, Command};
use crate::failure::Outcome;
use crate::place::data_dir;

/// A data directory that is there, with a configuration that is valid.
pub(crate) struct Opened {
    pub dir: DataDir,
    pub config: Config,
    /// The figures of this process, when somebody may ask for them.
    pub metrics: Option<Metrics>,
    /// The name of its role among services; `None` for a command.
    pub role: Option<&'static str>,
}

impl Opened {
    /// Opens what the command works on and starts telemetry; `None` for a command that works on nothing.
    /// The configuration is checked before anything else in the directory.
    pub(crate) fn of(cli: &Cli) -> Outcome<Option<(Self, Telemetry)>> {
        let role = match &cli.command {
            None
            | Some(
                Command::Init { .. }
                | Command::Archive(_)
                | Command::Rsh(_)
                | Command::Completions { .. },
            ) => return Ok(None),
            Some(Command::Serve) => Some("drs-serve"),
            Some(Command::Worker(_)) => Some("drs-worker"),
            Some(Command::Scheduler) => Some("drs-scheduler"),
            Some(Command::Api) => Some("drs-api"),
            Some(_) => None,
        };
        let dir = open(&data_dir(&cli.globals)?)?;
        let config = Config::load(&dir.config())?;
        let telemetry = match role {
            Some(service) => of_role(service, &config),
            None => of_command(&config),
        };
        let metrics = telemetry.metrics().cloned();
        Ok(Some((Self { dir, config, metrics, role }, telemetry)))
    }

    /// The span of the whole command, to which the jobs that it submits belong. A role has none: what it
    /// does belongs to its jobs.
    pub(crate) fn span(&self) -> Span {
        if self.role.is_some() {
            return Span::none();
        }
        let name = args::command_of(&crate::words()).replace(' ', ".");
        tracing::info_span!("command", otel.name = name)
    }
}

/// The data directory. Where the environment names a cluster, one that is missing is made: it holds nothing
/// then that another machine needs.
fn open(root: &Path) -> Outcome<DataDir> {
    match DataDir::open(root) {
        Err(DataDirError::Missing(_)) if environment::names_cluster() => {
            let text = config::template(None).unwrap_or_default();
            Ok(DataDir::init(root, &text)?.finish()?)
        }
        opened => Ok(opened?),
    }
}

fn of_role(service: &'static str, config: &Config) -> Telemetry {
    let voice = Voice { service, level: &config.log.level, format: config.log.format };
    Telemetry::start(&voice, &config.telemetry)
}

/// Warnings alone, and not those of jobs: a person reads the command's own messages there. Nobody asks a
/// command for figures.
fn of_command(config: &Config) -> Telemetry {
    let level = "warn,drs_worker::reporter=off";
    let voice = Voice { service: "drs", level, format: LogFormat::Text };
    Telemetry::start(&voice, &TelemetrySection { metrics: None, ..config.telemetry.clone() })
}
