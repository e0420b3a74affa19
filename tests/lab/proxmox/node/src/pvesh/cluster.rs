//! What the API tells of the cluster and its nodes.

use serde_json::{Value, json};

use crate::failure::{Done, Failure};
use crate::guests::{self, Guest};
use crate::node::Node;
use crate::storage;

use super::guest;

pub(super) fn version(node: &Node) -> Value {
    let version = node.setting("version").unwrap_or_else(|| "9.1.0".to_owned());
    let release = version.rsplit_once('.').map_or(version.as_str(), |(release, _)| release);
    json!({"release": release, "repoid": "lab", "version": version})
}

/// pvestatd has collected what it knows of the guests; a node that just booted has not.
fn has_statistics(node: &Node) -> bool {
    node.setting("pvestatd").as_deref() != Some("off")
}

fn node_state(node: &Node, name: &str) -> &'static str {
    match (name == node.name, has_statistics(node)) {
        (_, false) => "unknown",
        (true, true) => "online",
        (false, true) => "offline",
    }
}

pub(super) fn nodes(node: &Node) -> Value {
    let entry = |name: String| {
        let status = node_state(node, &name);
        let mut entry = json!({
            "id": format!("node/{name}"), "node": name, "type": "node", "status": status,
            "ssl_fingerprint": "",
        });
        if status == "online" {
            entry["cpu"] = json!(0.01);
            entry["maxcpu"] = json!(2);
            entry["mem"] = json!(1_u64 << 30);
            entry["maxmem"] = json!(8_u64 << 30);
            entry["level"] = json!("");
            entry["uptime"] = json!(3600);
        }
        entry
    };
    guests::nodes(node).into_iter().map(entry).collect()
}

pub(super) fn status(node: &Node) -> Value {
    let names = guests::nodes(node);
    let mut entries: Vec<Value> = Vec::new();
    if names.len() > 1 {
        entries.push(json!({
            "id": "cluster", "name": "lab", "nodes": names.len(), "quorate": 1,
            "type": "cluster", "version": 2,
        }));
    }
    for (index, name) in names.iter().enumerate() {
        let here = *name == node.name;
        entries.push(json!({
            "id": format!("node/{name}"), "ip": "127.0.0.1", "level": "", "local": u8::from(here),
            "name": name, "nodeid": index, "online": u8::from(here), "type": "node",
        }));
    }
    Value::Array(entries)
}

pub(super) fn resources(node: &Node, kind: Option<&str>) -> Done<Value> {
    let wanted = |name: &str| kind.is_none_or(|kind| kind == name);
    let mut entries = Vec::new();
    if wanted("vm") {
        entries.extend(guests::all(node).iter().map(|guest| resource(node, guest)));
    }
    if wanted("node") {
        entries.extend(guests::nodes(node).into_iter().map(|name| {
            let status = node_state(node, &name);
            json!({"id": format!("node/{name}"), "node": name, "status": status, "type": "node"})
        }));
    }
    if wanted("storage") {
        for storage in storage::all(node) {
            let id = format!("storage/{}/{}", node.name, storage.id);
            let mut entry = json!({
                "content": storage.content.join(","), "id": id, "node": node.name,
                "plugintype": storage.plugin, "shared": u8::from(storage.shared),
                "status": "unknown", "storage": storage.id, "type": "storage",
            });
            if has_statistics(node) {
                let (total, used, _) = storage.space(node).unwrap_or_default();
                entry["status"] = json!("available");
                entry["maxdisk"] = json!(total);
                entry["disk"] = json!(used);
            }
            entries.push(entry);
        }
    }
    if wanted("sdn") || wanted("network") || kind.is_none() {
        entries.push(json!({
            "id": format!("network/{}/zone/localnetwork", node.name), "network": "localnetwork",
            "network-type": "zone", "node": node.name, "status": "ok", "type": "network",
        }));
    }
    Ok(Value::Array(entries))
}

fn resource(node: &Node, guest: &Guest) -> Value {
    let kind = guest.kind.word();
    let mut entry = json!({
        "id": format!("{kind}/{}", guest.id), "node": guest.node, "status": "unknown",
        "type": kind, "vmid": guest.id,
    });
    let Ok(config) = guest.config(node) else { return entry };
    if has_statistics(node) {
        let facts = guest::facts(node, guest, &config);
        for key in ["disk", "maxdisk", "maxmem", "mem", "name", "netin", "netout", "uptime"] {
            entry[key] = facts[key].clone();
        }
        entry["cpu"] = json!(0);
        entry["maxcpu"] = facts["cpus"].clone();
        entry["diskread"] = json!(0);
        entry["diskwrite"] = json!(0);
        entry["template"] = json!(u8::from(config.get("template") == Some("1")));
        if guest.node == node.name {
            entry["status"] = facts["status"].clone();
        }
        if let Some(state) = guest.ha_state(node) {
            entry["hastate"] = json!(state);
        }
    }
    if let Some(lock) = config.get("lock") {
        entry["lock"] = json!(lock);
    }
    entry
}

pub(super) fn next_id(node: &Node, wanted: Option<&str>) -> Done<Value> {
    let taken: Vec<u32> = guests::all(node).iter().map(|guest| guest.id).collect();
    let Some(wanted) = wanted else {
        let free = (100..).find(|id| !taken.contains(id)).unwrap_or(100);
        return Ok(json!(free.to_string()));
    };
    if wanted.parse().is_ok_and(|id| taken.contains(&id)) {
        let usage = "pvesh get <api_path> [OPTIONS]";
        let message = format!("VM {wanted} already exists");
        return Err(Failure::parameter("vmid", &message, false, usage));
    }
    Ok(json!(wanted))
}

pub(super) fn network(node: &Node, kind: Option<&str>) -> Value {
    let mut entries = Vec::new();
    for name in node.bridges() {
        entries.push(json!({
            "active": 1, "autostart": 1, "bridge_fd": "0", "bridge_ports": "", "bridge_stp": "off",
            "families": ["inet"], "iface": name, "method": "manual", "method6": "manual",
            "priority": entries.len() + 3, "type": "bridge",
        }));
    }
    if kind.is_none() {
        entries.push(json!({
            "active": 1, "exists": 1, "families": ["inet"], "iface": "eth0", "method": "manual",
            "method6": "manual", "priority": 2, "type": "eth",
        }));
    }
    Value::Array(entries)
}
