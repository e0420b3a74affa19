//! `pvesm`: storages and what lies on them. `ha-manager status`.

use drs_vma::Reader;

use crate::arguments::{Arguments, Takes};
use crate::failure::{Done, Failure};
use crate::guests::Kind;
use crate::node::Node;
use crate::qmrestore;
use crate::storage;

pub(crate) fn main(node: &Node, args: &[String]) -> Done {
    let Some((verb, rest)) = args.split_first() else {
        return Err(Failure::new("ERROR: no command specified"));
    };
    let known = [("content", Takes::Value), ("vmid", Takes::Value), ("storage", Takes::Value)];
    let given = Arguments::read(rest, &known, &format!("pvesm {verb} [OPTIONS]"))?;
    let word = given.words.first().map_or("", String::as_str);
    match verb.as_str() {
        "list" => list(node, word, &given),
        "path" => {
            // A container's volume is a folder here, as on a real node with ZFS.
            let folder = storage::folder_of(node, word)?;
            let is_folder = node.file(&folder).is_dir();
            println!("{}", if is_folder { folder } else { storage::path(node, word)? });
            Ok(())
        }
        "status" => status(node, given.value("storage")),
        "extractconfig" => extract_config(node, word),
        other => Err(Failure::new(format!("ERROR: unknown command 'pvesm {other}'"))),
    }
}

fn list(node: &Node, id: &str, given: &Arguments) -> Done {
    let storage = storage::find(node, id)?;
    let guest: Option<u32> = given.value("vmid").and_then(|id| id.parse().ok());
    let mut rows: Vec<[String; 5]> = Vec::new();
    for backup in storage.backups(node) {
        let volume = format!("{id}:backup/{}", backup.name);
        let (size, guest) = (backup.size.to_string(), backup.guest.to_string());
        rows.push([volume, backup.format, "backup".to_owned(), size, guest]);
    }
    for volume in storage.volumes(node) {
        let format = storage::format_of(&volume.id).to_owned();
        let (size, guest) = (volume.size.to_string(), volume.guest.to_string());
        rows.push([volume.id, format, volume.content.to_owned(), size, guest]);
    }
    let guest = guest.map(|id| id.to_string());
    rows.retain(|row| guest.as_ref().is_none_or(|id| row[4] == *id));
    rows.retain(|row| given.value("content").is_none_or(|content| row[2] == content));
    let width = |at: usize, least: usize| {
        rows.iter().map(|row| row[at].len()).max().unwrap_or(0).max(least)
    };
    let (volumes, formats, kinds, sizes) = (width(0, 5), width(1, 6), width(2, 6), width(3, 11));
    println!(
        "{:volumes$} {:formats$} {:kinds$} {:>sizes$} VMID",
        "Volid", "Format", "Type", "Size"
    );
    for [volume, format, kind, size, guest] in &rows {
        println!("{volume:volumes$} {format:formats$} {kind:kinds$} {size:>sizes$} {guest}");
    }
    Ok(())
}

fn status(node: &Node, only: Option<&str>) -> Done {
    println!(
        "{:<11} {:>6} {:>10} {:>15} {:>15} {:>15} {:>8}",
        "Name", "Type", "Status", "Total (KiB)", "Used (KiB)", "Available (KiB)", "%"
    );
    let mut all = storage::all(node);
    all.retain(|storage| only.is_none_or(|id| storage.id == id));
    all.sort_by(|a, b| a.id.cmp(&b.id));
    for storage in all {
        let (total, used, available) = storage.space(node).unwrap_or_default();
        let share = format!("{:.2}%", used as f64 * 100.0 / total.max(1) as f64);
        println!(
            "{:<11} {:>6} {:>10} {:>15} {:>15} {:>15} {share:>8}",
            storage.id,
            storage.plugin,
            "active",
            total >> 10,
            used >> 10,
            available >> 10
        );
    }
    Ok(())
}

/// Prints the configuration inside a backup, and the empty line that follows it.
pub(crate) fn extract_config(node: &Node, volume: &str) -> Done {
    let path = storage::path(node, volume)?;
    let name = path.rsplit('/').next().unwrap_or_default();
    let backup = storage::named(node, name)
        .filter(|_| node.file(&path).exists())
        .ok_or_else(|| Failure::with_code(2, format!("archive '{volume}' does not exist")))?;
    let text = match backup.kind {
        Kind::Qemu => {
            let mut input = qmrestore::Input::open(node, &path)?;
            let reader = Reader::open(input.take())
                .map_err(|error| Failure::new(format!("could not read the archive: {error}")))?;
            qmrestore::text_of(reader.header())?
        }
        Kind::Lxc => {
            let file = node.file(&path).display().to_string();
            let args = ["-xOf", &file, "--occurrence=1", "./etc/vzdump/pct.conf"];
            String::from_utf8_lossy(&crate::node::program("tar", &args)?).into_owned()
        }
    };
    println!("{text}");
    Ok(())
}

/// `ha-manager status`: what the cluster's HA manager has in hand.
pub(crate) fn ha_manager(node: &Node, args: &[String]) -> Done {
    if args.first().map(String::as_str) != Some("status") {
        return Err(Failure::new("ERROR: unknown command 'ha-manager'"));
    }
    println!("quorum OK");
    let services: Vec<_> = crate::guests::all(node)
        .into_iter()
        .filter(|guest| guest.ha_state(node).is_some())
        .collect();
    if services.is_empty() {
        println!("fencing standby (CRM watchdog standby)");
        return Ok(());
    }
    println!("master {} (active, Thu Jan  1 00:00:00 1970)", node.name);
    println!("lrm {} (active, Thu Jan  1 00:00:00 1970)", node.name);
    for guest in services {
        let kind = guest.kind.title().to_lowercase();
        let state = guest.ha_state(node).unwrap_or_default();
        println!("service {kind}:{} ({}, {state})", guest.id, guest.node);
    }
    Ok(())
}
