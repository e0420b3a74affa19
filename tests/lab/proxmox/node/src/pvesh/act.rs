//! What `pvesh create`, `set` and `delete` do. A task runs in the foreground; its UPID comes last.

use std::fs;

use crate::arguments::{Arguments, Takes};
use crate::failure::{Done, Failure};
use crate::guests::Kind;
use crate::node::Node;
use crate::{pct, qm, qmrestore, storage, task, vzdump};

use super::{guest_at, no_path};

/// Does it; the UPID when it was a task.
pub(super) fn act(
    node: &Node,
    verb: &str,
    parts: &[&str],
    args: &[String],
) -> Done<Option<String>> {
    let ended = match (verb, parts) {
        ("create", ["nodes", _, "vzdump"]) => match vzdump::through_api(node, args)? {
            Some(ended) => ended,
            None => return Ok(None),
        },
        ("create", ["nodes", _, "qemu"]) => qmrestore::through_api(node, args)?,
        ("create", ["nodes", _, "lxc"]) => pct::restore_through_api(node, args)?,
        ("create", ["nodes", name, kind @ ("qemu" | "lxc"), id, "status", what]) => {
            return power(node, (name, kind, id), what, args).map(Some);
        }
        ("delete", ["nodes", name, kind @ ("qemu" | "lxc"), id]) => {
            let guest = guest_at(name, kind, id)?;
            let config = guest.config(node)?;
            let known = if guest.kind == Kind::Qemu { qm::destroy_known() } else { pct::DESTROY };
            let given = Arguments::read(args, known, "pvesh delete <api_path> [OPTIONS]")?;
            let upid = match guest.kind {
                Kind::Qemu => qm::destroy(node, &guest, &config, &given),
                Kind::Lxc => pct::destroy(node, &guest, &config, &given),
            };
            return upid.map(Some);
        }
        ("delete", ["nodes", _, "storage", id, "content", volume @ ..]) => {
            return delete_backup(node, id, &volume.join("/")).map(|()| None);
        }
        ("delete", ["nodes", _, "tasks", upid]) => {
            let running = task::read(node, upid).filter(|task| task.status.is_none());
            running.iter().for_each(|task| task::terminate(task.pid));
            return Ok(None);
        }
        _ => return Err(no_path(parts)),
    };
    ended.result?;
    Ok(Some(ended.upid))
}

fn power(
    node: &Node,
    (name, kind, id): (&str, &str, &str),
    what: &str,
    args: &[String],
) -> Done<String> {
    let guest = guest_at(name, kind, id)?;
    let config = guest.config(node)?;
    let known = [("timeout", Takes::Value), ("forceStop", Takes::Flag), ("skiplock", Takes::Flag)];
    let usage = "pvesh create <api_path> [OPTIONS]";
    let given = Arguments::read(args, &known, usage)?;
    let skip = given.is_on("skiplock");
    match (guest.kind, what) {
        (Kind::Qemu, "start") => qm::start(node, &guest, &config, skip),
        (Kind::Qemu, "stop") => qm::stop(node, &guest, &config, skip),
        (Kind::Qemu, "shutdown") => {
            guest.unlocked(&config)?;
            qm::shutdown(node, &guest, given.number("timeout", usage)?, given.is_on("forceStop"))
        }
        (Kind::Lxc, "start" | "stop" | "shutdown") => {
            pct::switch(node, &guest, &config, what == "start")
        }
        _ => Err(Failure::with_code(2, format!("no such action '{what}'"))),
    }
}

fn delete_backup(node: &Node, id: &str, volume: &str) -> Done {
    let volume = if volume.contains(':') { volume.to_owned() } else { format!("{id}:{volume}") };
    let path = storage::path(node, &volume)?;
    if node.file(format!("{path}.protected")).exists() {
        let text = format!("can't remove archive '{volume}' - protected");
        return Err(Failure::new(text));
    }
    fs::remove_file(node.file(&path))?;
    fs::remove_file(node.file(format!("{path}.notes"))).ok();
    println!("Removed volume '{volume}'");
    Ok(())
}
