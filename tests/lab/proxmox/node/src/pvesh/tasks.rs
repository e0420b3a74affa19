//! `/nodes/N/tasks`.

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::failure::{Done, Failure};
use crate::node::Node;
use crate::task::{self, Task};

fn facts(node: &Node, task: &Task) -> Value {
    json!({
        "id": task.id, "node": node.name, "pid": task.pid, "pstart": task.began,
        "starttime": task.start, "type": task.kind, "upid": task.upid, "user": "root@pam",
    })
}

pub(super) fn list(node: &Node, given: &Arguments) -> Value {
    let limit = given.value("limit").and_then(|text| text.parse().ok()).unwrap_or(50);
    let source = given.value("source").unwrap_or("archive");
    let wanted = |task: &&Task| {
        let running = task.status.is_none();
        let by_source = match source {
            "active" => running,
            "archive" => !running,
            _ => true,
        };
        by_source
            && given.value("vmid").is_none_or(|id| task.id == id)
            && given.value("typefilter").is_none_or(|kind| task.kind == kind)
    };
    let tasks = task::all(node);
    let entry = |task: &Task| {
        let mut facts = facts(node, task);
        if let Some(status) = &task.status {
            facts["endtime"] = json!(task.end);
            facts["status"] = json!(status);
        }
        facts
    };
    tasks.iter().filter(wanted).take(limit).map(entry).collect()
}

fn find(node: &Node, upid: &str) -> Done<Task> {
    task::read(node, upid).ok_or_else(|| {
        let text = format!("unable to parse worker upid '{upid}'");
        if upid.starts_with("UPID:") {
            return Failure::with_code(2, "no such task");
        }
        Failure::with_code(2, text)
    })
}

pub(super) fn status(node: &Node, upid: &str) -> Done<Value> {
    let task = find(node, upid)?;
    let mut facts = facts(node, &task);
    facts["status"] = json!(if task.status.is_none() { "running" } else { "stopped" });
    if let Some(status) = task.status {
        facts["exitstatus"] = json!(status);
    }
    Ok(facts)
}

pub(super) fn log(node: &Node, upid: &str, given: &Arguments) -> Done<Value> {
    find(node, upid)?;
    let number = |name: &str, default: usize| {
        given.value(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let text = task::log(node, upid).unwrap_or_default();
    let lines = text.lines().enumerate().skip(number("start", 0)).take(number("limit", 50));
    Ok(lines.map(|(index, line)| json!({"n": index + 1, "t": line})).collect())
}
