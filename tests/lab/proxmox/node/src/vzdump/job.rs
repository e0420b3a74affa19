//! A backup job in its worker: the node's lock, then guest after guest.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::arguments::quoted;
use crate::failure::{Done, Failure};
use crate::guests::{self, Guest, Kind};
use crate::interrupt;
use crate::node::Node;
use crate::task::{Journal, NO_RESULT};

use super::archive::Archive;
use super::log::Log;
use super::{Job, hook, lxc, prune, qemu};

/// One guest's backup, while it is made.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job,
    pub(super) guest: Guest,
    pub(super) archive: Archive,
    /// The guest's name, once it is known.
    pub(super) hostname: String,
}

pub(super) fn run(node: &Node, job: &Job, journal: &mut Journal) -> Done {
    let mut log = Log { node, journal, file: None };
    let _lock = lock(&mut log, job)?;
    fs::write(node.new_file("/var/run/vzdump.pid")?, std::process::id().to_string())?;
    let result = all(&mut log, job);
    fs::remove_file(node.file("/var/run/vzdump.pid")).ok();
    result
}

fn all(log: &mut Log<'_>, job: &Job) -> Done {
    let environment = [("DUMPDIR", job.dump.clone())];
    let script = job.script.as_deref();
    hook::call(log, script, &["job-init"], &environment)?;
    log.job("INFO", &first_line(job))?;
    hook::call(log, script, &["job-start"], &environment)?;
    let mut failed = 0;
    for id in &job.guests {
        match guest(log, job, *id) {
            Ok(()) => {}
            Err(failure) if interrupt::check().is_err() => {
                log.job("ERROR", &format!("Backup job failed - {failure}")).ok();
                return Err(failure);
            }
            Err(_) => failed += 1,
        }
    }
    if failed > 0 {
        hook::call(log, script, &["job-abort"], &environment).ok();
        log.job("INFO", "Backup job finished with errors")?;
        return Err(Failure::new("job errors"));
    }
    hook::call(log, script, &["job-end"], &environment)?;
    log.job("INFO", "Backup job finished successfully")
}

/// The job as a command line, its options in no particular order.
fn first_line(job: &Job) -> String {
    let shown = |(name, _): &&(String, String)| name != "stdout" && name != "quiet";
    let mut options: Vec<String> = job
        .given
        .options
        .iter()
        .filter(shown)
        .map(|(name, value)| format!(" --{name} {}", quoted(value)))
        .collect();
    let seed = crate::node::new_uuid().unwrap_or_default();
    options.sort_by_cached_key(|option| {
        seed.bytes().chain(option.bytes()).fold(0_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193).rotate_left(5)
        })
    });
    let guests = if job.given.is_on("all") { String::new() } else { job.given.words.join(" ") };
    let gap = if guests.is_empty() { "" } else { " " };
    format!("starting new backup job: vzdump{gap}{guests}{}", options.concat())
}

/// The lock that lets one vzdump run on a node.
fn lock(log: &mut Log<'_>, job: &Job) -> Done<File> {
    const PATH: &str = "/var/run/vzdump.lock";
    let file = File::create(log.node.new_file(PATH)?)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(file);
    }
    let refused = |log: &mut Log<'_>, why: &str| {
        log.job("ERROR", &format!("can't acquire lock '{PATH}' {why}"))?;
        Err(Failure::with_code(NO_RESULT, ""))
    };
    if job.lock_minutes == 0 {
        return refused(log, "(wait = 0)");
    }
    log.job("INFO", "trying to get global lock - waiting...")?;
    let until = Instant::now() + Duration::from_secs(job.lock_minutes * 60);
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        interrupt::check()?;
        if Instant::now() >= until {
            return refused(log, "- got timeout");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    log.job("INFO", "got global lock")?;
    Ok(file)
}

/// Backs up one guest. Every failure is said in the log before it is returned.
fn guest(log: &mut Log<'_>, job: &Job, id: u32) -> Done {
    let found =
        guests::find(log.node, id).ok_or_else(|| Failure::new(format!("unable to find VM '{id}'")));
    let result = found.and_then(|guest| {
        prune::check_room(log, job, &guest)?;
        let archive = Archive::of(job, &guest, log.node.now());
        let mut run = Run { job, guest, archive, hostname: String::new() };
        if run.guest.kind == Kind::Lxc {
            lxc::choose_tmp(log, &mut run)?;
        }
        log.file = Some(File::create(log.node.file(&run.archive.log))?);
        let result = run.whole(log);
        if let Err(failure) = &result {
            log.error(&format!("Backup of VM {id} failed - {failure}")).ok();
        }
        run.keep_log(log);
        result
    });
    if let Err(failure) = &result {
        if log.file.take().is_none() {
            log.job("ERROR", &format!("Backup of VM {id} failed - {failure}"))?;
        }
        let now = log.node.now().stamp();
        log.job("INFO", &format!("Failed at {now}")).ok();
    }
    log.file = None;
    result
}

