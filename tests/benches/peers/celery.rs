//! Celery, as its users run it: its own worker program on the same servers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process::Process;

/// How Celery is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// Classic queue, acknowledged before the task runs, four tasks fetched ahead.
    Fastest,
    /// As durable as ours: quorum queue, acknowledged behind the task, none fetched ahead, confirms.
    Durable,
}

/// Celery on a virtual host and a database of results of its own.
pub(crate) struct Celery {
    /// The virtual environment that it is installed in.
    home: PathBuf,
    broker: String,
    results: String,
    setting: Setting,
}

impl Celery {
    /// On a broker and a store of results.
    pub(crate) fn new(setting: Setting, broker: String, results: String) -> Result<Self> {
        let home = std::env::var_os("DRS_PEER_CELERY").context("run by `make bench-peers`")?;
        Ok(Self { home: home.into(), broker, results, setting })
    }

    /// Puts no-op tasks into the queue.
    pub(crate) fn fill(&self, count: usize) -> Result<()> {
        self.script(&["fill", &count.to_string()])
    }

    /// Puts a task into the queue that runs a command.
    pub(crate) fn remote(&self, command: &str) -> Result<()> {
        self.script(&["remote", command])
    }

    /// Starts a worker with so many processes that run tasks.
    pub(crate) fn worker(&self, name: &str, processes: usize, log: &Path) -> Result<Process> {
        let mut command = self.python(&["-m", "celery", "--app", "celery_side", "worker"]);
        command.args(["--concurrency", &processes.to_string()]);
        command.args(["--hostname", name, "--without-gossip", "--without-mingle"]);
        Process::start(&mut command, log)
    }

    fn script(&self, args: &[&str]) -> Result<()> {
        let status = self.python(&["celery_side.py"]).args(args).status()?;
        ensure!(status.success(), "celery_side.py {args:?}: {status}");
        Ok(())
    }

    fn python(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.home.join("bin/python"));
        let setting = if self.setting == Setting::Durable { "durable" } else { "fastest" };
        command
            .args(args)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers"))
            .env("PEER_BROKER", &self.broker)
            .env("PEER_RESULTS", &self.results)
            .env("PEER_SETTING", setting)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null());
        command
    }
}
