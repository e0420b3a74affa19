//! Tasks: work that has a UPID and a log, done by a worker process that the command waits for.
//!
//! The command starts itself once more as the worker and copies the worker's lines to its own output.
//! A worker that dies leaves its locks and files behind; a command that dies makes the worker fail at its
//! next line, and the worker cleans up. The last line from a worker, marked by a control byte, is its result.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Done, Failure};
use crate::interrupt;
use crate::node::{self, Node};

/// In the environment of a worker.
const WORKER: &str = "DRS_LAB_WORKER";
const RESULT: char = '\u{1}';
const TASKS: &str = "/var/log/pve/tasks";

/// Where the lines of a task go that a command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// To standard output.
    Out,
    /// To standard error: standard output carries an archive.
    Err,
    /// Nowhere.
    Quiet,
}

/// The log of a running task.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) upid: String,
    log: File,
    out: Option<Output>,
    pub(crate) warnings: usize,
}

#[derive(Debug)]
enum Output {
    /// A worker's lines go to its command.
    Command,
    /// The lines of work done by the command itself.
    Terminal,
}

impl Journal {
    fn new(node: &Node, kind: &str, id: &str, out: Output) -> Done<Self> {
        let pid = std::process::id();
        let began = start_time(pid).unwrap_or_default();
        let now = node::epoch();
        let upid =
            format!("UPID:{}:{pid:08X}:{began:08X}:{now:08X}:{kind}:{id}:root@pam:", node.name);
        let log = File::create(node.new_file(log_of(&upid))?)?;
        Ok(Self { upid, log, out: Some(out), warnings: 0 })
    }

    /// Writes a line. Fails once, when the command is gone that should read it.
    pub(crate) fn line(&mut self, text: &str) -> Done {
        writeln!(self.log, "{text}")?;
        let written = match self.out {
            None => Ok(()),
            Some(Output::Command) => writeln!(io::stderr(), "{text}"),
            Some(Output::Terminal) => writeln!(io::stdout(), "{text}"),
        };
        written.map_err(|_| {
            self.out = None;
            Failure::new("broken pipe")
        })
    }

    fn end(&mut self, result: &Done) {
        let last = match result {
            Ok(()) if self.warnings > 0 => format!("TASK WARNINGS: {}", self.warnings),
            Ok(()) => "TASK OK".to_owned(),
            Err(failure) => format!("TASK ERROR: {}", failure.text.replace('\n', " ")),
        };
        // The log is all there is to say it in.
        writeln!(self.log, "{last}").ok();
    }
}

/// What a command learns of the task it waited for.
pub(crate) struct Ended {
    pub(crate) upid: String,
    pub(crate) result: Done,
}

/// Does the work in a worker. In the worker itself this does not return.
pub(crate) fn in_worker(
    node: &Node,
    kind: &str,
    id: &str,
    lines: Lines,
    work: impl FnOnce(&mut Journal) -> Done,
) -> Done<Ended> {
    if std::env::var_os(WORKER).is_some() {
        be_worker(node, kind, id, work);
    }
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let archive = if lines == Lines::Out { Stdio::null() } else { Stdio::inherit() };
    let mut worker = Command::new(std::env::current_exe()?)
        .arg0(name)
        .args(args)
        .env(WORKER, "1")
        .stdout(archive)
        .stderr(Stdio::piped())
        .spawn()?;
    let pid = worker.id();
    interrupt::watch(move || {
        terminate(pid);
    })?;
    let said = copy(&mut worker, lines)?;
    worker.wait()?;
    let Some(said) = said else {
        return Err(Failure::new("got unexpected control message:  "));
    };
    Ok(ended(&said))
}

fn be_worker(node: &Node, kind: &str, id: &str, work: impl FnOnce(&mut Journal) -> Done) -> ! {
    let begun =
        interrupt::watch(|| {}).and_then(|()| Journal::new(node, kind, id, Output::Command));
    let (said, code) = match begun {
        Err(failure) => (format!("{RESULT}255\t\t0\t{}", failure.text), 255),
        Ok(mut journal) => {
            let result = work(&mut journal);
            journal.end(&result);
            let (code, text) = match &result {
                Ok(()) => (0, String::new()),
                Err(failure) => (failure.code, failure.text.replace('\n', "\u{2}")),
            };
            (format!("{RESULT}{code}\t{}\t{}\t{text}", journal.upid, journal.warnings), code)
        }
    };
    // Nobody may be there to hear it; the log has it, too.
    if code != NO_RESULT {
        writeln!(io::stderr(), "{said}").ok();
    }
    std::process::exit(code)
}

