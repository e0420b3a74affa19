//! `qm`: the VMs of this node.

mod change;
mod power;

use crate::arguments::{self, Arguments, Takes};
use crate::config::{Config, encoded, size_bytes};
use crate::failure::{Done, Failure};
use crate::guests::{self, Guest, Kind};
use crate::machine::Machine;
use crate::node::Node;

pub(crate) use change::{destroy, destroy_known};
pub(crate) use power::{finish_ha_request, shutdown, start, stop};

pub(crate) fn main(node: &Node, args: &[String]) -> Done {
    let Some((verb, rest)) = args.split_first() else {
        return Err(Failure::new("ERROR: no command specified"));
    };
    match verb.as_str() {
        "list" => list(node),
        "status" => status(node, rest),
        "config" => config(node, rest),
        "start" => power::start_command(node, rest),
        "stop" => power::stop_command(node, rest),
        "shutdown" => power::shutdown_command(node, rest),
        "suspend" => power::pause(node, rest, true),
        "resume" => power::pause(node, rest, false),
        "set" => change::set(node, rest),
        "unlock" => change::unlock(node, rest),
        "destroy" => change::destroy_command(node, rest),
        "migrate" => migrate(node, rest),
        "agent" => agent(node, rest),
        "guest" if rest.first().is_some_and(|word| word == "cmd") => {
            agent(node, rest.get(1..).unwrap_or_default())
        }
        "snapshot" => snapshot(node, rest),
        other => Err(Failure::new(format!("ERROR: unknown command 'qm {other}'"))),
    }
}

/// The VM named first, of this node.
fn guest_of(node: &Node, given: &Arguments, usage: &str) -> Done<(Guest, Config)> {
    let word = given.words.first().map_or("", String::as_str);
    guests::demand(node, Kind::Qemu, arguments::vmid(word, usage)?)
}

fn list(node: &Node) -> Done {
    let guests = guests::local(node, Kind::Qemu);
    if guests.is_empty() {
        return Ok(());
    }
    let row = |cells: [&str; 6]| {
        let [id, name, status, memory, disk, pid] = cells;
        println!("{id:>10} {name:<20} {status:<10} {memory:<10} {disk:>12} {pid:<10}");
    };
    row(["VMID", "NAME", "STATUS", "MEM(MB)", "BOOTDISK(GB)", "PID"]);
    for guest in guests {
        let Ok(config) = guest.config(node) else { continue };
        let machine = Machine::of(node, guest.id);
        let disk = boot_disk_bytes(&config) as f64 / f64::from(1 << 30);
        row([
            &guest.id.to_string(),
            &guest.name(&config),
            machine.status(),
            &config.number("memory", 512).to_string(),
            &format!("{disk:.2}"),
            &machine.pid().unwrap_or(0).to_string(),
        ]);
    }
    Ok(())
}

/// The size that the configuration gives of the boot disk.
pub(crate) fn boot_disk_bytes(config: &Config) -> u64 {
    let size = config.boot_disk().and_then(|(_, volume)| size_bytes(volume.option("size")?));
    size.unwrap_or(0)
}

fn status(node: &Node, args: &[String]) -> Done {
    let usage = "qm status <vmid> [OPTIONS]";
    let given = Arguments::read(args, &[("verbose", Takes::Flag)], usage)?;
    let (guest, config) = guest_of(node, &given, usage)?;
    let status = Machine::of(node, guest.id).status();
    if given.is_on("verbose") {
        println!("cpus: {}", config.number("cores", 1) * config.number("sockets", 1));
        println!("maxdisk: {}", boot_disk_bytes(&config));
        println!("maxmem: {}", config.number("memory", 512) << 20);
        println!("name: {}", guest.name(&config));
        println!("qmpstatus: {status}");
    }
    println!("status: {status}");
    if given.is_on("verbose") {
        println!("uptime: {}\nvmid: {}", Machine::of(node, guest.id).uptime(), guest.id);
    }
    Ok(())
}

fn config(node: &Node, args: &[String]) -> Done {
    let usage = "qm config <vmid> [OPTIONS]";
    let given = Arguments::read(args, &[("current", Takes::Flag)], usage)?;
    print_config(&guest_of(node, &given, usage)?.1);
    Ok(())
}

/// The configuration as `qm config` and `pct config` print it.
pub(crate) fn print_config(config: &Config) {
    let mut values = config.values.clone();
    if let Some(description) = config.description() {
        values.insert("description".to_owned(), encoded(&description));
    }
    for (key, value) in values {
        println!("{key}: {value}");
    }
}

fn migrate(node: &Node, args: &[String]) -> Done {
    let usage = "qm migrate <vmid> <target> [OPTIONS]";
    let known = [
        ("online", Takes::Flag),
        ("with-local-disks", Takes::Flag),
        ("targetstorage", Takes::Value),
    ];
    let given = Arguments::read(args, &known, usage)?;
    guest_of(node, &given, usage)?;
    let target = given.words.get(1).map_or("", String::as_str);
    if target == node.name {
        return Err(Failure::parameter("target", "target is local node.", false, usage));
    }
    Err(Failure::new(format!("no such cluster node '{target}'")))
}

/// No guest of the lab has an agent.
fn agent(node: &Node, args: &[String]) -> Done {
    let usage = "qm guest cmd <vmid> <command>";
    let given = Arguments::read(args, &[], usage)?;
    let (guest, config) = guest_of(node, &given, usage)?;
    if Machine::of(node, guest.id).pid().is_none() {
        return Err(Failure::new(format!("VM {} is not running", guest.id)));
    }
    if !config.get("agent").is_some_and(|a| a.starts_with('1') || a.contains("enabled=1")) {
        return Err(Failure::with_code(2, "No QEMU guest agent configured"));
    }
    Err(Failure::with_code(2, "QEMU guest agent is not running"))
}

fn snapshot(node: &Node, args: &[String]) -> Done {
    let usage = "qm snapshot <vmid> <snapname> [OPTIONS]";
    let known = [("description", Takes::Value), ("vmstate", Takes::Flag)];
    let given = Arguments::read(args, &known, usage)?;
    guest_of(node, &given, usage)?;
    let name = given.words.get(1).map_or("", String::as_str);
    if name.len() < 2 {
        let message = format!("invalid format - invalid configuration ID '{name}'");
        return Err(Failure::parameter("snapname", &message, true, usage));
    }
    Err(Failure::new("snapshot feature is not available"))
}
