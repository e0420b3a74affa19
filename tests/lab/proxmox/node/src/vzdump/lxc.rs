//! The backup of a container: its tree as GNU tar packs it, with the flags of a real node.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::arguments::quoted;
use crate::config::Config;
use crate::container;
use crate::failure::{Done, Failure};
use crate::node::Node;
use crate::storage;

use super::compressor::{Compressor, Sink, failed};
use super::job::Run;
use super::log::Log;
use super::progress::Progress;
use super::{Job, Mode};

/// File systems that keep what a container's files have, by the magic numbers of statfs.
const GOOD: [(u64, &str); 4] =
    [(0xef53, "ext2/ext3"), (0x5846_5342, "xfs"), (0x6969, "nfs"), (0x5265_4973, "reiserfs")];
/// Others that a test may meet.
const POOR: [(u64, &str); 3] =
    [(0x0102_1994, "tmpfs"), (0x794c_7630, "overlay"), (0x9123_683e, "btrfs")];

/// The temporary folder lies beside the archive only where attributes are kept.
pub(super) fn choose_tmp(log: &mut Log<'_>, run: &mut Run<'_>) -> Done {
    let kind = rustix::fs::statfs(log.node.file(&run.job.dump))?.f_type;
    let is = |(magic, _): &&(u64, &str)| u64::try_from(kind).is_ok_and(|kind| kind == *magic);
    if run.job.tmp.is_some() || GOOD.iter().any(|good| is(&good)) {
        return Ok(());
    }
    let name = POOR.iter().find(is).map_or("unknown", |(_, name)| name);
    run.archive.tmp = format!("/var/tmp/vzdumptmp{}_{}", std::process::id(), run.guest.id);
    let tmp = &run.archive.tmp;
    let text = format!("filesystem type on dumpdir is '{name}' -using {tmp} for temporary files");
    log.job("INFO", &text)
}

pub(super) fn backup(log: &mut Log<'_>, run: &mut Run<'_>) -> Done {
    let node = log.node;
    let config = run.guest.config(node)?;
    let runs = container::is_on(node, run.guest.id);
    log.info(&format!("status = {}", if runs { "running" } else { "stopped" }))?;
    run.guest.change(node, |config| {
        run.guest.unlocked(config)?;
        config.set("lock", "backup");
        Ok(())
    })?;
    let result = locked(log, run, &config, runs);
    run.guest.change(node, |config| {
        config.values.remove("lock");
        Ok(())
    })?;
    if result.is_err() {
        run.hook(log, "backup-abort", "stop").ok();
    }
    result
}

fn locked(log: &mut Log<'_>, run: &mut Run<'_>, config: &Config, runs: bool) -> Done {
    run.hostname = run.guest.name(config);
    let mut mode = if runs { run.job.mode } else { Mode::Stop };
    if mode == Mode::Snapshot {
        // No storage of the lab has snapshots.
        say_content(log, run, config)?;
        log.info("mode failure - some volumes do not support snapshots")?;
        log.info("trying 'suspend' mode instead")?;
        mode = Mode::Suspend;
    }
    run.say_mode(log, mode.word())?;
    say_content(log, run, config)?;
    run.hook(log, "backup-start", mode.word())?;
    let rootfs = rootfs(log.node, config)?;
    let from = match mode {
        Mode::Suspend => suspended_copy(log, run, &rootfs)?,
        _ => rootfs,
    };
    if runs && mode == Mode::Stop {
        log.info("stopping virtual guest")?;
        container::set_on(log.node, run.guest.id, false)?;
    }
    let packed = pack(log, run, config, &from);
    if runs && mode == Mode::Stop {
        container::set_on(log.node, run.guest.id, true)?;
        log.info("restarting vm")?;
    }
    packed?;
    run.complete(log)?;
    run.hook(log, "backup-end", mode.word())
}

/// What of the container is in the archive and what is not.
fn say_content(log: &mut Log<'_>, run: &Run<'_>, config: &Config) -> Done {
    log.info(&format!("CT Name: {}", run.hostname))?;
    for (key, volume) in config.mount_points() {
        let place = volume.option("mp").unwrap_or("/").to_owned();
        if key == "rootfs" {
            log.info("including mount point rootfs ('/') in backup")?;
            continue;
        }
        let (kind, why) =
            if volume.is_stored() { ("volume", "disabled") } else { ("bind", "not a volume") };
        log.info(&format!("excluding {kind} mount point {key} ('{place}') from backup ({why})"))?;
    }
    Ok(())
}

fn rootfs(node: &Node, config: &Config) -> Done<String> {
    let found = config.mount_points().into_iter().find(|(key, _)| key == "rootfs");
    let (_, volume) = found.ok_or_else(|| Failure::new("container has no rootfs"))?;
    Ok(node.file(storage::folder_of(node, &volume.id)?).display().to_string())
}

