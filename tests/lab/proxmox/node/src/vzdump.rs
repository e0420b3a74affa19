//! `vzdump`: what the command checks before it hands the job to its worker.

mod archive;
mod compressor;
mod hook;
mod job;
mod log;
mod lxc;
mod progress;
mod prune;
mod qemu;
mod source;

use std::fs;

use crate::arguments::{self, Arguments, Known, Takes};
use crate::failure::{Done, Failure};
use crate::guests;
use crate::node::Node;
use crate::storage::{self, Storage};
use crate::task::{self, Ended, Lines};
use compressor::Compressor;

const USAGE: &str = "vzdump {<vmid>} [OPTIONS]";
const KNOWN: &Known = &[
    ("all", Takes::Flag),
    ("bwlimit", Takes::Value),
    ("compress", Takes::Value),
    ("dumpdir", Takes::Value),
    ("exclude", Takes::Value),
    ("exclude-path", Takes::Value),
    ("ionice", Takes::Value),
    ("lockwait", Takes::Value),
    ("mailnotification", Takes::Value),
    ("mailto", Takes::Value),
    ("mode", Takes::Value),
    ("node", Takes::Value),
    ("notes-template", Takes::Value),
    ("notification-mode", Takes::Value),
    ("protected", Takes::Flag),
    ("prune-backups", Takes::Value),
    ("quiet", Takes::Flag),
    ("remove", Takes::Flag),
    ("script", Takes::Value),
    ("stdexcludes", Takes::Flag),
    ("stdout", Takes::Flag),
    ("stop", Takes::Flag),
    ("stopwait", Takes::Value),
    ("storage", Takes::Value),
    ("tmpdir", Takes::Value),
    ("vmid", Takes::Value),
    ("zstd", Takes::Value),
];

/// What to back up, where to and how.
#[derive(Debug)]
pub(crate) struct Job {
    /// As given, for the job's first line.
    given: Arguments,
    guests: Vec<u32>,
    mode: Mode,
    compressor: Compressor,
    dump: String,
    storage: Option<Storage>,
    to_stdout: bool,
    /// KiB per second; 0 is no limit.
    bandwidth: u64,
    ionice: u64,
    lock_minutes: u64,
    stop_minutes: u64,
    remove: bool,
    retention: Option<String>,
    script: Option<String>,
    tmp: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Snapshot,
    Suspend,
    Stop,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Suspend => "suspend",
            Self::Stop => "stop",
        }
    }
}

pub(crate) fn main(node: &Node, args: &[String]) -> Done {
    let given = Arguments::read(args, KNOWN, USAGE)?;
    if given.is_on("stop") {
        return stop_running(node);
    }
    start(node, given).and_then(|ended| ended.map_or(Ok(()), |ended| ended.result))
}

/// As the API starts it: the options by name, the node among them.
pub(crate) fn through_api(node: &Node, args: &[String]) -> Done<Option<Ended>> {
    let mut given = Arguments::read(args, KNOWN, USAGE)?;
    given.words = given.values("vmid").map(str::to_owned).collect();
    given.options.retain(|(name, _)| name != "vmid");
    given.options.push(("node".to_owned(), node.name.clone()));
    start(node, given)
}

/// Runs the job; `None` when no guest of this node is wanted.
fn start(node: &Node, given: Arguments) -> Done<Option<Ended>> {
    let job = Job::read(node, given)?;
    if job.guests.is_empty() {
        return Ok(None);
    }
    let lines = match (job.given.is_on("quiet"), job.to_stdout) {
        (true, _) => Lines::Quiet,
        (false, true) => Lines::Err,
        (false, false) => Lines::Out,
    };
    let id = match job.guests[..] {
        [id] => id.to_string(),
        _ => String::new(),
    };
    task::in_worker(node, "vzdump", &id, lines, |journal| job::run(node, &job, journal)).map(Some)
}

/// Ends the vzdump that runs on this node.
fn stop_running(node: &Node) -> Done {
    let pid = fs::read_to_string(node.file("/var/run/vzdump.pid")).unwrap_or_default();
    if let Ok(pid) = pid.trim().parse() {
        task::terminate(pid);
    }
    Ok(())
}

