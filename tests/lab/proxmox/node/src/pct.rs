//! `pct`: the containers of this node.

mod restore;

use std::fs;

use crate::arguments::{self, Arguments, Known, Takes};
use crate::config::Config;
use crate::container;
use crate::failure::{Done, Failure};
use crate::guests::{self, Guest, Kind};
use crate::node::Node;
use crate::qm;
use crate::storage;
use crate::task;

pub(crate) use restore::through_api as restore_through_api;

const SETTABLE: &Known = &[
    ("cores", Takes::Value),
    ("delete", Takes::Value),
    ("description", Takes::Value),
    ("hostname", Takes::Value),
    ("lock", Takes::Value),
    ("memory", Takes::Value),
    ("mp#", Takes::Value),
    ("net#", Takes::Value),
    ("onboot", Takes::Flag),
    ("protection", Takes::Flag),
    ("skiplock", Takes::Flag),
    ("startup", Takes::Value),
    ("swap", Takes::Value),
    ("tags", Takes::Value),
];

pub(crate) fn main(node: &Node, args: &[String]) -> Done {
    let Some((verb, rest)) = args.split_first() else {
        return Err(Failure::new("ERROR: no command specified"));
    };
    if verb == "list" {
        return list(node);
    }
    if verb == "restore" {
        return restore::main(node, rest);
    }
    let usage = format!("pct {verb} <vmid> [OPTIONS]");
    let known: &Known = match verb.as_str() {
        "status" => &[("verbose", Takes::Flag)],
        "config" => &[("current", Takes::Flag)],
        "start" | "stop" => &[("skiplock", Takes::Flag)],
        "shutdown" => &[("timeout", Takes::Value), ("forceStop", Takes::Flag)],
        "set" => SETTABLE,
        "unlock" | "suspend" | "resume" => &[],
        "destroy" => DESTROY,
        other => return Err(Failure::new(format!("ERROR: unknown command 'pct {other}'"))),
    };
    let given = Arguments::read(rest, known, &usage)?;
    let word = given.words.first().map_or("", String::as_str);
    let (guest, config) = guests::demand(node, Kind::Lxc, arguments::vmid(word, &usage)?)?;
    match verb.as_str() {
        "status" => println!("status: {}", container::status(node, guest.id)),
        "config" => qm::print_config(&config),
        "start" => return switch(node, &guest, &config, true).map(|_| ()),
        "stop" | "shutdown" => return switch(node, &guest, &config, false).map(|_| ()),
        "set" => return set(node, &guest, &given),
        "unlock" => return unlock(node, &guest),
        "suspend" => return freeze(node, &guest, &config, true),
        "resume" => return freeze(node, &guest, &config, false),
        _ => return destroy(node, &guest, &config, &given).map(|_| ()),
    }
    Ok(())
}

/// The options of a destruction.
pub(crate) const DESTROY: &Known =
    &[("force", Takes::Flag), ("purge", Takes::Flag), ("destroy-unreferenced-disks", Takes::Flag)];

fn list(node: &Node) -> Done {
    let guests = guests::local(node, Kind::Lxc);
    let row = |id: &str, status: &str, lock: &str, name: &str| {
        println!("{id:<10} {status:<10} {lock:<12} {name:<20}");
    };
    if !guests.is_empty() {
        row("VMID", "Status", "Lock", "Name");
    }
    for guest in guests {
        let Ok(config) = guest.config(node) else { continue };
        let status = container::status(node, guest.id);
        let lock = config.get("lock").unwrap_or_default();
        row(&guest.id.to_string(), status, lock, &guest.name(&config));
    }
    Ok(())
}

/// Switches a container on or off; the task's UPID.
pub(crate) fn switch(node: &Node, guest: &Guest, config: &Config, on: bool) -> Done<String> {
    let kind = if on { "vzstart" } else { "vzstop" };
    task::here(node, kind, &guest.id.to_string(), |_| {
        guest.unlocked(config)?;
        if container::is_on(node, guest.id) == on {
            let state = if on { "already running" } else { "not running" };
            return Err(Failure::new(format!("CT {} {state}", guest.id)));
        }
        container::set_on(node, guest.id, on)
    })
}

/// Freezes a container that is on, or lets it go on.
fn freeze(node: &Node, guest: &Guest, config: &Config, on: bool) -> Done {
    let kind = if on { "vzsuspend" } else { "vzresume" };
    task::here(node, kind, &guest.id.to_string(), |_| {
        guest.unlocked(config)?;
        if !container::is_on(node, guest.id) {
            return Err(Failure::new(format!("CT {} not running", guest.id)));
        }
        container::set_frozen(node, guest.id, on)
    })
    .map(|_| ())
}

fn set(node: &Node, guest: &Guest, given: &Arguments) -> Done {
    guest.change(node, |config| {
        if !given.is_on("skiplock") {
            guest.unlocked(config)?;
        }
        for (name, value) in &given.options {
            match name.as_str() {
                "skiplock" => {}
                "delete" => value.split(',').for_each(|key| {
                    config.values.remove(key);
                }),
                "description" => config.describe(value),
                _ => config.set(name, value.clone()),
            }
        }
        Ok(())
    })
}

fn unlock(node: &Node, guest: &Guest) -> Done {
    guest.change(node, |config| match config.values.remove("lock") {
        Some(_) => Ok(()),
        None => Err(Failure::new("no lock found trying to remove any lock")),
    })
}

/// Destroys a container and its volumes; the task's UPID.
pub(crate) fn destroy(
    node: &Node,
    guest: &Guest,
    config: &Config,
    given: &Arguments,
) -> Done<String> {
    let id = guest.id;
    if config.get("protection") == Some("1") {
        return Err(Failure::new(format!("can't remove CT {id} - protection mode enabled")));
    }
    guest.unlocked(config)?;
    if container::is_on(node, id) && !given.is_on("force") {
        let text = format!("container {id} is running, destroy with force or stop it first");
        return Err(Failure::with_code(255, format!("{text}\n")));
    }
    task::here(node, "vzdestroy", &id.to_string(), |journal| {
        container::set_on(node, id, false)?;
        remove_volumes(node, config)?;
        if given.is_on("purge") {
            journal.line(&format!("purging CT {id} from related configurations.."))?;
        }
        fs::remove_file(node.file(format!("/etc/pve/firewall/{id}.fw"))).ok();
        guest.forget(node)
    })
}

fn remove_volumes(node: &Node, config: &Config) -> Done {
    let mut volumes = config.mount_points().into_iter().filter(|(_, volume)| volume.is_stored());
    volumes.try_for_each(|(_, volume)| storage::remove(node, Kind::Lxc, &volume.id))
}