/// A copy of a running container's tree, made in two passes as `suspend` mode does.
fn suspended_copy(log: &mut Log<'_>, run: &Run<'_>, rootfs: &str) -> Done<String> {
    let copy = format!("{}/copy", run.archive.tmp);
    let to = log.node.file(&copy).display().to_string();
    for (pass, began) in [("first", "starting first sync"), ("final", "starting final sync")] {
        if pass == "final" {
            log.info("suspending guest")?;
        }
        log.info(&format!("{began} {rootfs}/ to {copy}"))?;
        let from = format!("{rootfs}/");
        let args = ["--stats", "-aAXHS", "--numeric-ids", "--delete", &from, &to];
        let said = crate::node::program("rsync", &args)?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let moved = said
            .lines()
            .find_map(|line| line.strip_prefix("Total bytes sent: "))
            .unwrap_or("0")
            .replace(',', "");
        log.info(&format!("{pass} sync finished - transferred {moved} bytes in 0s"))?;
    }
    log.info("resuming guest")?;
    log.info("guest is online again after <1 seconds")?;
    Ok(to)
}

fn pack(log: &mut Log<'_>, run: &Run<'_>, config: &Config, from: &str) -> Done {
    run.announce(log)?;
    let node = log.node;
    write_config(node, run, config)?;
    let argv = tar(node, run.job, &run.archive.tmp, from, config);
    let mut child = Command::new("tar")
        .args(&argv)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::from(error).within("tar"))?;
    let said = child.stderr.take().map(|mut from| {
        thread::spawn(move || {
            let mut said = String::new();
            from.read_to_string(&mut said).ok();
            said
        })
    });
    let moved = copy(log, run, &mut child);
    if moved.is_err() {
        child.kill().ok();
    }
    let status = child.wait()?;
    for line in said.and_then(|thread| thread.join().ok()).unwrap_or_default().lines() {
        log.info(line)?;
    }
    moved?;
    if status.success() {
        return Ok(());
    }
    let line: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
    let code = status.code().unwrap_or(255);
    Err(Failure::new(format!(
        "command 'set -o pipefail && tar {}' failed: exit code {code}",
        line.join(" ")
    )))
}

/// Moves tar's bytes to where they belong, within the limit.
fn copy(log: &mut Log<'_>, run: &Run<'_>, tar: &mut Child) -> Done {
    let mut sink = Sink::open(&run.job.compressor, run.file(log.node)?)?;
    let mut progress = Progress::of(0, run.job.bandwidth);
    let mut buffer = vec![0; 1 << 17];
    while let Some(from) = &mut tar.stdout {
        let got = from.read(&mut buffer)?;
        if got == 0 {
            break;
        }
        let bytes = buffer.get(..got).unwrap_or_default();
        sink.write_all(bytes).map_err(|error| match run.job.compressor {
            Compressor::None => Failure::new(format!("tar: -: {}", failed(error).text)),
            _ => failed(error),
        })?;
        progress.pace(got as u64)?;
    }
    sink.close()
}

fn write_config(node: &Node, run: &Run<'_>, config: &Config) -> Done {
    let folder = format!("{}/etc/vzdump", run.archive.tmp);
    let mut kept = config.clone();
    kept.values.remove("lock");
    kept.values.retain(|key, _| !key.starts_with("unused"));
    fs::write(node.new_file(format!("{folder}/pct.conf"))?, kept.text())?;
    let rules = fs::read(node.file(format!("/etc/pve/firewall/{}.fw", run.guest.id)));
    Ok(fs::write(node.file(format!("{folder}/pct.fw")), rules.unwrap_or_default())?)
}

/// tar's arguments. The tree lies at a place of its own, not mounted at /mnt/vzsnap0.
fn tar(node: &Node, job: &Job, tmp: &str, from: &str, config: &Config) -> Vec<String> {
    let mut argv: Vec<String> = [
        "cpf",
        "-",
        "--totals",
        "--one-file-system",
        "-p",
        "--sparse",
        "--numeric-owner",
        "--acls",
        "--xattrs",
        "--xattrs-include=user.*",
        "--xattrs-include=security.capability",
        "--warning=no-file-ignored",
        "--warning=no-xattr-write",
        "--one-file-system",
    ]
    .map(str::to_owned)
    .to_vec();
    argv.push(format!("--directory={}", node.file(tmp).display()));
    argv.extend(["./etc/vzdump/pct.conf", "./etc/vzdump/pct.fw"].map(str::to_owned));
    argv.push(format!("--directory={from}"));
    argv.push("--no-anchored".to_owned());
    argv.push("--exclude=lost+found".to_owned());
    let mut absolute = Vec::new();
    if job.given.value("stdexcludes") != Some("0") {
        absolute.extend(["/tmp/?*", "/var/tmp/?*", "/var/run/?*.pid"]);
    }
    for path in job.given.values("exclude-path") {
        if path.starts_with('/') {
            absolute.push(path);
        } else {
            argv.push(format!("--exclude={path}"));
        }
    }
    // A container without privileges cannot make devices, so its archive has none.
    if config.get("unprivileged") == Some("1") {
        absolute.push("/dev/?*");
    }
    argv.push("--anchored".to_owned());
    argv.extend(absolute.into_iter().map(|path| format!("--exclude=.{path}")));
    argv.push("./".to_owned());
    argv
}
