//! The real `drs`, as it is shipped, and what it takes of the machine.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// An initialised data directory and the release build of the product.
pub(crate) struct Product {
    dir: TempDir,
    target: PathBuf,
    binary: PathBuf,
}

impl Product {
    /// Builds the product, once per run, and initialises a data directory.
    pub(crate) fn new() -> Result<Self> {
        let bench = std::env::current_exe()?;
        let target = bench
            .ancestors()
            .find(|path| path.join("CACHEDIR.TAG").exists())
            .context("the bench stands in cargo's target directory")?;
        static BUILT: OnceLock<bool> = OnceLock::new();
        ensure!(*BUILT.get_or_init(|| build(target)), "the product does not build");
        let dir = TempDir::with_prefix("drs-bench-")?;
        let binary = target.join("release/drs");
        let product = Self { dir, target: target.to_owned(), binary };
        product.run(&["init"])?;
        Ok(product)
    }

    /// A directory for files of the measurement.
    pub(crate) fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Cargo's target directory, on a disk that has room for large files.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Runs a command, which must end well, and returns its standard output.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String> {
        let output = self.command(args).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "drs {args:?}: {stderr}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command, which must end well, and tells how long it took and how many bytes of memory
    /// it had at most.
    pub(crate) fn watch(&self, args: &[&str]) -> Result<(Duration, u64)> {
        let began = Instant::now();
        let mut child = self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut peak = 0;
        let status = loop {
            peak = peak.max(peak_bytes(child.id()).unwrap_or(0));
            if let Some(status) = child.try_wait()? {
                break status;
            }
            std::thread::park_timeout(LOOK);
        };
        ensure!(status.success(), "drs {args:?}: {status}");
        Ok((began.elapsed(), peak))
    }

    /// Starts `drs serve`.
    pub(crate) fn serve(&self) -> Result<Serving> {
        let log = std::fs::File::create(self.scratch().join("serve.log"))?;
        let child = self.command(&["serve"]).stdout(Stdio::null()).stderr(log).spawn()?;
        Ok(Serving { child })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--data-dir").arg(self.dir.path().join("data")).args(args);
        command.stdin(Stdio::null()).env_remove("SSH_AUTH_SOCK");
        command
    }
}

/// Builds the product; tells whether that went well.
fn build(target: &Path) -> bool {
    Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", "drs", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .is_ok_and(|status| status.success())
}

/// A running `drs serve`; it ends with this value.
pub(crate) struct Serving {
    child: Child,
}

impl Serving {
    /// The most memory that it had in RAM at one time, in bytes.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        peak_bytes(self.child.id()).context("drs serve has ended")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let asked = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        if let Err(error) = asked.map_err(Into::into).and_then(|()| self.child.wait().map(drop)) {
            println!("drs serve did not end: {error}");
        }
    }
}

/// `VmHWM` of a process.
fn peak_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
