//! The real `drs` binary and its data directories.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test, with the crash points of the worker in it. Built once per test process;
/// cargo does nothing when it is there already.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let target = target_dir();
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "drs", "--features", "crash-points"])
            .arg("--target-dir")
            .arg(&target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the binary builds");
        own_copy(&target.join("debug/drs"))
    })
}

/// A copy beside the binary, named after what it is a copy of: another build of the same binary may
/// replace the original while tests run it.
fn own_copy(built: &Path) -> PathBuf {
    let metadata = built.metadata().expect("the binary");
    let (seconds, nanoseconds, size) = (metadata.mtime(), metadata.mtime_nsec(), metadata.len());
    let copy = built.with_file_name(format!("drs-under-test-{seconds}-{nanoseconds}-{size}"));
    if !copy.exists() {
        let unfinished = copy.with_extension(std::process::id().to_string());
        std::fs::copy(built, &unfinished).expect("a copy");
        std::fs::rename(&unfinished, &copy).expect("a copy");
    }
    copy
}

/// Cargo's target directory: a test stands in `PROFILE/deps` below it.
fn target_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    test.ancestors().nth(3).expect("cargo's target directory").to_path_buf()
}

/// A finished command.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; 137 when it was killed.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// What a command left.
    pub fn of(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let signal = output.status.signal().map(|signal| 128 + signal);
        Self {
            code: output.status.code().or(signal).unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, which must have ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The same, which must have failed with this exit code and these words in its message.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in: {}", self.stderr);
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}

/// An initialised data directory of the product.
pub struct Installation {
    dir: TempDir,
}

impl Installation {
    /// A fresh one, as `drs init` makes it.
    pub fn new() -> Self {
        let dir = TempDir::with_prefix("drs-t-").expect("a directory");
        let installation = Self { dir };
        installation.run(&["init"]).ok();
        installation
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A command on it, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("--data-dir").arg(self.path()).args(args).stdin(Stdio::null());
        command.env_remove("DRS_CRASH_AT").env_remove("SSH_AUTH_SOCK");
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Finished {
        Finished::of(self.command(args).output().expect("drs runs"))
    }

    /// Runs a command that must end well and returns its JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        self.run(&all).ok().json()
    }

    /// Runs a command that is killed at a crash point, and makes sure that it was.
    #[track_caller]
    pub fn crash(&self, point: &str, args: &[&str]) {
        let output = self.command(args).env("DRS_CRASH_AT", point).output().expect("drs runs");
        let finished = Finished::of(output);
        assert_eq!(finished.code, 137, "not killed at {point}: {}", finished.stderr);
    }

    /// Runs a server that is killed at a crash point, and makes sure that it was.
    #[track_caller]
    pub fn crash_serving(&self, point: &str) {
        let mut serving = self.serve_with(|command| {
            command.env("DRS_CRASH_AT", point);
        });
        let code = wait_for(point, || {
            let code = serving.child.try_wait().expect("a child").map(|status| {
                use std::os::unix::process::ExitStatusExt;
                status.signal()
            });
            let over = || self.job(&self.newest_job())["state"] == "succeeded";
            code.or_else(|| over().then_some(None))
        });
        assert_eq!(code, Some(9), "not killed at {point}: {}", self.serve_log());
    }

    /// Starts `drs serve`; it ends with the returned value.
    pub fn serve(&self) -> Serving {
        self.serve_with(|_| {})
    }

    /// Starts `drs serve` with a change to its command.
    pub fn serve_with(&self, change: impl FnOnce(&mut Command)) -> Serving {
        let log = std::fs::File::create(self.dir.path().join("serve.log")).expect("a log");
        let mut command = self.command(&["serve"]);
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        change(&mut command);
        Serving { child: command.spawn().expect("drs serve starts") }
    }

    /// What the server has said.
    pub fn serve_log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("serve.log")).unwrap_or_default()
    }

    /// Submits a job that waits until a person has done something, tells what it waits for, and cancels it.
    #[track_caller]
    pub fn waits(&self, args: &[&str]) -> Value {
        let server = self.serve();
        let job = self.json(&[args, &["--detach"]].concat());
        let id = job["id"].as_str().expect("an id");
        let job = wait_for("the job waits", || {
            Some(self.job(id)).filter(|job| job["state"] == "retry_wait")
        });
        self.run(&["job", "cancel", id]).ok();
        assert_eq!(self.settled(id), "cancelled");
        server.terminate();
        job["fault"].clone()
    }

    /// The job that was submitted last.
    #[track_caller]
    pub fn newest_job(&self) -> String {
        self.json(&["job", "list"])[0]["id"].as_str().expect("a job").to_owned()
    }

    /// Lets a server finish what is to be done, and demands that the newest job ends in this state.
    #[track_caller]
    pub fn finish(&self, state: &str, context: &str) -> String {
        let job = self.newest_job();
        let server = self.serve();
        let ended = self.settled(&job);
        server.terminate();
        assert_eq!(ended, state, "{context}: {}", self.run(&["job", "log", &job]).stdout);
        job
    }

    /// A job's record.
    #[track_caller]
    pub fn job(&self, id: &str) -> Value {
        self.json(&["job", "show", id])
    }

    /// Waits until a job is over and returns its state.
    #[track_caller]
    pub fn settled(&self, id: &str) -> String {
        let over = ["succeeded", "failed", "cancelled", "needs_operator"];
        wait_for("the job is over", || {
            let state = self.job(id)["state"].as_str().map(str::to_owned)?;
            over.contains(&state.as_str()).then_some(state)
        })
    }
}

impl Default for Installation {
    fn default() -> Self {
        Self::new()
    }
}

/// A running `drs serve`.
pub struct Serving {
    child: Child,
}

impl Serving {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// Ends it in order and tells how long that took.
    pub fn terminate(mut self) -> Duration {
        let begun = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
        self.child.wait().expect("reaped");
        begun.elapsed()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// Longest wait for any condition.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until a condition yields a value; at most two minutes, then says what did not come.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
