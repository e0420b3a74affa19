//! `pct restore`: a container from an archive or from standard input.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::arguments::{self, Arguments, Known, Takes};
use crate::config::{Config, Volume, numbered, size_bytes, size_text};
use crate::container;
use crate::failure::{Done, Failure};
use crate::guests::{self, Guest, Kind};
use crate::interrupt;
use crate::node::{self, Node};
use crate::qmrestore;
use crate::storage::{self, Storage};
use crate::task::{self, Ended, Journal, Lines};

const USAGE: &str = "pct restore <vmid> <ostemplate> [OPTIONS]";
const KNOWN: &Known = &[
    ("bwlimit", Takes::Value),
    ("force", Takes::Flag),
    ("hostname", Takes::Value),
    ("ignore-unpack-errors", Takes::Flag),
    ("memory", Takes::Value),
    ("net#", Takes::Value),
    ("ostemplate", Takes::Value),
    ("pool", Takes::Value),
    ("restore", Takes::Flag),
    ("rootfs", Takes::Value),
    ("start", Takes::Flag),
    ("storage", Takes::Value),
    ("unique", Takes::Flag),
    ("unprivileged", Takes::Flag),
    ("vmid", Takes::Value),
];

struct Restore<'a> {
    node: &'a Node,
    guest: Guest,
    /// `-` or a path.
    archive: String,
    storage: Storage,
    given: Arguments,
}

pub(super) fn main(node: &Node, args: &[String]) -> Done {
    start(node, Arguments::read(args, KNOWN, USAGE)?)?.result
}

/// As the API starts it, with the number and the archive as options.
pub(crate) fn through_api(node: &Node, args: &[String]) -> Done<Ended> {
    let mut given = Arguments::read(args, KNOWN, USAGE)?;
    for name in ["vmid", "ostemplate"] {
        given.words.extend(given.value(name).map(str::to_owned));
    }
    start(node, given)
}

fn start(node: &Node, given: Arguments) -> Done<Ended> {
    let [id, archive] = &given.words[..] else {
        return Err(Failure::new(format!("400 not enough arguments\n{USAGE}")));
    };
    let id = arguments::vmid(id, USAGE)?;
    let there = guests::find(node, id);
    if let Some(there) = there.as_ref().filter(|g| !given.is_on("force") || g.kind == Kind::Qemu) {
        let (title, on) = (there.kind.title(), &there.node);
        return Err(Failure::with_code(2, format!("{title} {id} already exists on node '{on}'")));
    }
    if container::is_on(node, id) {
        return Err(Failure::new("can't overwrite running container"));
    }
    if archive == "-" && given.value("rootfs").is_none() {
        return Err(Failure::new("restore from pipe requires rootfs parameter"));
    }
    let storage = storage::find(node, given.value("storage").unwrap_or("local"))?;
    if !storage.holds("rootdir") {
        let message = format!("storage '{}' does not support container directories", storage.id);
        return Err(Failure { code: 255, ..Failure::parameter("storage", &message, false, USAGE) });
    }
    let archive = match archive.as_str() {
        "-" => archive.clone(),
        path if path.starts_with('/') => path.to_owned(),
        volume => storage::path(node, volume)?,
    };
    if archive != "-" && !node.file(&archive).exists() {
        return Err(Failure::with_code(2, format!("can't find file '{archive}'")));
    }
    let name = Path::new(&archive).file_name().unwrap_or_default().to_string_lossy();
    if archive != "-" && storage::named(node, &name).is_none_or(|a| a.kind != Kind::Lxc) {
        let text = format!("ERROR: couldn't determine archive info from '{archive}'");
        return Err(Failure::new(text));
    }
    let guest = Guest { kind: Kind::Lxc, id, node: node.name.clone() };
    let restore = Restore { node, guest, archive, storage, given };
    let id = id.to_string();
    task::in_worker(node, "vzrestore", &id, Lines::Out, |journal| restore.run(journal))
}

