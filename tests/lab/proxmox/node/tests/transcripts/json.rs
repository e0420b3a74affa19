//! pvesh and pvesm: the shape of what they answer.

use std::collections::BTreeSet;

use serde_json::Value;

use super::scratch::{Scratch, same, told};

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
}

fn told_json(name: &str) -> Value {
    serde_json::from_str(&told(name).stdout).expect("JSON")
}

fn get(node: &Scratch, path: &str, more: &[&str]) -> Value {
    let argv = [&["pvesh", "get", path, "--output-format", "json"][..], more].concat();
    let ended = node.run(&argv);
    assert_eq!(ended.code, 0, "{path}: {}", ended.stderr);
    serde_json::from_str(&ended.out()).expect("JSON")
}

#[test]
fn the_version_and_the_configuration_are_equal() {
    let node = Scratch::new();
    node.holds("pvesh-version");
    node.holds("pvesh-missing");
    let mut config = get(&node, "/nodes/pve1/qemu/112/config", &[]);
    let mut real = told_json("pvesh-qemu-config");
    for value in [&mut config, &mut real] {
        let digest = value["digest"].take();
        assert_eq!(digest.as_str().map(str::len), Some(40));
    }
    assert_eq!(config, real);
}

#[test]
fn guests_have_the_keys_of_a_real_node() {
    let node = Scratch::new();
    node.switch_on(112);
    let guests = get(&node, "/nodes/pve1/qemu", &[]);
    let real = told_json("pvesh-qemu-list");
    for (index, guest) in real.as_array().expect("guests").iter().enumerate() {
        assert_eq!(keys(&guests[index]), keys(guest), "{guest}");
        for key in ["vmid", "name", "status", "maxdisk", "maxmem", "cpus"] {
            assert_eq!(guests[index][key], guest[key], "{key} of {guest}");
        }
    }
    let current = get(&node, "/nodes/pve1/qemu/112/status/current", &[]);
    assert_eq!(keys(&current), keys(&told_json("pvesh-qemu-status")));
}

#[test]
fn resources_before_and_after_the_first_statistics() {
    let node = Scratch::new();
    let resources = get(&node, "/cluster/resources", &["--type", "vm"]);
    assert_eq!(resources[0]["status"], "stopped");
    assert_eq!(resources[0]["name"], "web-112");
    node.write("etc/drs-lab.cfg", "emulator: none\npvestatd: off\n");
    let by_id = |value: Value| -> Vec<Value> {
        let mut all = value.as_array().expect("a list").clone();
        all.sort_by_key(|entry| entry["id"].to_string());
        all
    };
    let real = by_id(told_json("pvesh-resources"));
    assert_eq!(by_id(get(&node, "/cluster/resources", &[])), real);
}

#[test]
fn storages_and_what_they_hold() {
    let node = Scratch::new();
    let storages = get(&node, "/nodes/pve1/storage", &[]);
    let real = told_json("pvesh-storage-list");
    assert_eq!(storages.as_array().map(Vec::len), Some(2));
    assert_eq!(keys(&storages[0]), keys(&real[0]));
    let argv = ["vzdump", "112", "--storage", "local", "--compress", "zstd", "--protected", "1"];
    node.run(&[&argv[..], &["--notes-template", "{{guestname}}"]].concat());
    let content = get(&node, "/nodes/pve1/storage/local/content", &["--content", "backup"]);
    let protected = told_json("pvesh-storage-content")[2].clone();
    assert_eq!(keys(&content[0]), keys(&protected));
    assert_eq!(content[0]["notes"], "web-112");

    let volume = content[0]["volid"].as_str().expect("a volume");
    let path = node.run(&["pvesm", "path", volume]).out();
    assert_eq!(path.trim(), node.archive(".vma.zst"));
    for (name, argv) in [
        ("pvesm-extractconfig", vec!["pvesm", "extractconfig", volume]),
        (
            "pvesh-extractconfig",
            vec!["pvesh", "get", "/nodes/pve1/vzdump/extractconfig", "--volume", volume],
        ),
    ] {
        node.holds_as(name, &argv);
    }
    let listing = node.run(&["pvesm", "list", "local", "--content", "backup"]).out();
    let real = told("pvesm-list").stdout;
    assert_eq!(listing.lines().next(), real.lines().next());
    assert_eq!(node.run(&["ha-manager", "status"]).out(), told("ha-manager-status").stdout);
}

#[test]
fn a_task_runs_in_the_foreground_and_is_found_again() {
    let node = Scratch::new();
    node.switch_on(112);
    node.holds("pvesh-vzdump");
    let upid = get(&node, "/nodes/pve1/tasks", &["--typefilter", "vzdump"])[0]["upid"].clone();
    let upid = upid.as_str().expect("a UPID");
    let status = get(&node, &format!("/nodes/pve1/tasks/{upid}/status"), &[]);
    assert_eq!(keys(&status), keys(&told_json("pvesh-task-status")));
    assert_eq!(status["exitstatus"], "OK");
    let log = get(&node, &format!("/nodes/pve1/tasks/{upid}/log"), &["--limit", "500"]);
    let real = told_json("pvesh-task-log");
    assert_eq!(log.as_array().map(Vec::len), real.as_array().map(Vec::len));
    assert_eq!(log[21]["t"], "TASK OK");
    let tasks = get(&node, "/nodes/pve1/tasks", &["--source", "all", "--limit", "3"]);
    assert_eq!(keys(&tasks[0]), keys(&told_json("pvesh-tasks")[0]));
    assert_eq!(get(&node, "/nodes/pve1/tasks", &["--source", "active"]), Value::Array(Vec::new()));
}

#[test]
fn restore_and_delete_through_the_api() {
    let node = Scratch::new();
    node.run(&["vzdump", "112", "--storage", "local", "--compress", "zstd"]);
    let archive = node.archive(".vma.zst");
    let volume = format!("local:backup/{}", archive.rsplit('/').next().expect("a name"));
    let argv = ["pvesh", "create", "/nodes/pve1/qemu", "--vmid", "312", "--archive", &volume];
    node.holds_as("pvesh-restore", &[&argv[..], &["--storage", "local", "--unique", "1"]].concat());
    let told = told("pvesh-delete");
    let argv: Vec<&str> = told.argv.iter().map(String::as_str).collect();
    same("pvesh-delete", &told, &node.run(&argv));
    assert_eq!(get(&node, "/cluster/nextid", &[]), Value::String("100".to_owned()));
}
