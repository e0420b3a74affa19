//! The process environment, read in one place.
//!
//! | variable | meaning |
//! |---|---|
//! | `DRS_DATA_DIR` | the data directory (read by the command line as the default of `--data-dir`) |
//! | `DRS_LOG` | what is logged, in place of `[log] level`; also `target=level,...` |
//! | `XDG_DATA_HOME`, `HOME` | where a user's data directory is by default |
//! | `DRS_CRASH_AT` | where a test ends the process (binaries built for tests alone) |
//! | `DRS_AMQP_URL`, `DRS_REDIS_URL`, `DRS_POSTGRES_URL` | the servers of a cluster, in place of `[cluster]` |
//! | `DRS_AMQP_PASSWORD`, `DRS_REDIS_PASSWORD`, `DRS_POSTGRES_PASSWORD` | their passwords |
//! | `DRS_VAULT` | the vault's directory, in place of `[vault] path` |
//! | `DRS_LANES` | whose jobs a worker takes, in place of `[cluster] lanes` |
//! | `DRS_CA_FILE` | who may vouch for those servers, in place of `[cluster] ca_file` |
//! | `DRS_METRICS` | where a role answers those who watch it, in place of `[telemetry] metrics` |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | where traces go, in place of `[telemetry] otlp` |
//! | `SSH_AUTH_SOCK` | the SSH agent's socket, for hosts without a key file |
#![allow(clippy::disallowed_methods)]

use std::ffi::OsString;
use std::path::PathBuf;

use drs_model::Secret;

/// Name of the variable that names the data directory.
pub const DATA_DIR: &str = "DRS_DATA_DIR";

/// The log filter that the user asked for.
#[must_use]
pub fn log_filter() -> Option<String> {
    filled("DRS_LOG").and_then(|value| value.into_string().ok())
}

/// Where a role answers those who watch it.
pub(crate) fn metrics() -> Option<String> {
    filled("DRS_METRICS").and_then(|value| value.into_string().ok())
}

/// Where traces go.
pub(crate) fn otlp_endpoint() -> Option<String> {
    filled("OTEL_EXPORTER_OTLP_ENDPOINT").and_then(|value| value.into_string().ok())
}

/// The SSH agent's socket.
#[must_use]
pub fn ssh_agent() -> Option<PathBuf> {
    filled("SSH_AUTH_SOCK").map(PathBuf::from)
}

/// Where the data directory is when nobody says: `/var/lib/drs` for root, else `drs` in
/// `$XDG_DATA_HOME` or `~/.local/share`. `None` for a user without a home.
#[must_use]
pub fn default_data_dir() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/drs"));
    }
    filled("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| filled("HOME").map(|home| PathBuf::from(home).join(".local/share")))
        .map(|share| share.join("drs"))
}

/// What this machine calls itself.
#[must_use]
pub fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}

/// Whether the environment names a server of a cluster.
#[must_use]
pub fn names_cluster() -> bool {
    ["AMQP", "REDIS", "POSTGRES"].iter().any(|name| server_url(name).is_some())
}

/// The vault's directory, in place of `[vault] path`.
pub(crate) fn vault() -> Option<PathBuf> {
    filled("DRS_VAULT").map(PathBuf::from)
}

/// The URL of a server of the cluster: `AMQP`, `REDIS` or `POSTGRES`.
pub(crate) fn server_url(name: &str) -> Option<String> {
    filled(&format!("DRS_{name}_URL")).and_then(|value| value.into_string().ok())
}

/// The password of a server of the cluster.
pub(crate) fn server_password(name: &str) -> Option<Secret> {
    let value = filled(&format!("DRS_{name}_PASSWORD"))?;
    value.into_string().ok().map(Secret::new)
}

/// The file with the certificates of who may vouch for the servers of the cluster.
pub(crate) fn ca_file() -> Option<PathBuf> {
    filled("DRS_CA_FILE").map(PathBuf::from)
}

/// The lanes of a worker.
pub(crate) fn lanes() -> Option<String> {
    filled("DRS_LANES").and_then(|value| value.into_string().ok())
}

fn filled(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The point at which a test wants the process to end; read only by binaries built for tests.
#[must_use]
pub fn crash_point() -> Option<String> {
    filled("DRS_CRASH_AT").and_then(|value| value.into_string().ok())
}
