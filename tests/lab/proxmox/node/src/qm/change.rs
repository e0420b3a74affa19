//! Changing a VM's configuration, and destroying VMs.

use std::fs;

use crate::arguments::{Arguments, Known, Takes};
use crate::config::{Config, Volume, is_disk_key};
use crate::failure::{Done, Failure};
use crate::guests::{Guest, Kind};
use crate::machine::Machine;
use crate::node::Node;
use crate::storage;
use crate::task;

use super::guest_of;

/// Options that `qm set` keeps in the configuration, and some that steer it.
const SETTABLE: &Known = &[
    ("agent", Takes::Value),
    ("balloon", Takes::Value),
    ("boot", Takes::Value),
    ("cores", Takes::Value),
    ("cpu", Takes::Value),
    ("delete", Takes::Value),
    ("description", Takes::Value),
    ("efidisk#", Takes::Value),
    ("force", Takes::Flag),
    ("ide#", Takes::Value),
    ("kvm", Takes::Flag),
    ("lock", Takes::Value),
    ("memory", Takes::Value),
    ("name", Takes::Value),
    ("net#", Takes::Value),
    ("onboot", Takes::Flag),
    ("ostype", Takes::Value),
    ("protection", Takes::Flag),
    ("sata#", Takes::Value),
    ("scsi#", Takes::Value),
    ("scsihw", Takes::Value),
    ("serial#", Takes::Value),
    ("skiplock", Takes::Flag),
    ("smbios1", Takes::Value),
    ("sockets", Takes::Value),
    ("startup", Takes::Value),
    ("tags", Takes::Value),
    ("template", Takes::Flag),
    ("vga", Takes::Value),
    ("virtio#", Takes::Value),
    ("vmgenid", Takes::Value),
];

pub(super) fn set(node: &Node, args: &[String]) -> Done {
    let usage = "qm set <vmid> [OPTIONS]";
    let given = Arguments::read(args, SETTABLE, usage)?;
    let (guest, _) = guest_of(node, &given, usage)?;
    guest.change(node, |config| {
        if !given.is_on("skiplock") {
            guest.unlocked(config)?;
        }
        let mut options = given.options.clone();
        options.retain(|(name, _)| !matches!(name.as_str(), "skiplock" | "force"));
        options.sort();
        let shown = options.iter().map(|(name, value)| format!(" -{name} {value}"));
        println!("update VM {}:{}", guest.id, shown.collect::<String>());
        apply(config, &options);
        Ok(())
    })
}

fn apply(config: &mut Config, options: &[(String, String)]) {
    for (name, value) in options {
        match name.as_str() {
            "delete" => value.split(',').for_each(|key| delete(config, key)),
            "description" => config.describe(value),
            _ => config.set(name, value.clone()),
        }
    }
}

/// A disk that is taken away stays as an unused one.
fn delete(config: &mut Config, key: &str) {
    let Some(value) = config.values.remove(key) else { return };
    let volume = Volume::parse(&value);
    if is_disk_key(key) && volume.is_stored() {
        let free = (0..).map(|n| format!("unused{n}")).find(|key| config.get(key).is_none());
        config.set(&free.unwrap_or_default(), volume.id);
    }
}

pub(super) fn unlock(node: &Node, args: &[String]) -> Done {
    let usage = "qm unlock <vmid>";
    let given = Arguments::read(args, &[], usage)?;
    let (guest, _) = guest_of(node, &given, usage)?;
    guest.change(node, |config| {
        config.values.remove("lock");
        Ok(())
    })
}

pub(super) fn destroy_command(node: &Node, args: &[String]) -> Done {
    let usage = "qm destroy <vmid> [OPTIONS]";
    let given = Arguments::read(args, destroy_known(), usage)?;
    let (guest, config) = guest_of(node, &given, usage)?;
    destroy(node, &guest, &config, &given).map(|_| ())
}

/// The options of a destruction.
pub(crate) fn destroy_known() -> &'static Known {
    &[
        ("purge", Takes::Flag),
        ("destroy-unreferenced-disks", Takes::Flag),
        ("skiplock", Takes::Flag),
    ]
}

/// Destroys a VM and its disks; the task's UPID.
pub(crate) fn destroy(
    node: &Node,
    guest: &Guest,
    config: &Config,
    given: &Arguments,
) -> Done<String> {
    let id = guest.id;
    if config.get("protection") == Some("1") {
        return Err(Failure::new(format!("can't remove VM {id} - protection mode enabled")));
    }
    if guest.ha_state(node).is_some() && !given.is_on("purge") {
        let text =
            format!("unable to remove VM {id} - used in HA resources and purge parameter not set.");
        return Err(Failure::new(text));
    }
    if Machine::of(node, id).pid().is_some() {
        return Err(Failure::with_code(25, format!("VM {id} is running - destroy failed")));
    }
    if !given.is_on("skiplock") {
        guest.unlocked(config)?;
    }
    task::here(node, "qmdestroy", &id.to_string(), |journal| {
        for (key, value) in &config.values {
            let volume = Volume::parse(value);
            let held = is_disk_key(key) || key.starts_with("unused");
            let owned = volume.id.contains(&format!(":{id}/"));
            if held && volume.is_stored() && owned {
                storage::remove(node, Kind::Qemu, &volume.id)?;
            }
        }
        if given.is_on("destroy-unreferenced-disks") {
            remove_unreferenced(node, id);
        }
        if given.is_on("purge") {
            journal.line(&format!("purging VM {id} from related configurations.."))?;
        }
        fs::remove_file(node.file(format!("/etc/pve/firewall/{id}.fw"))).ok();
        guest.forget(node)
    })
}

fn remove_unreferenced(node: &Node, id: u32) {
    for storage in storage::all(node).iter().filter(|storage| storage.holds("images")) {
        fs::remove_dir_all(node.file(format!("{}/images/{id}", storage.path))).ok();
    }
}
