//! Where log lines go: standard error, so that standard output stays what was asked for.

use std::io::stderr;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::environment;

/// Starts logging, once for the process. `level` is used unless `DRS_LOG` says otherwise; a filter
/// in `DRS_LOG` that cannot be understood is told and left aside.
pub fn start(level: &str, format: LogFormat) {
    let wanted = environment::log_filter();
    let filter = wanted.as_deref().map(EnvFilter::try_new);
    let (filter, refused) = match filter {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(level), Some(error)),
        None => (EnvFilter::new(level), None),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
    if let Some(error) = refused {
        tracing::warn!(%error, "DRS_LOG is no log filter and is left aside");
    }
}
