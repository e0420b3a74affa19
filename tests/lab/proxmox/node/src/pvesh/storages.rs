//! `/nodes/N/storage`.

use std::fs;

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::failure::Done;
use crate::node::Node;
use crate::storage::{self, Backup, Storage};

pub(super) fn list(node: &Node, given: &Arguments) -> Done<Value> {
    let mut all = storage::all(node);
    let content = given.value("content");
    all.retain(|storage| content.is_none_or(|content| storage.holds(content)));
    all.retain(|storage| given.value("storage").is_none_or(|id| storage.id == id));
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all.iter().map(|storage| entry(node, storage)).collect()
}

fn entry(node: &Node, storage: &Storage) -> Done<Value> {
    let mut entry = json!({
        "active": 1, "enabled": 1, "content": storage.content.join(","),
        "shared": u8::from(storage.shared), "storage": storage.id, "type": storage.plugin,
    });
    match storage.space(node) {
        Ok((total, used, available)) => {
            entry["total"] = json!(total);
            entry["used"] = json!(used);
            entry["avail"] = json!(available);
            entry["used_fraction"] = json!(used as f64 / total.max(1) as f64);
        }
        Err(_) => entry["active"] = json!(0),
    }
    Ok(entry)
}

pub(super) fn content(node: &Node, id: &str, given: &Arguments) -> Done<Value> {
    let storage = storage::find(node, id)?;
    let wanted = |content: &str| given.value("content").is_none_or(|given| given == content);
    let guest: Option<u32> = given.value("vmid").and_then(|id| id.parse().ok());
    let mut entries: Vec<Value> = Vec::new();
    if wanted("backup") && storage.holds("backup") {
        let backups = storage.backups(node).into_iter();
        let chosen = backups.filter(|backup| guest.is_none_or(|id| backup.guest == id));
        entries.extend(chosen.map(|backup| backup_entry(&storage, &backup)));
    }
    if wanted("images") && storage.holds("images") {
        entries.extend(images(node, &storage, guest));
    }
    Ok(Value::Array(entries))
}

fn backup_entry(storage: &Storage, backup: &Backup) -> Value {
    let mut entry = json!({
        "content": "backup", "ctime": backup.time, "format": backup.format, "size": backup.size,
        "subtype": backup.kind.word(), "vmid": backup.guest,
        "volid": format!("{}:backup/{}", storage.id, backup.name),
    });
    if let Some(notes) = &backup.notes {
        entry["notes"] = json!(notes);
    }
    if backup.protected {
        entry["protected"] = json!(1);
    }
    entry
}

fn images(node: &Node, storage: &Storage, guest: Option<u32>) -> Vec<Value> {
    let root = node.file(format!("{}/images", storage.path));
    let mut found = Vec::new();
    for folder in fs::read_dir(root).into_iter().flatten().flatten() {
        let owner: Option<u32> = folder.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(owner) = owner.filter(|id| guest.is_none_or(|guest| guest == *id)) else {
            continue;
        };
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let size = file.metadata().map_or(0, |meta| meta.len());
            found.push(json!({
                "content": "images", "format": storage::format_of(&name), "size": size,
                "used": size, "vmid": owner, "volid": format!("{}:{owner}/{name}", storage.id),
            }));
        }
    }
    found
}