impl Restore<'_> {
    fn run(&self, journal: &mut Journal) -> Done {
        let old = self.guest.config(self.node).ok();
        if let Some(old) = &old {
            self.guest.unlocked(old)?;
        }
        let mut stub = old.clone().unwrap_or_default();
        stub.set("lock", "create");
        self.guest.write(self.node, &stub)?;
        let mut volume = None;
        let restored = self.restore(journal, old.as_ref(), &mut volume);
        if let Err(failure) = restored {
            if let Some(volume) = volume {
                storage::remove(self.node, Kind::Lxc, &volume).ok();
            }
            // What was there is gone with its disks; what was not there leaves nothing.
            self.guest.forget(self.node)?;
            return Err(Failure::new(format!(
                "unable to restore CT {} - {failure}",
                self.guest.id
            )));
        }
        if self.given.is_on("start") {
            container::set_on(self.node, self.guest.id, true)?;
        }
        Ok(())
    }

    fn restore(
        &self,
        journal: &mut Journal,
        old: Option<&Config>,
        allocated: &mut Option<String>,
    ) -> Done {
        let from_pipe = self.archive == "-";
        let mut inside = None;
        if !from_pipe {
            let archive = &self.archive;
            journal.line(&format!("recovering backed-up configuration from '{archive}'"))?;
            inside = Some(self.config_inside()?);
        }
        let size = self.size(inside.as_ref());
        let volume = self.allocate(journal, size)?;
        *allocated = Some(volume.clone());
        if let Some(old) = old {
            super::remove_volumes(self.node, old)?;
        }
        let root = self.node.file(storage::folder_of(self.node, &volume)?);
        if from_pipe {
            journal.line("extracting archive from STDIN")?;
        } else {
            journal.line(&format!("restoring '{}' now..", self.archive))?;
            journal.line(&format!("extracting archive '{}'", self.archive))?;
        }
        self.unpack(journal, &root)?;
        journal.line("merging backed-up and given configuration..")?;
        let inside = match inside {
            Some(config) => config,
            None => Config::parse(&fs::read_to_string(root.join("etc/vzdump/pct.conf"))?),
        };
        let rules = fs::read(root.join("etc/vzdump/pct.fw")).unwrap_or_default();
        if !rules.is_empty() {
            let file = format!("/etc/pve/firewall/{}.fw", self.guest.id);
            fs::write(self.node.new_file(file)?, rules)?;
        }
        fs::remove_dir_all(root.join("etc/vzdump")).ok();
        self.guest.write(self.node, &self.merged(inside, &volume, size)?)
    }

    fn config_inside(&self) -> Done<Config> {
        let (mut tar, mut before) = self.tar(&["xO", "--occurrence=1", "./etc/vzdump/pct.conf"])?;
        let mut text = String::new();
        if let Some(out) = &mut tar.stdout {
            out.read_to_string(&mut text)?;
        }
        tar.wait()?;
        if let Some(before) = &mut before {
            before.kill().ok();
            before.wait()?;
        }
        if text.is_empty() {
            return Err(Failure::new("unable to find configuration in the archive"));
        }
        Ok(Config::parse(&text))
    }

    /// tar, fed by the archive, or by the program that decompresses it.
    fn tar(&self, args: &[&str]) -> Done<(Child, Option<Child>)> {
        let mut before = None;
        let input = if self.archive == "-" {
            Stdio::inherit()
        } else {
            let file = self.node.file(&self.archive);
            let program: &[&str] = match self.archive.rsplit('.').next() {
                Some("zst") => &["zstd", "-q", "-d", "-c"],
                Some("gz" | "tgz") => &["zcat"],
                Some("lzo") => &["lzop", "-d", "-c"],
                _ => &[],
            };
            match program.split_first() {
                None => Stdio::from(File::open(file)?),
                Some((name, args)) => {
                    let mut child = Command::new(name)
                        .args(args)
                        .arg(file)
                        .stdout(Stdio::piped())
                        .stderr(Stdio::null())
                        .spawn()?;
                    let out = child.stdout.take().map_or_else(Stdio::null, Stdio::from);
                    before = Some(child);
                    out
                }
            }
        };
        let tar = Command::new("tar")
            .args(args)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok((tar, before))
    }

    fn unpack(&self, journal: &mut Journal, root: &Path) -> Done {
        let directory = format!("--directory={}", root.display());
        let (mut tar, before) = self.tar(&[
            "xpf",
            "-",
            "--totals",
            "--numeric-owner",
            "--acls",
            "--xattrs",
            "--xattrs-include=user.*",
            "--xattrs-include=security.capability",
            "--warning=no-file-ignored",
            "--warning=no-xattr-write",
            "--skip-old-files",
            "--anchored",
            "--exclude=./dev/*",
            &directory,
        ])?;
        let mut said = String::new();
        if let Some(err) = &mut tar.stderr {
            err.read_to_string(&mut said)?;
        }
        let status = tar.wait()?;
        let well =
            before.map_or(io::Result::Ok(true), |mut child| child.wait().map(|s| s.success()))?;
        interrupt::check()?;
        for line in said.lines() {
            journal.line(line)?;
        }
        if status.success() && well || self.given.is_on("ignore-unpack-errors") {
            return Ok(());
        }
        let code = status.code().unwrap_or(255);
        Err(Failure::new(format!(
            "command 'tar xpf - --totals {directory}' failed: exit code {code}"
        )))
    }

    /// The size that is given, in GiB and cut to whole MiB, or the one that the archive knows.
    fn size(&self, inside: Option<&Config>) -> u64 {
        let gigabytes = self
            .given
            .value("rootfs")
            .and_then(|rootfs| Volume::parse(rootfs).id.split(':').nth(1)?.parse::<f64>().ok());
        let known = inside.and_then(|config| {
            let rootfs = Volume::parse(config.get("rootfs")?);
            size_bytes(rootfs.option("size")?)
        });
        let mebibytes = gigabytes.map(|number| (number * 1024.0).floor() as u64);
        mebibytes.map(|number| number << 20).or(known).unwrap_or(4 << 30)
    }

    /// Makes the folder that stands for the volume, with the words that a file system is made with.
    fn allocate(&self, journal: &mut Journal, size: u64) -> Done<String> {
        let volume = self.storage.next_volume(self.node, Kind::Lxc, self.guest.id, "raw");
        fs::create_dir_all(self.node.file(storage::folder_of(self.node, &volume)?))?;
        let path = storage::path(self.node, &volume)?;
        journal.line(&qmrestore::formatting(&path, "raw", size))?;
        let (block, unit) = if size < 512 << 20 { (1024, "1k") } else { (4096, "4k") };
        let blocks = size / block;
        journal.line(&format!(
            "Creating filesystem with {blocks} {unit} blocks and {} inodes",
            blocks / 4
        ))?;
        journal.line(&format!("Filesystem UUID: {}", node::new_uuid()?))?;
        journal.line("Superblock backups stored on blocks: ")?;
        let group = if block == 1024 { 8192 } else { 32_768 };
        let first = u64::from(block == 1024);
        let backups = [1, 3, 5, 7, 9, 25, 27].map(|n| n * group + first);
        let within = backups.iter().filter(|at| **at < blocks).map(u64::to_string);
        journal.line(&format!("\t{}", within.collect::<Vec<_>>().join(", ")))?;
        Ok(volume)
    }

    fn merged(&self, mut config: Config, volume: &str, size: u64) -> Done<Config> {
        let mut rootfs = Volume::parse(config.get("rootfs").unwrap_or_default());
        volume.clone_into(&mut rootfs.id);
        rootfs.set_option("size", &size_text(size));
        config.set("rootfs", rootfs.text());
        for (key, value) in config.values.clone() {
            let is_volume = numbered(&key, &["mp"]) && Volume::parse(&value).is_stored();
            if is_volume || key.starts_with("unused") || key == "lock" {
                config.values.remove(&key);
            } else if self.given.is_on("unique") && numbered(&key, &["net"]) {
                config.set(&key, qmrestore::with_new_mac(&value)?);
            }
        }
        for (name, value) in &self.given.options {
            let kept = ["hostname", "memory", "unprivileged"].contains(&name.as_str());
            if kept || numbered(name, &["net"]) {
                config.set(name, value.clone());
            }
        }
        Ok(config)
    }
}
