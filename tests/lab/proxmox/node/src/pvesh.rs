//! `pvesh`: the part of the API that a disaster-recovery tool uses, as the local command line has it.
//!
//! Answers are JSON, with or without `--output-format json`; the real command prints tables without.

mod act;
mod cluster;
mod guest;
mod storages;
mod tasks;

use serde_json::Value;

use crate::arguments::{Arguments, Takes};
use crate::failure::{Done, Failure};
use crate::guests::{self, Guest, Kind};
use crate::node::Node;
use crate::pvesm;

pub(crate) fn main(node: &Node, args: &[String]) -> Done {
    let [verb, path, rest @ ..] = args else {
        return Err(Failure::new(
            "ERROR: not enough arguments\npvesh <command> <api_path> [OPTIONS]",
        ));
    };
    let mut rest = rest.to_vec();
    let as_json = take_format(&mut rest);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if let ["nodes", name, ..] = parts[..] {
        known_node(node, name)?;
    }
    match verb.as_str() {
        "get" | "ls" => get(node, &parts, &rest),
        "create" | "set" | "delete" => {
            if let Some(upid) = act::act(node, verb, &parts, &rest)? {
                println!("{}", if as_json { format!("\"{upid}\"") } else { upid });
            }
            Ok(())
        }
        other => Err(Failure::new(format!("ERROR: unknown command 'pvesh {other}'"))),
    }
}

/// Takes `--output-format` out of the options; true when it asks for JSON.
fn take_format(rest: &mut Vec<String>) -> bool {
    let mut as_json = false;
    while let Some(at) = rest.iter().position(|arg| arg.starts_with("--output-format")) {
        let option = rest.remove(at);
        let value = match option.split_once('=') {
            Some((_, value)) => value.to_owned(),
            None if at < rest.len() => rest.remove(at),
            None => String::new(),
        };
        as_json = value.starts_with("json");
    }
    as_json
}

fn known_node(node: &Node, name: &str) -> Done {
    if name == "localhost" || guests::nodes(node).iter().any(|known| known == name) {
        return Ok(());
    }
    let text = format!(
        "hostname lookup '{name}' failed - failed to get address info for: {name}: \
         Name or service not known"
    );
    Err(Failure::with_code(2, text))
}

fn no_path(parts: &[&str]) -> Failure {
    Failure::with_code(2, format!("No '{}' handler defined for '/{}'", "get", parts.join("/")))
}

fn get(node: &Node, parts: &[&str], args: &[String]) -> Done {
    let known = [
        ("content", Takes::Value),
        ("current", Takes::Flag),
        ("enabled", Takes::Flag),
        ("full", Takes::Flag),
        ("limit", Takes::Value),
        ("source", Takes::Value),
        ("start", Takes::Value),
        ("statusfilter", Takes::Value),
        ("storage", Takes::Value),
        ("type", Takes::Value),
        ("typefilter", Takes::Value),
        ("vmid", Takes::Value),
        ("volume", Takes::Value),
    ];
    let given = Arguments::read(args, &known, "pvesh get <api_path> [OPTIONS]")?;
    let answer: Value = match parts {
        ["version"] => cluster::version(node),
        ["nodes"] => cluster::nodes(node),
        ["cluster", "resources"] => cluster::resources(node, given.value("type"))?,
        ["cluster", "nextid"] => cluster::next_id(node, given.value("vmid"))?,
        ["cluster", "status"] => cluster::status(node),
        ["nodes", _, "network"] => cluster::network(node, given.value("type")),
        ["nodes", name, "qemu"] => guest::list(node, name, Kind::Qemu),
        ["nodes", name, "lxc"] => guest::list(node, name, Kind::Lxc),
        ["nodes", name, kind @ ("qemu" | "lxc"), id, what @ ..] => {
            let guest = guest_at(name, kind, id)?;
            let config = guest.config(node)?;
            match what {
                ["config"] => guest::config(node, &guest, &config)?,
                ["status", "current"] => guest::current(node, &guest, &config),
                _ => return Err(no_path(parts)),
            }
        }
        ["nodes", _, "storage"] => storages::list(node, &given)?,
        ["nodes", _, "storage", id, "content"] => storages::content(node, id, &given)?,
        ["nodes", _, "tasks"] => tasks::list(node, &given),
        ["nodes", _, "tasks", upid, "status"] => tasks::status(node, upid)?,
        ["nodes", _, "tasks", upid, "log"] => tasks::log(node, upid, &given)?,
        ["nodes", _, "vzdump", "extractconfig"] => {
            return pvesm::extract_config(node, given.value("volume").unwrap_or_default());
        }
        _ => return Err(no_path(parts)),
    };
    println!("{answer}");
    Ok(())
}

/// The guest that a path names; whether it is there is another matter.
fn guest_at(name: &str, kind: &str, id: &str) -> Done<Guest> {
    let kind = if kind == "lxc" { Kind::Lxc } else { Kind::Qemu };
    let id = crate::arguments::vmid(id, "pvesh <command> <api_path> [OPTIONS]")?;
    Ok(Guest { kind, id, node: name.to_owned() })
}
