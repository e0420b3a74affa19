//! Switching VMs on and off, at once or through the HA manager.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::arguments::{Arguments, Takes};
use crate::config::Config;
use crate::failure::{Done, Failure};
use crate::guests::{self, Guest, Kind};
use crate::machine::Machine;
use crate::node::Node;
use crate::task;

use super::guest_of;

/// In the environment of the process that does later what the HA manager was asked for.
const LATER: &str = "DRS_LAB_HA_DELAY";

pub(super) fn start_command(node: &Node, args: &[String]) -> Done {
    let usage = "qm start <vmid> [OPTIONS]";
    let given = Arguments::read(args, &[("skiplock", Takes::Flag)], usage)?;
    let (guest, config) = guest_of(node, &given, usage)?;
    start(node, &guest, &config, given.is_on("skiplock")).map(|_| ())
}

/// Switches a VM on; the task's UPID.
pub(crate) fn start(node: &Node, guest: &Guest, config: &Config, skip_lock: bool) -> Done<String> {
    if through_ha(node, guest) {
        return request(node, guest, "start");
    }
    task::here(node, "qmstart", &guest.id.to_string(), |_| {
        if !skip_lock {
            guest.unlocked(config)?;
        }
        if config.get("template") == Some("1") {
            return Err(Failure::new("you can't start a vm if it's a template"));
        }
        Machine::of(node, guest.id).start(config)
    })
}

pub(super) fn stop_command(node: &Node, args: &[String]) -> Done {
    let usage = "qm stop <vmid> [OPTIONS]";
    let known =
        [("skiplock", Takes::Flag), ("timeout", Takes::Value), ("overrule-shutdown", Takes::Flag)];
    let given = Arguments::read(args, &known, usage)?;
    let (guest, config) = guest_of(node, &given, usage)?;
    stop(node, &guest, &config, given.is_on("skiplock")).map(|_| ())
}

/// Cuts a VM's power; the task's UPID.
pub(crate) fn stop(node: &Node, guest: &Guest, config: &Config, skip_lock: bool) -> Done<String> {
    if through_ha(node, guest) {
        return request(node, guest, "stop");
    }
    task::here(node, "qmstop", &guest.id.to_string(), |_| {
        if !skip_lock {
            guest.unlocked(config)?;
        }
        Machine::of(node, guest.id).stop()
    })
}

pub(super) fn shutdown_command(node: &Node, args: &[String]) -> Done {
    let usage = "qm shutdown <vmid> [OPTIONS]";
    let known = [
        ("timeout", Takes::Value),
        ("forceStop", Takes::Flag),
        ("skiplock", Takes::Flag),
        ("keepActive", Takes::Flag),
    ];
    let given = Arguments::read(args, &known, usage)?;
    let (guest, config) = guest_of(node, &given, usage)?;
    if !given.is_on("skiplock") {
        guest.unlocked(&config)?;
    }
    shutdown(node, &guest, given.number("timeout", usage)?, given.is_on("forceStop")).map(|_| ())
}

/// Asks a guest to end, and cuts its power when it does not and `force` is on; the task's UPID.
pub(crate) fn shutdown(
    node: &Node,
    guest: &Guest,
    timeout: Option<u64>,
    force: bool,
) -> Done<String> {
    if through_ha(node, guest) {
        return request(node, guest, "stop");
    }
    let patience =
        timeout.map_or_else(|| node.seconds("shutdown-timeout", 60.0), Duration::from_secs);
    task::here(node, "qmshutdown", &guest.id.to_string(), |journal| {
        let machine = Machine::of(node, guest.id);
        if machine.pid().is_none() {
            return Ok(());
        }
        match machine.shut_down(patience) {
            Err(failure) if force && failure.text.contains("timeout") => {
                journal.line("VM still running - terminating now with SIGTERM")?;
                machine.stop()
            }
            result => result,
        }
    })
}

pub(super) fn pause(node: &Node, args: &[String], pause: bool) -> Done {
    let usage = if pause { "qm suspend <vmid>" } else { "qm resume <vmid>" };
    let given = Arguments::read(args, &[("skiplock", Takes::Flag)], usage)?;
    let (guest, _) = guest_of(node, &given, usage)?;
    let machine = Machine::of(node, guest.id);
    if machine.pid().is_none() {
        return Err(Failure::new(format!("VM {} not running", guest.id)));
    }
    if pause { machine.pause() } else { machine.resume() }
}

/// The HA manager has the guest, and this is not its own doing.
fn through_ha(node: &Node, guest: &Guest) -> bool {
    guest.ha_state(node).is_some() && std::env::var_os(LATER).is_none()
}

/// Leaves the work to a process of its own, that begins a while after this command has ended.
fn request(node: &Node, guest: &Guest, verb: &str) -> Done<String> {
    println!("Requesting HA {verb} for VM {}", guest.id);
    let delay = node.seconds("ha-delay", 1.5).as_secs_f64().to_string();
    task::here(node, &format!("ha{verb}"), &guest.id.to_string(), |_| {
        Command::new(std::env::current_exe()?)
            .arg0("lab-ha")
            .args([verb, &guest.id.to_string()])
            .env(LATER, delay)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(())
    })
}

/// What the HA manager does in its own time.
pub(crate) fn finish_ha_request(node: &Node, args: &[String]) -> Done {
    let delay = std::env::var(LATER).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    thread::sleep(Duration::from_secs_f64(delay));
    let (verb, id) = (args.first().map(String::as_str), args.get(1).and_then(|id| id.parse().ok()));
    let (guest, config) = guests::demand(node, Kind::Qemu, id.unwrap_or(0))?;
    match verb {
        Some("start") => start(node, &guest, &config, false).map(|_| ()),
        _ => stop(node, &guest, &config, false).map(|_| ()),
    }
}