impl Job {
    fn read(node: &Node, given: Arguments) -> Done<Self> {
        let guests = wanted(node, &given)?;
        let defaults = defaults(node);
        let value = |name: &str| {
            let default = defaults.iter().find(|(key, _)| key == name);
            given.value(name).or(default.map(|(_, value)| value.as_str()))
        };
        let mode = match value("mode").unwrap_or("snapshot") {
            "snapshot" => Mode::Snapshot,
            "suspend" => Mode::Suspend,
            "stop" => Mode::Stop,
            other => return Err(wrong("mode", other, "snapshot, suspend, stop")),
        };
        let compressor = Compressor::named(value("compress").unwrap_or("0"), value("zstd"))
            .ok_or_else(|| {
                let given = value("compress").unwrap_or_default();
                wrong("compress", given, "0, 1, gzip, lzo, zstd")
            })?;
        let to_stdout = given.is_on("stdout");
        let wanted = value("storage").filter(|_| given.value("dumpdir").is_none());
        if to_stdout && wanted.is_some() {
            let text = "cannot use options 'storage' and 'stdout' at the same time";
            return Err(Failure::new(text));
        }
        let (dump, storage) = target(node, value("dumpdir"), wanted)?;
        let number = |name: &str, default: u64| -> Done<u64> {
            match given.number(name, USAGE)? {
                Some(number) => Ok(number),
                None => Ok(value(name).and_then(|text| text.parse().ok()).unwrap_or(default)),
            }
        };
        let retention = value("prune-backups").map(str::to_owned);
        Ok(Self {
            bandwidth: number("bwlimit", 0)?,
            ionice: number("ionice", 7)?,
            lock_minutes: number("lockwait", 180)?,
            stop_minutes: number("stopwait", 10)?,
            remove: value("remove") != Some("0"),
            retention: retention.or_else(|| storage.as_ref()?.prune.clone()),
            script: value("script").map(str::to_owned),
            tmp: value("tmpdir").map(str::to_owned),
            guests,
            mode,
            compressor,
            dump,
            storage,
            to_stdout,
            given,
        })
    }
}

/// The guests to back up: those named that are not on another node, or all of this node.
fn wanted(node: &Node, given: &Arguments) -> Done<Vec<u32>> {
    let list = |text: &str| -> Done<Vec<u32>> {
        let parts = text.split([',', ';', ' ']).filter(|part| !part.is_empty());
        parts.map(|part| arguments::vmid(part, USAGE)).collect()
    };
    let mut named = Vec::new();
    for word in &given.words {
        named.extend(list(word)?);
    }
    let all = guests::all(node);
    if given.is_on("all") {
        let excluded = list(given.value("exclude").unwrap_or_default())?;
        named = all.iter().filter(|g| g.node == node.name).map(|g| g.id).collect();
        named.retain(|id| !excluded.contains(id));
    } else if named.is_empty() {
        return Err(Failure::parameter("vmid", "property is missing", false, USAGE));
    }
    if given.is_on("stdout") && named.len() > 1 {
        let text = "you can only backup a single VM with option --stdout";
        return Err(Failure::with_code(2, text));
    }
    if given.value("node").is_some_and(|name| name != node.name) {
        return Ok(Vec::new());
    }
    let elsewhere = |id: &u32| all.iter().any(|guest| guest.id == *id && guest.node != node.name);
    named.retain(|id| !elsewhere(id));
    Ok(named)
}

fn target(
    node: &Node,
    dump: Option<&str>,
    wanted: Option<&str>,
) -> Done<(String, Option<Storage>)> {
    if let Some(dump) = dump {
        if !node.file(dump).is_dir() {
            return Err(Failure::new(format!("dumpdir '{dump}' does not exist")));
        }
        return Ok((dump.to_owned(), None));
    }
    let id = wanted.unwrap_or("local");
    let storage = storage::find(node, id).map_err(|failure| {
        let text = format!(
            "could not activate storage '{id}': {failure} \
             could not get storage information for '{id}': {failure}"
        );
        Failure::new(text)
    })?;
    if !storage.holds("backup") {
        let text = format!(
            "could not get storage information for '{id}': can't use storage '{id}' for backups - \
             wrong content type"
        );
        return Err(Failure::new(text));
    }
    fs::create_dir_all(node.file(storage.dump()))?;
    Ok((storage.dump(), Some(storage)))
}

/// The lines of /etc/vzdump.conf.
fn defaults(node: &Node) -> Vec<(String, String)> {
    let text = fs::read_to_string(node.file("/etc/vzdump.conf")).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (key, value) = line.split_once(':')?;
        Some((key.trim().to_owned(), value.trim().to_owned()))
    };
    lines.filter_map(pair).collect()
}

fn wrong(name: &str, value: &str, choice: &str) -> Failure {
    let message = format!("value '{value}' does not have a value in the enumeration '{choice}'");
    Failure::parameter(name, &message, false, USAGE)
}
