//! The backup of a VM.

use std::fs;
use std::time::Duration;

use drs_vma::{Config as Blob, Device, Header, Writer};

use crate::config::Config;
use crate::failure::{Done, Failure};
use crate::machine::Machine;
use crate::node::{self, Node};

use super::Mode;
use super::compressor::Sink;
use super::job::Run;
use super::log::Log;
use super::progress::Progress;
use super::source::{self, Disk};

/// What the guest is doing, and so how it is backed up.
struct Way {
    runs: bool,
    paused: bool,
    mode: Mode,
}

pub(super) fn backup(log: &mut Log<'_>, run: &mut Run<'_>) -> Done {
    let node = log.node;
    let machine = Machine::of(node, run.guest.id);
    let config = run.guest.config(node)?;
    let status = machine.status();
    let way = Way {
        runs: status != "stopped",
        paused: status == "paused",
        mode: if status == "stopped" { Mode::Stop } else { run.job.mode },
    };
    log.info(&format!("status = {}", if way.runs { "running" } else { "stopped" }))?;
    run.guest.change(node, |config| {
        run.guest.unlocked(config)?;
        config.set("lock", "backup");
        Ok(())
    })?;
    let result = locked(log, run, &machine, &config, &way);
    // As the guest was, whatever happened.
    run.guest.change(node, |config| {
        config.values.remove("lock");
        Ok(())
    })?;
    if result.is_err() {
        run.hook(log, "backup-abort", way.mode.word()).ok();
    }
    result
}

fn locked(
    log: &mut Log<'_>,
    run: &mut Run<'_>,
    machine: &Machine<'_>,
    config: &Config,
    way: &Way,
) -> Done {
    if machine.has_backup_job() {
        log.warn("left-over backup job still running inside QEMU - canceling now")?;
        machine.set_backup_job(false)?;
    }
    run.hostname = run.guest.name(config);
    let mode = way.mode.word();
    if way.mode != Mode::Snapshot {
        run.say_mode(log, mode)?;
    }
    let disks = say_disks(log, run, config)?;
    if way.mode == Mode::Snapshot {
        run.say_mode(log, mode)?;
    }
    run.hook(log, "backup-start", mode)?;
    say_left_out(log, config)?;
    run.hook(log, "pre-stop", mode)?;
    if way.runs && way.mode == Mode::Stop {
        shut_down(log, run, machine)?;
    }
    if way.mode == Mode::Suspend {
        log.info("suspending guest")?;
    }
    run.hook(log, "pre-restart", mode)?;
    run.hook(log, "post-restart", mode)?;
    run.announce(log)?;
    let blobs = blobs(log.node, run, config, &disks)?;
    let header = header(blobs, &disks)?;
    if disks.is_empty() {
        diskless(log, run, &header)?;
    } else {
        with_disks(log, run, machine, config, way, (&header, &disks))?;
    }
    run.complete(log)?;
    if way.mode == Mode::Suspend {
        log.info("resume vm")?;
    }
    run.hook(log, "backup-end", mode)
}

fn say_disks(log: &mut Log<'_>, run: &Run<'_>, config: &Config) -> Done<Vec<Disk>> {
    log.info(&format!("VM Name: {}", run.hostname))?;
    let disks = Disk::all(log.node, config)?;
    for (key, volume) in config.disks() {
        let id = &volume.id;
        if volume.is_excluded() {
            log.info(&format!("exclude disk '{key}' '{id}' (backup=no)"))?;
            continue;
        }
        let actual = disks.iter().find(|disk| disk.key == key).map_or(0, |disk| disk.size);
        let size =
            volume.option("size").map_or_else(|| crate::config::size_text(actual), str::to_owned);
        log.info(&format!("include disk '{key}' '{id}' {size}"))?;
    }
    Ok(disks)
}

fn say_left_out(log: &mut Log<'_>, config: &Config) -> Done {
    for (_, volume) in config.values.iter().filter(|(key, _)| key.starts_with("unused")) {
        log.info(&format!("skip unused drive '{volume}' (not included into backup)"))?;
    }
    if config.has_snapshots() {
        log.info("snapshots found (not included into backup)")?;
    }
    if config.has_pending() {
        log.info("pending configuration changes found (not included into backup)")?;
    }
    Ok(())
}

fn shut_down(log: &mut Log<'_>, run: &Run<'_>, machine: &Machine<'_>) -> Done {
    let (id, seconds) = (run.guest.id, run.job.stop_minutes * 60);
    log.info("stopping virtual guest")?;
    let Err(failure) = machine.shut_down(Duration::from_secs(seconds)) else { return Ok(()) };
    log.info(&failure.text)?;
    Err(Failure::new(format!(
        "command 'qm shutdown {id} --skiplock --keepActive --timeout {seconds}' failed: \
         exit code 255"
    )))
}

