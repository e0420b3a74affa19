//! `qmrestore`: a VM from an archive.

mod input;
mod rewrite;
mod volumes;

use std::io::Read;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use drs_vma::Reader;

use crate::arguments::{self, Arguments, Known, Takes};
use crate::config::Config;
use crate::failure::{Done, Failure};
use crate::guests::{self, Guest, Kind};
use crate::interrupt;
use crate::machine::Machine;
use crate::node::Node;
use crate::storage;
use crate::task::{self, Ended, Journal, Lines};
use volumes::Volumes;

pub(crate) use input::Input;
pub(crate) use rewrite::{text_of, with_new_mac};
pub(crate) use volumes::formatting;

const USAGE: &str = "qmrestore <archive> <vmid> [OPTIONS]";
const KNOWN: &Known = &[
    ("archive", Takes::Value),
    ("bwlimit", Takes::Value),
    ("force", Takes::Flag),
    ("live-restore", Takes::Flag),
    ("pool", Takes::Value),
    ("start", Takes::Flag),
    ("storage", Takes::Value),
    ("unique", Takes::Flag),
    ("vmid", Takes::Value),
];

/// What is restored, where to and how.
pub(crate) struct Restore<'a> {
    node: &'a Node,
    guest: Guest,
    /// `-` or a path.
    archive: String,
    given: Arguments,
    /// KiB per second; 0 is no limit.
    bandwidth: u64,
}

pub(crate) fn main(node: &Node, args: &[String]) -> Done {
    start(node, Arguments::read(args, KNOWN, USAGE)?)?.result
}

/// As the API starts it, with the archive and the number as options.
pub(crate) fn through_api(node: &Node, args: &[String]) -> Done<Ended> {
    let mut given = Arguments::read(args, KNOWN, USAGE)?;
    for name in ["archive", "vmid"] {
        given.words.extend(given.value(name).map(str::to_owned));
    }
    start(node, given)
}

fn start(node: &Node, given: Arguments) -> Done<Ended> {
    let [archive, id] = &given.words[..] else {
        return Err(Failure::with_code(255, format!("400 not enough arguments\n{USAGE}")));
    };
    let id = arguments::vmid(id, USAGE)?;
    let archive = archive_path(node, archive)?;
    if let Some(there) = guests::find(node, id).filter(|_| !given.is_on("force")) {
        let (title, on) = (there.kind.title(), there.node);
        let text =
            format!("unable to restore VM {id} - {title} {id} already exists on node '{on}'");
        return Err(Failure::new(text));
    }
    let name = Path::new(&archive).file_name().unwrap_or_default().to_string_lossy();
    if archive != "-" && storage::named(node, &name).is_none_or(|a| a.kind != Kind::Qemu) {
        let text = format!("ERROR: couldn't determine archive info from '{archive}'");
        return Err(Failure::new(text));
    }
    let guest = Guest { kind: Kind::Qemu, id, node: node.name.clone() };
    let bandwidth = given.number("bwlimit", USAGE)?.unwrap_or(0);
    let restore = Restore { node, guest, archive, given, bandwidth };
    let id = id.to_string();
    task::in_worker(node, "qmrestore", &id, Lines::Out, |journal| restore.run(journal))
}

fn archive_path(node: &Node, archive: &str) -> Done<String> {
    if archive == "-" {
        return Ok(archive.to_owned());
    }
    let path =
        if archive.starts_with('/') { archive.to_owned() } else { storage::path(node, archive)? };
    if !node.file(&path).exists() {
        return Err(Failure::with_code(2, format!("can't find file '{path}'")));
    }
    Ok(path)
}