impl Run<'_> {
    fn whole(&mut self, log: &mut Log<'_>) -> Done {
        let began = Instant::now();
        let (id, word) = (self.guest.id, self.guest.kind.word());
        log.info(&format!("Starting Backup of VM {id} ({word})"))?;
        let now = log.node.now().stamp();
        log.job("INFO", &format!("Backup started at {now}"))?;
        let tmp = log.node.file(&self.archive.tmp);
        fs::create_dir_all(&tmp)?;
        let result = match self.guest.kind {
            Kind::Qemu => qemu::backup(log, self),
            Kind::Lxc => lxc::backup(log, self),
        };
        self.archive.remove_tmp(log.node);
        if result.is_err() {
            self.archive.discard(log.node);
        }
        result?;
        let took = began.elapsed().as_secs();
        let clock = format!("{:02}:{:02}:{:02}", took / 3600, took / 60 % 60, took % 60);
        log.info(&format!("Finished Backup of VM {id} ({clock})"))?;
        let now = log.node.now().stamp();
        log.job("INFO", &format!("Backup finished at {now}"))?;
        self.hook(log, "log-end", self.job.mode.word())
    }

    /// A line about where the archive goes.
    pub(super) fn announce(&self, log: &mut Log<'_>) -> Done {
        if self.job.to_stdout {
            return log.info("sending archive to stdout");
        }
        log.info(&format!("creating vzdump archive '{}'", self.archive.target))
    }

    /// The file that the archive is written to; none is standard output.
    pub(super) fn file(&self, node: &Node) -> Done<Option<File>> {
        if self.job.to_stdout { Ok(None) } else { self.archive.create(node).map(Some) }
    }

    /// Names the archive and does what comes after: notes, protection, retention.
    pub(super) fn complete(&self, log: &mut Log<'_>) -> Done {
        if self.job.to_stdout {
            return Ok(());
        }
        let size = self.archive.complete(log.node)?;
        log.info(&format!("archive file size: {size}"))?;
        if let Some(template) = self.job.given.value("notes-template") {
            log.info("adding notes to backup")?;
            let notes = template
                .replace("{{guestname}}", &self.hostname)
                .replace("{{node}}", &log.node.name)
                .replace("{{cluster}}", "standalone node")
                .replace("{{vmid}}", &self.guest.id.to_string())
                .replace("\\n", "\n");
            fs::write(log.node.file(format!("{}.notes", self.archive.target)), notes)?;
        }
        if self.job.given.is_on("protected") {
            log.info("marking backup as protected")?;
            fs::write(log.node.file(format!("{}.protected", self.archive.target)), "")?;
        }
        prune::prune(log, self.job, &self.guest)
    }

    /// Calls the hook script for a phase of this guest's backup.
    pub(super) fn hook(&self, log: &mut Log<'_>, phase: &str, mode: &str) -> Done {
        let environment = [
            ("DUMPDIR", self.job.dump.clone()),
            ("HOSTNAME", self.hostname.clone()),
            ("LOGFILE", self.archive.log.clone()),
            ("TARGET", self.archive.target.clone()),
            ("VMTYPE", self.guest.kind.word().to_owned()),
            ("STOREID", self.job.storage.as_ref().map(|s| s.id.clone()).unwrap_or_default()),
        ];
        let id = self.guest.id.to_string();
        hook::call(log, self.job.script.as_deref(), &[phase, mode, &id], &environment)
    }

    /// The node keeps the latest log of every guest.
    fn keep_log(&self, log: &Log<'_>) {
        let name = format!("/var/log/vzdump/{}-{}.log", self.guest.kind.word(), self.guest.id);
        if let Ok(kept) = log.node.new_file(name) {
            fs::copy(log.node.file(&self.archive.log), kept).ok();
        }
    }

    /// The lines that name the mode.
    pub(super) fn say_mode(&self, log: &mut Log<'_>, mode: &str) -> Done {
        log.info(&format!("backup mode: {mode}"))?;
        if self.job.bandwidth > 0 {
            log.info(&format!("bandwidth limit: {} KiB/s", self.job.bandwidth))?;
        }
        log.info(&format!("ionice priority: {}", self.job.ionice))
    }
}
