//! One running server: started, ended and started again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::command;
use crate::keeper::{Keeper, Order};

/// How long a server may take to come up or to stop: a killed RabbitMQ took more than a minute on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// How often another directory and port are tried when a server ends while it starts.
const ATTEMPTS: usize = 3;

/// What differs between the servers.
pub(crate) trait Program: Send + Sync + 'static {
    /// What people call it.
    const NAME: &'static str;

    /// The signal that asks it to stop now, in good order.
    const STOP: Signal = Signal::TERM;

    /// Ready to run in an empty directory: writes what it needs there and takes free ports.
    fn prepare(&self, dir: &Path) -> Ready;
}

/// A prepared server: how it is started, and how one knows that it serves.
pub(crate) struct Ready {
    pub(crate) port: u16,
    pub(crate) command: Box<dyn Fn() -> Command + Send + Sync>,
    pub(crate) serves: Box<dyn Fn() -> bool + Send + Sync>,
}

/// A real server in a temporary directory, listening on a port of 127.0.0.1.
///
/// Dropped, it is killed and its directory removed; while the thread panics the directory stays, and where
/// it is stands on standard error.
pub struct Server {
    name: &'static str,
    stop: Signal,
    dir: PathBuf,
    ready: Ready,
    state: Mutex<State>,
}

struct State {
    keeper: Keeper,
    /// The server's first process, while it runs.
    process: Option<Child>,
}

impl Server {
    pub(crate) fn start<P: Program>(program: &P) -> Self {
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let dir = tempfile::Builder::new()
                .prefix("drs-server-")
                .tempdir()
                .expect("a temporary directory")
                .keep();
            let state = Mutex::new(State { keeper: Keeper::of(&dir), process: None });
            let ready = program.prepare(&dir);
            let server = Self { name: P::NAME, stop: P::STOP, dir, ready, state };
            match server.up() {
                Ok(()) => return server,
                Err(why) => said = why,
            }
        }
        panic!("{} does not start ({ATTEMPTS} attempts). It said:\n{said}", P::NAME);
    }

    /// The port of 127.0.0.1 that it listens on; the same after a restart.
    pub fn port(&self) -> u16 {
        self.ready.port
    }

    /// Its directory: data, configuration, logs (`out` holds what it printed).
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Asks it to stop in good order and waits until all of it is gone. Nothing when it does not run.
    pub fn stop(&self) {
        let mut state = self.state();
        let Some(mut process) = state.process.take() else { return };
        let pid = Pid::from_child(&process);
        kill_process(pid, self.stop).expect("a child can be signalled");
        let began = Instant::now();
        while process.try_wait().expect("a child can be waited for").is_none() {
            if began.elapsed() > PATIENCE {
                state.process = Some(process);
                drop(state);
                panic!("{} does not stop in {PATIENCE:?}", self.name);
            }
            thread::sleep(Duration::from_millis(5));
        }
        state.keeper.obey(Order::Kill);
    }

    /// Kills all its processes at once (SIGKILL) and waits until they are gone.
    pub fn kill(&self) {
        let mut state = self.state();
        state.keeper.obey(Order::Kill);
        if let Some(mut process) = state.process.take() {
            process.wait().expect("a child can be waited for");
        }
    }

    /// Stops time for it (SIGSTOP to every process): connections stay open and nobody answers.
    pub fn freeze(&self) {
        self.state().keeper.obey(Order::Freeze);
    }

    /// Lets it go on after [`Server::freeze`].
    pub fn thaw(&self) {
        self.state().keeper.obey(Order::Thaw);
    }

    /// Starts it again on the same port with the same data; one that still runs is stopped first.
    pub fn restart(&self) {
        self.stop();
        if let Err(said) = self.up() {
            panic!("{} does not start again. It said:\n{said}", self.name);
        }
    }

    /// Starts it and waits until it serves; else the last of what it printed.
    fn up(&self) -> Result<(), String> {
        let out = self.dir.join("out");
        let log = File::create(&out).expect("a file in the server's directory");
        let mut command = (self.ready.command)();
        Keeper::mark(&mut command, &self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle"))
            .stderr(log);
        let mut process = command::start(&mut command);
        let began = Instant::now();
        loop {
            // Asked in this order: a stranger on the port must not answer for a server that ended.
            let serves = (self.ready.serves)();
            let ended = process.try_wait().expect("a child can be waited for");
            if let Some(status) = ended {
                self.state().keeper.obey(Order::Kill);
                return Err(format!("{}({status})", end_of(&out)));
            }
            if serves {
                self.state().process = Some(process);
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                self.state().process = Some(process);
                self.kill();
                return Err(format!("{}(not up in {PATIENCE:?})", end_of(&out)));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            self.state().keeper.obey(Order::LeaveDirectory);
            eprintln!("what {} left is in {}", self.name, self.dir.display());
        }
        self.kill();
    }
}

/// The last lines of a file.
fn end_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(30)).map(|line| format!("{line}\n")).collect()
}