impl Restore<'_> {
    fn run(&self, journal: &mut Journal) -> Done {
        let id = self.guest.id;
        let restored = self.claim().and_then(|old| {
            let restored = self.restore(journal, old.as_ref());
            if restored.is_err() {
                self.leave_stub(old)?;
            }
            restored
        });
        if restored.is_err() {
            let text = format!(
                "error before or during data restore, some or all disks were not completely \
                 restored. VM {id} state is NOT cleaned up."
            );
            journal.line(&text).ok();
            return restored;
        }
        if self.given.is_on("start") {
            Machine::of(self.node, id).start(&self.guest.config(self.node)?)?;
        }
        Ok(())
    }

    /// Takes the number with a locked configuration; gives the one that was there.
    fn claim(&self) -> Done<Option<Config>> {
        let refused =
            |why: &str| Failure::new(format!("unable to restore VM {} - {why}", self.guest.id));
        if guests::find(self.node, self.guest.id).is_none() {
            let mut stub = Config::parse("memory: 128\n");
            stub.set("lock", "create");
            self.guest.write(self.node, &stub)?;
            return Ok(None);
        }
        let old = self.guest.config(self.node)?;
        if Machine::of(self.node, self.guest.id).pid().is_some() {
            return Err(refused("vm is running"));
        }
        if old.get("protection") == Some("1") {
            return Err(refused("protection mode enabled"));
        }
        self.guest.unlocked(&old)?;
        self.guest.change(self.node, |config| {
            config.set("lock", "create");
            Ok(())
        })?;
        Ok(Some(old))
    }

    /// What a failed restore leaves: the number stays taken.
    fn leave_stub(&self, old: Option<Config>) -> Done {
        let left = old.unwrap_or_else(|| Config::parse("memory: 128\n"));
        self.guest.write(self.node, &left)
    }

    fn restore(&self, journal: &mut Journal, old: Option<&Config>) -> Done {
        let command = input::command(&self.archive);
        journal.line(&format!("restore vma archive: {command}"))?;
        self.extract(journal, old).map_err(|failure| {
            let pipe = if self.archive.ends_with(".vma") { "" } else { "set -o pipefail && " };
            failure.within(format!("command '{pipe}{command}' failed"))
        })
    }

    fn extract(&self, journal: &mut Journal, old: Option<&Config>) -> Done {
        let mut input = Input::open(self.node, &self.archive)?;
        let mut reader = self.header(input.take())?;
        let header = reader.header().clone();
        for config in &header.configs {
            journal.line(&format!("CFG: size: {} name: {}", config.data.len(), config.name))?;
        }
        for device in &header.devices {
            journal.line(&format!(
                "DEV: dev_id={} size: {} devname: {}",
                device.id, device.size_bytes, device.name
            ))?;
        }
        journal.line(&format!("CTIME: {}", self.node.local(header.created_at).asctime()))?;
        let conf = rewrite::text_of(&header)?;
        if header.devices.is_empty() {
            journal.line("vma archive contains no image data")?;
        }
        let mut volumes = Volumes::plan(self, &header, &conf)?;
        if let Some(old) = old {
            for (_, volume) in old.disks() {
                storage::remove(self.node, Kind::Qemu, &volume.id)?;
            }
        }
        let filled = volumes
            .allocate(journal)
            .and_then(|()| volumes.fill(self, &mut reader, journal))
            .and_then(|()| input.finish());
        if let Err(failure) = filled {
            volumes.discard(journal);
            journal.line("no lock found trying to remove 'create'  lock").ok();
            return Err(failure);
        }
        let unique = self.given.is_on("unique");
        let mut config = rewrite::config(&conf, &volumes.ids(), unique)?;
        if let Some(rules) = header.configs.iter().find(|c| c.name == "qemu-server.fw") {
            let file = format!("/etc/pve/firewall/{}.fw", self.guest.id);
            std::fs::write(self.node.new_file(file)?, &rules.data)?;
        }
        journal.line("rescan volumes...")?;
        volumes.rescan(self, &mut config, journal)?;
        self.guest.write(self.node, &config)
    }

    /// The archive's header. What is no archive costs the whole patience, as it does on a real node.
    fn header(&self, input: Box<dyn Read + Send>) -> Done<Reader<Box<dyn Read + Send>>> {
        let patience = self.node.seconds("header-timeout", 60.0);
        let (opened, is_open) = mpsc::channel();
        thread::spawn(move || match Reader::open(input) {
            Ok(reader) => opened.send(reader).unwrap_or_default(),
            Err(_) => thread::park(),
        });
        let until = std::time::Instant::now() + patience;
        loop {
            interrupt::check()?;
            let step = std::time::Duration::from_millis(100);
            match is_open.recv_timeout(step) {
                Ok(reader) => return Ok(reader),
                Err(_) if std::time::Instant::now() >= until => {
                    return Err(Failure::new("got timeout reading VMA header - corrupted?"));
                }
                Err(_) => {}
            }
        }
    }
}
