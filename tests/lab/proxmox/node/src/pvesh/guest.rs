//! What the API tells of guests.

use serde_json::{Map, Value, json};

use crate::config::{Config, Volume, size_bytes};
use crate::container;
use crate::failure::Done;
use crate::guests::{self, Guest, Kind};
use crate::machine::Machine;
use crate::node::{self, Node};
use crate::qm;

/// Keys whose values the API gives as numbers.
const NUMBERS: &[&str] = &[
    "acpi",
    "balloon",
    "cores",
    "kvm",
    "numa",
    "onboot",
    "protection",
    "sockets",
    "swap",
    "tablet",
    "template",
    "unprivileged",
    "vcpus",
];
/// What a machine that is on has besides.
const PRESSURE: &[&str] = &[
    "pressurecpufull",
    "pressurecpusome",
    "pressureiofull",
    "pressureiosome",
    "pressurememoryfull",
    "pressurememorysome",
];

pub(super) fn list(node: &Node, name: &str, kind: Kind) -> Value {
    let mut guests = guests::all(node);
    guests.retain(|guest| guest.kind == kind && (guest.node == name || name == "localhost"));
    let entry = |guest: &Guest| Some(facts(node, guest, &guest.config(node).ok()?));
    guests.iter().filter_map(entry).collect()
}

/// What lists tell of a guest.
pub(super) fn facts(node: &Node, guest: &Guest, config: &Config) -> Value {
    let mut facts = match guest.kind {
        Kind::Qemu => machine_facts(node, guest, config),
        Kind::Lxc => container_facts(node, guest, config),
    };
    for key in ["lock", "tags"] {
        if let Some(value) = config.get(key) {
            facts[key] = json!(value);
        }
    }
    if config.get("template") == Some("1") {
        facts["template"] = json!(1);
    }
    facts
}

fn machine_facts(node: &Node, guest: &Guest, config: &Config) -> Value {
    let machine = Machine::of(node, guest.id);
    let pid = machine.pid().filter(|_| guest.node == node.name);
    let mut facts = json!({
        "cpu": 0, "cpus": config.number("cores", 1) * config.number("sockets", 1), "disk": 0,
        "maxdisk": qm::boot_disk_bytes(config), "maxmem": config.number("memory", 512) << 20,
        "mem": 0, "memhost": 0, "name": guest.name(config), "netin": 0, "netout": 0,
        "status": if pid.is_some() { "running" } else { "stopped" },
        "uptime": if pid.is_some() { machine.uptime() } else { 0 }, "vmid": guest.id,
    });
    if config.get("serial0").is_some() {
        facts["serial"] = json!(1);
    }
    if let Some(pid) = pid {
        facts["pid"] = json!(pid);
        PRESSURE.iter().for_each(|key| facts[*key] = json!(0));
    }
    facts
}

fn container_facts(node: &Node, guest: &Guest, config: &Config) -> Value {
    let rootfs = Volume::parse(config.get("rootfs").unwrap_or_default());
    let size = rootfs.option("size").and_then(size_bytes).unwrap_or(0);
    json!({
        "cpu": 0, "cpus": config.number("cores", 1), "disk": 0, "diskread": 0, "diskwrite": 0,
        "maxdisk": size, "maxmem": config.number("memory", 512) << 20,
        "maxswap": config.number("swap", 512) << 20, "mem": 0, "name": guest.name(config),
        "netin": 0, "netout": 0, "status": container::status(node, guest.id), "swap": 0,
        "type": "lxc", "uptime": 0, "vmid": guest.id,
    })
}

/// `/status/current`.
pub(super) fn current(node: &Node, guest: &Guest, config: &Config) -> Value {
    let mut facts = facts(node, guest, config);
    facts["ha"] = match guest.ha_state(node) {
        None => json!({"managed": 0}),
        Some(state) => json!({"managed": 1, "state": state}),
    };
    if guest.kind == Kind::Lxc {
        return facts;
    }
    let status = Machine::of(node, guest.id).status();
    facts["qmpstatus"] = json!(status);
    facts["diskread"] = json!(0);
    facts["diskwrite"] = json!(0);
    facts["clipboard"] = Value::Null;
    if config.get("agent").is_some_and(|a| a.starts_with('1') || a.contains("enabled=1")) {
        facts["agent"] = json!(1);
    }
    if status != "stopped" {
        let memory = facts["maxmem"].clone();
        facts["balloon"] = memory.clone();
        facts["ballooninfo"] = json!({"actual": memory, "max_mem": memory});
        let disks = config.disks().into_iter();
        let counters =
            json!({"rd_bytes": 0, "rd_operations": 0, "wr_bytes": 0, "wr_operations": 0});
        facts["blockstat"] = disks.map(|(key, _)| (key, counters.clone())).collect();
        facts["proxmox-support"] = json!({"backup-max-workers": true, "pbs-dirty-bitmap": true});
        facts["running-machine"] = json!("pc-i440fx-10.0+pve0");
        facts["running-qemu"] = json!("10.0.2");
    }
    facts
}

/// `/config`.
pub(super) fn config(node: &Node, guest: &Guest, config: &Config) -> Done<Value> {
    let file = node.file(format!(
        "/etc/pve/nodes/{}/{}/{}.conf",
        guest.node,
        guest.kind.folder(),
        guest.id
    ));
    let sum = node::program("sha1sum", &[file])?;
    let digest = String::from_utf8_lossy(&sum).split(' ').next().unwrap_or_default().to_owned();
    let mut answer: Map<String, Value> = config
        .values
        .iter()
        .map(|(key, value)| {
            let is_number =
                NUMBERS.contains(&key.as_str()) || (guest.kind == Kind::Lxc && key == "memory");
            let number = value.parse::<u64>().ok().filter(|_| is_number);
            (key.clone(), number.map_or_else(|| json!(value), |number| json!(number)))
        })
        .collect();
    answer.insert("digest".to_owned(), json!(digest));
    if let Some(description) = config.description() {
        answer.insert("description".to_owned(), json!(description));
    }
    Ok(Value::Object(answer))
}
