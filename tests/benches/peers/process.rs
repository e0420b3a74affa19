//! A worker process that can be killed as a power cut does: with everything that it has started here.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

/// A process in a group of its own; all of the group is killed with this value.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a command, which tells what it has to say to a file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log)?;
        command.process_group(0).stdout(file.try_clone()?).stderr(file);
        Ok(Self(command.spawn().with_context(|| format!("{command:?}"))?))
    }

    /// Kills it.
    pub(crate) fn kill(self) {}
}

impl Drop for Process {
    fn drop(&mut self) {
        if kill_process_group(Pid::from_child(&self.0), Signal::KILL).is_ok() {
            self.0.wait().ok();
        }
    }
}