/// The configuration and the firewall rules as the archive holds them; also in the temporary folder.
fn blobs(node: &Node, run: &Run<'_>, config: &Config, disks: &[Disk]) -> Done<Vec<Blob>> {
    let text = config.text();
    let head =
        text.find("\n[").map_or(text.as_str(), |at| text.split_at(at).0.trim_end_matches('\n'));
    let gone = ["lock:", "parent:", "unused"];
    let kept = head.lines().filter(|line| !gone.iter().any(|word| line.starts_with(word)));
    let mut conf: String = kept.map(|line| format!("{line}\n")).collect();
    conf.extend(disks.iter().map(Disk::map_line));
    fs::write(node.file(format!("{}/qemu-server.conf", run.archive.tmp)), &conf)?;
    let mut blobs = vec![Blob { name: "qemu-server.conf".to_owned(), data: conf.into_bytes() }];
    if let Ok(data) = fs::read(node.file(format!("/etc/pve/firewall/{}.fw", run.guest.id))) {
        blobs.push(Blob { name: "qemu-server.fw".to_owned(), data });
    }
    Ok(blobs)
}

fn header(configs: Vec<Blob>, disks: &[Disk]) -> Done<Header> {
    let hex = node::new_uuid()?.replace('-', "");
    let number = u128::from_str_radix(&hex, 16).unwrap_or_default();
    let device = |(id, disk): (u8, &Disk)| Device {
        id,
        name: format!("drive-{}", disk.key),
        size_bytes: disk.size,
    };
    Ok(Header {
        uuid: number.to_be_bytes(),
        created_at: node::epoch(),
        configs,
        devices: (1..=254).zip(disks).map(device).collect(),
    })
}

fn diskless(log: &mut Log<'_>, run: &Run<'_>, header: &Header) -> Done {
    log.info("backup contains no disks")?;
    log.info("starting diskless backup")?;
    let to = if run.job.to_stdout { "&=3".to_owned() } else { run.archive.partial.clone() };
    log.info(&format!(
        "/usr/bin/vma create -v -c {}/qemu-server.conf exec:{} > {to}",
        run.archive.tmp,
        run.job.compressor.argv().join(" "),
    ))?;
    let sink = Sink::open(&run.job.compressor, run.file(log.node)?)?;
    let writer = Writer::new(sink, header).map_err(source::words)?;
    writer.finish().map_err(source::words)?.0.close()
}

fn with_disks(
    log: &mut Log<'_>,
    run: &Run<'_>,
    machine: &Machine<'_>,
    config: &Config,
    way: &Way,
    content: (&Header, &[Disk]),
) -> Done {
    let was_on = way.runs && way.mode != Mode::Stop;
    if !was_on {
        log.info("starting kvm to execute backup task")?;
        if let Err(failure) = machine.check_bridges(config) {
            log.error(&failure.text)?;
            log.info("aborting backup job")?;
            log.error(&format!("VM {} not running", run.guest.id))?;
            log.journal.line(&format!("VM {} not running", run.guest.id))?;
            return Err(failure);
        }
    } else if !way.paused {
        let agent = config.get("agent").unwrap_or("0");
        let enabled = agent.starts_with('1') || agent.contains("enabled=1");
        let why =
            if enabled { "agent configured but not running?" } else { "disabled in VM options" };
        log.info(&format!("skipping guest filesystem freeze - {why}"))?;
    }
    let result = copy(log, run, machine, way, content);
    machine.set_backup_job(false)?;
    if let Err(failure) = &result {
        // The job is over whether or not anybody still reads this.
        log.error(&failure.text).ok();
        log.info("aborting backup job").ok();
    }
    if !was_on {
        log.info("stopping kvm after backup task").or_else(|e| result.clone().and(Err(e)))?;
    } else if result.is_err() && !way.paused {
        log.info("resuming VM again").ok();
    }
    if way.runs && way.mode == Mode::Stop {
        machine.start(config)?;
    }
    result
}

fn copy(
    log: &mut Log<'_>,
    run: &Run<'_>,
    machine: &Machine<'_>,
    way: &Way,
    (header, disks): (&Header, &[Disk]),
) -> Done {
    log.info("starting backup via QMP command")?;
    let runs = machine.pid().is_some() && !way.paused;
    if way.runs {
        machine.set_backup_job(true)?;
    }
    let mut files = source::open(machine, disks, runs)?;
    let task = node::new_uuid()?;
    log.info(&format!("started backup task '{task}'"))?;
    if way.runs && way.mode != Mode::Snapshot {
        log.info("resuming VM again after 1 seconds")?;
    } else if way.runs && !way.paused {
        log.info("resuming VM again")?;
    }
    let total = disks.iter().map(|disk| disk.size).sum();
    let mut progress = Progress::of(total, run.job.bandwidth);
    let sink = Sink::open(&run.job.compressor, run.file(log.node)?)?;
    let mut writer = Writer::new(sink, header).map_err(source::words)?;
    for ((id, disk), file) in (1..=254).zip(disks).zip(&mut files) {
        let streamed = source::stream(&mut writer, id, (file, disk.size), &mut progress, log);
        if let Err(failure) = streamed {
            if failure.text.contains("write error") {
                progress.say(log).ok();
            }
            return Err(failure);
        }
    }
    let (sink, _) = writer.finish().map_err(source::words)?;
    sink.close()?;
    progress.finish(log)
}