/// The code of a worker that ends without a word, as one that dies before its work begins.
pub(crate) const NO_RESULT: i32 = -1;

fn ended(said: &str) -> Ended {
    let mut parts = said.splitn(4, '\t');
    let mut part = || parts.next().unwrap_or_default();
    let (code, upid, warnings, text) = (part(), part().to_owned(), part(), part());
    let result = match code.parse() {
        Ok(0) => Ok(()),
        code => Err(Failure::with_code(code.unwrap_or(255), text.replace('\u{2}', "\n"))),
    };
    if result.is_ok() && warnings != "0" {
        eprintln!("Task finished with {warnings} warning(s)!");
    }
    Ended { upid, result }
}

/// Copies the worker's lines until it ends, and gives its result.
fn copy(worker: &mut Child, lines: Lines) -> Done<Option<String>> {
    let Some(from) = worker.stderr.take() else { return Ok(None) };
    for line in BufReader::new(from).lines() {
        let line = line?;
        if let Some(result) = line.strip_prefix(RESULT) {
            return Ok(Some(result.to_owned()));
        }
        match lines {
            Lines::Out => writeln!(io::stdout(), "{line}")?,
            Lines::Err => writeln!(io::stderr(), "{line}")?,
            Lines::Quiet => {}
        }
    }
    Ok(None)
}

/// Does the work at once, in this process, with a task's log.
pub(crate) fn here(
    node: &Node,
    kind: &str,
    id: &str,
    work: impl FnOnce(&mut Journal) -> Done,
) -> Done<String> {
    let mut journal = Journal::new(node, kind, id, Output::Terminal)?;
    let result = work(&mut journal);
    journal.end(&result);
    result.map(|()| journal.upid)
}

/// A task as its log tells it.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) upid: String,
    pub(crate) pid: u32,
    pub(crate) began: u64,
    pub(crate) start: i64,
    pub(crate) kind: String,
    pub(crate) id: String,
    /// `OK`, an error's text, or nothing while it runs.
    pub(crate) status: Option<String>,
    pub(crate) end: i64,
}

/// Every task, the latest first.
pub(crate) fn all(node: &Node) -> Vec<Task> {
    let mut found = Vec::new();
    for folder in fs::read_dir(node.file(TASKS)).into_iter().flatten().flatten() {
        for entry in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            found.extend(entry.file_name().to_str().and_then(|upid| read(node, upid)));
        }
    }
    found.sort_by_key(|task| std::cmp::Reverse((task.start, task.began, task.pid)));
    found
}

/// One task by its UPID.
pub(crate) fn read(node: &Node, upid: &str) -> Option<Task> {
    let parts: Vec<&str> = upid.split(':').collect();
    let [_, _, pid, began, start, kind, id, _, _] = parts[..] else { return None };
    let file = node.file(log_of(upid));
    let text = String::from_utf8_lossy(&fs::read(&file).ok()?).into_owned();
    let modified = fs::metadata(&file).and_then(|meta| meta.modified()).ok()?;
    let end = modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let pid = u32::from_str_radix(pid, 16).ok()?;
    let began = u64::from_str_radix(began, 16).ok()?;
    let last = text.lines().last().unwrap_or_default();
    let status = match (last.strip_prefix("TASK "), start_time(pid) == Some(began)) {
        (Some(status), _) => Some(status.strip_prefix("ERROR: ").unwrap_or(status).to_owned()),
        (None, true) => None,
        (None, false) => Some("unexpected status".to_owned()),
    };
    Some(Task {
        upid: upid.to_owned(),
        pid,
        began,
        start: i64::from_str_radix(start, 16).ok()?,
        kind: kind.to_owned(),
        id: id.to_owned(),
        status,
        end: i64::try_from(end).unwrap_or_default(),
    })
}

/// The log of a task.
pub(crate) fn log(node: &Node, upid: &str) -> Option<String> {
    fs::read(node.file(log_of(upid))).ok().map(|b| String::from_utf8_lossy(&b).into_owned())
}

fn log_of(upid: &str) -> String {
    let start = upid.split(':').nth(4).unwrap_or_default();
    let digit = start.chars().last().unwrap_or('0');
    format!("{TASKS}/{digit}/{upid}")
}

/// When a process began, in ticks since boot; `None` when there is no such process.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    if fields.starts_with('Z') {
        return None;
    }
    fields.split(' ').nth(19)?.parse().ok()
}

/// Sends SIGTERM to a process, if it is there.
pub(crate) fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::TERM).ok();
    }
}
