//! The operator's hook script.

use std::process::Command;

use crate::failure::{Done, Failure};

use super::log::Log;

/// Calls the script for a phase; its output becomes lines of the job.
pub(super) fn call(
    log: &mut Log<'_>,
    script: Option<&str>,
    phase: &[&str],
    environment: &[(&str, String)],
) -> Done {
    let Some(script) = script else { return Ok(()) };
    let output = Command::new(log.node.file(script))
        .args(phase)
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .output()?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        log.info(line)?;
    }
    if output.status.success() {
        return Ok(());
    }
    let code = output.status.code().unwrap_or(255);
    let line = phase.join(" ");
    Err(Failure::new(format!("command '{script} {line}' failed: exit code {code}")))
}
