//! A data directory of its own for each test, and `drs` run on it.
#![allow(clippy::disallowed_methods, reason = "tests start the product and their servers")]

use std::fs::File;
use std::io::{PipeWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Longest a condition is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a finished command left.
pub(crate) struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The JSON document on standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.stdout, self.stderr))
    }
}

/// A data directory.
pub(crate) struct Bench {
    folder: TempDir,
}

/// A command that runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it runs");
    }

    pub(crate) fn said(&self) -> String {
        read(&self.stdout) + &read(&self.stderr)
    }

    pub(crate) fn says(&self, text: &str) {
        until(text, || self.said().contains(text).then_some(()));
    }

    pub(crate) fn ends(mut self) -> Ran {
        let status = until("the end of the command", || self.child.try_wait().expect("a child"));
        let (stdout, stderr) = (read(&self.stdout), read(&self.stderr));
        Ran { code: status.code().unwrap_or(-1), stdout, stderr }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("the command's output")
}

fn ran(command: &mut Command) -> Ran {
    let output = command.stderr(Stdio::piped()).spawn().and_then(Child::wait_with_output);
    let output = output.expect("drs starts");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// A command of this machine, for the tests' own servers and keys.
pub(crate) fn local(program: &str) -> Command {
    Command::new(program)
}

/// Waits until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Bench {
    /// A folder without a data directory yet.
    pub(crate) fn bare() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    /// With the hosts `lab` (VMs `vm-001` and on) and `rc` (none).
    pub(crate) fn new(lab: &str) -> Self {
        let bench = Self::bare();
        bench.ok("init");
        bench.ok(&format!("host add lab --driver simulated --address {lab} --site dc"));
        bench.ok("host add rc --driver simulated --address vms=0,restore_ms=200 --site rc");
        bench
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = local(env!("CARGO_BIN_EXE_drs"));
        command.env_clear().env("TZ", "UTC").arg("--data-dir").arg(self.data_dir()).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// Runs a command, its words divided by spaces, to its end.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_words(&line.split(' ').collect::<Vec<_>>())
    }

    pub(crate) fn run_words(&self, words: &[&str]) -> Ran {
        ran(&mut self.command(words))
    }

    /// As [`Bench::run`], with these variables.
    pub(crate) fn run_with(&self, line: &str, variables: &[(&str, &str)]) -> Ran {
        let words = line.split(' ').collect::<Vec<_>>();
        ran(self.command(&words).envs(variables.iter().copied()))
    }

    /// As [`Bench::run`], with a file's content coming through a pipe as standard input.
    pub(crate) fn fed(&self, line: &str, input: &Path) -> Ran {
        let words = line.split(' ').collect::<Vec<_>>();
        let mut cat = local("cat").arg(input).stdout(Stdio::piped()).spawn().expect("cat starts");
        let pipe = cat.stdout.take().expect("a pipe");
        let ran = ran(self.command(&words).stdin(pipe));
        cat.wait().expect("cat ends");
        ran
    }

    /// As [`Bench::run`], with standard output going to a file.
    pub(crate) fn to_file(&self, line: &str, file: &Path) -> Ran {
        let words = line.split(' ').collect::<Vec<_>>();
        ran(self.command(&words).stdout(File::create(file).expect("a file")))
    }

    /// As [`Bench::run`], with nobody at the other end of standard output.
    pub(crate) fn unheard(&self, line: &str) -> Ran {
        let words = line.split(' ').collect::<Vec<_>>();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        ran(self.command(&words).stdout(writer))
    }

    /// Runs a command that succeeds.
    pub(crate) fn ok(&self, line: &str) -> Ran {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{line}: {}{}", ran.stdout, ran.stderr);
        ran
    }

    /// Runs a command that succeeds and answers with JSON.
    pub(crate) fn json(&self, line: &str) -> Value {
        self.ok(&format!("{line} --json")).json()
    }

    /// Runs a command that fails, and checks how; returns standard error.
    pub(crate) fn fails(&self, line: &str, code: i32, fault: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, code, "{line}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(&format!("  code: {fault}\n")), "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains("error: "), "{line}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{line}");
        ran.stderr
    }

    /// Starts a command and goes on.
    pub(crate) fn start(&self, line: &str) -> Running {
        self.start_with(line, Stdio::null())
    }

    /// As [`Bench::start`], with a pipe as standard input that has this content and stays open as
    /// long as what is returned beside the command.
    pub(crate) fn start_fed(&self, line: &str, input: &[u8]) -> (Running, PipeWriter) {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let running = self.start_with(line, reader.into());
        writer.write_all(input).expect("it reads");
        (running, writer)
    }

    fn start_with(&self, line: &str, stdin: Stdio) -> Running {
        let number = std::fs::read_dir(self.folder()).expect("a folder").count();
        let (stdout, stderr) = (
            self.folder().join(format!("{number}.stdout")),
            self.folder().join(format!("{number}.stderr")),
        );
        let child = self
            .command(&line.split(' ').collect::<Vec<_>>())
            .stdin(stdin)
            .stdout(File::create(&stdout).expect("a file"))
            .stderr(File::create(&stderr).expect("a file"))
            .spawn()
            .expect("drs starts");
        Running { child, stdout, stderr }
    }

    /// Starts `drs serve` and waits until it is ready.
    pub(crate) fn serve(&self) -> Running {
        let serve = self.start("serve");
        serve.says("drs serve is ready");
        serve
    }

    /// Waits until a job is in a state.
    pub(crate) fn reaches(&self, job: &str, state: &str) {
        until(&format!("job {job} {state}"), || {
            (self.json(&format!("job show {job}"))["state"] == state).then_some(())
        });
    }
}
