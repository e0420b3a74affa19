//! Replications, and restores in the place of a VM that is there.

use serde_json::{Value, json};

use crate::bench::Bench;

fn names(bench: &Bench, host: &str) -> Vec<String> {
    let listed = bench.json(&format!("vm list {host}"));
    let names = listed.as_array().expect("a list").iter().filter_map(|vm| vm["name"].as_str());
    names.map(str::to_owned).collect()
}

fn vm(bench: &Bench, host: &str, name: &str) -> Value {
    let listed = bench.json(&format!("vm list {host}"));
    let found = listed.as_array().and_then(|vms| vms.iter().find(|vm| vm["name"] == name));
    found.unwrap_or_else(|| panic!("no {name} in {listed}")).clone()
}

/// A host with a VM, a pair, and nothing at the recovery site yet.
fn paired() -> Bench {
    let bench = Bench::new("vms=2,backup_ms=200");
    bench.ok("pair add web --source lab/vm-001 --target rc/web --network default=drill");
    bench
}

#[test]
fn a_replication_makes_a_point_and_a_counterpart_and_the_next_one_refreshes_it() {
    let bench = paired();
    let plan = bench.json("replicate web --dry-run");
    assert_eq!((&plan["plan"]["name"], &plan["plan"]["replaces"]), (&"web".into(), &Value::Null));
    let told = bench.ok("replicate web --dry-run").stdout;
    assert!(
        told.contains("would back lab/vm-001 up") && told.contains("make rc/web from it"),
        "{told}"
    );
    assert_eq!(bench.json("job list"), json!([]), "it was a plan");

    let first = bench.json("replicate web");
    assert_eq!((&first["kind"], &first["state"]), (&"replicate".into(), &"succeeded".into()));
    assert_eq!(bench.json("point list")[0]["id"], first["point"]["id"]);
    assert_eq!(vm(&bench, "rc", "web")["power"], "off");
    let made = vm(&bench, "rc", "web")["native_id"].clone();

    let plan = bench.json("replicate web --dry-run");
    assert_eq!(plan["plan"]["replaces"]["name"], "web");
    assert_eq!(plan["plan"]["replaces"]["policy"], "refresh_copy");
    let told = bench.ok("replicate web --dry-run").stdout;
    assert!(told.contains("the VM web that is there becomes web-old-"), "{told}");
    assert!(told.contains("is destroyed when the new one has proven itself"), "{told}");
    let second = bench.ok("replicate web").stdout;
    assert!(second.starts_with("lab/vm-001 is replicated: recovery point "), "{second}");
    assert!(
        second.contains("restored rc/web in place of the old VM, which is destroyed"),
        "{second}"
    );
    assert_ne!(vm(&bench, "rc", "web")["native_id"], made);
    bench.ok("replicate web --key third");
    bench.ok("replicate web --key third");
    assert_eq!(names(&bench, "rc"), ["web"], "names do not grow, nothing is left");
    assert_eq!(bench.json("point list").as_array().map(Vec::len), Some(3));
    assert_eq!(bench.json("vm show rc/web")["spec"]["nics"][0]["network"], "drill");
    let jobs = bench.ok("job list --vm lab/vm-001").stdout;
    assert_eq!(jobs.matches("replicate").count(), 3, "{jobs}");
}

#[test]
fn a_counterpart_that_may_be_in_use_is_refused_with_the_way_out() {
    let bench = paired();
    bench.ok("replicate web --start");
    assert_eq!(vm(&bench, "rc", "web")["power"], "running");
    for line in ["replicate web --dry-run", "replicate web"] {
        let told = bench.fails(line, 4, "already_exists");
        assert!(told.contains("rc/web is not replaced: it is not off"), "{told}");
        assert!(told.contains("shut it down") && told.contains("--replace"), "{told}");
    }
    assert_eq!(bench.json("job list").as_array().map(Vec::len), Some(1), "nothing was submitted");
    // Either way leads out.
    bench.ok("replicate web --replace stop-and-keep");
    assert_eq!(names(&bench, "rc").len(), 2);
    bench.ok("replicate web");
    assert_eq!(vm(&bench, "rc", "web")["power"], "off");
}

#[test]
fn a_counterpart_that_is_not_ours_is_refused_and_stays() {
    let bench = paired();
    bench.ok("pair add mine --source lab/vm-001 --target lab/vm-002");
    bench.ok("power stop lab/vm-002");
    let before = vm(&bench, "lab", "vm-002");
    let told = bench.fails("replicate mine", 4, "already_exists");
    assert!(told.contains("DR Switch did not make it"), "{told}");
    assert_eq!(vm(&bench, "lab", "vm-002"), before);
    assert_eq!(bench.json("point list"), json!([]));
}

#[test]
fn a_restore_does_with_the_old_vm_what_the_policy_says() {
    let bench = paired();
    bench.ok("backup web");
    bench.ok("restore latest --pair web --start");
    let told = bench.fails("restore latest --pair web", 4, "already_exists");
    assert!(told.contains("--replace POLICY"), "{told}");

    // keep: both stand side by side.
    let old = vm(&bench, "rc", "web");
    let plan = bench.ok("restore latest --pair web --replace keep --dry-run").stdout;
    assert!(plan.contains("a VM web is there and stays"), "{plan}");
    let kept = bench.ok("restore latest --pair web --replace keep").stdout;
    assert!(kept.contains("beside web from recovery point"), "{kept}");
    assert_eq!(vm(&bench, "rc", "web"), old);
    assert_eq!(names(&bench, "rc").len(), 2);

    // stop-and-keep: the old one is off, under another name.
    let plan =
        bench.json("restore latest --pair web --replace stop-and-keep --start --key K --dry-run");
    let told = bench.ok("restore latest --pair web --replace stop-and-keep --dry-run").stdout;
    assert!(told.contains("web runs: it is shut down when the new VM is ready"), "{told}");
    let aside = plan["plan"]["replaces"]["aside"].as_str().expect("a name").to_owned();
    let told = bench.ok("restore latest --pair web --replace stop-and-keep --start --key K").stdout;
    assert!(told.contains(&format!("off and kept as {aside}")), "{told}");
    assert_eq!(vm(&bench, "rc", &aside)["native_id"], old["native_id"]);
    assert_eq!(vm(&bench, "rc", &aside)["power"], "off");
    assert_eq!(vm(&bench, "rc", "web")["power"], "running");
    assert_eq!(names(&bench, "rc").len(), 3);

    // destroy-after-proof: it is gone when the new one runs.
    let old = vm(&bench, "rc", "web")["native_id"].clone();
    let told = bench.ok("restore latest --pair web --replace destroy-after-proof --start").stdout;
    assert!(
        told.contains("restored and started rc/web in place of the old VM, which is destroyed"),
        "{told}"
    );
    let left = bench.json("vm list rc");
    assert!(
        left.as_array().is_some_and(|vms| vms.iter().all(|vm| vm["native_id"] != old)),
        "{left}"
    );
    assert_eq!(names(&bench, "rc").len(), 3);
}

#[test]
fn a_replacement_that_fails_leaves_the_old_vm_as_it_was() {
    let bench = Bench::new("vms=1,backup_ms=100");
    bench.ok(
        "host add bad --driver simulated --address vms=1,fail_at=define,fail_times=1000 --site rc",
    );
    let config = bench.data_dir().join("drs.toml");
    std::fs::write(config, "[worker]\nattempts_max = 1\n").expect("a file");
    bench.ok("backup lab/vm-001");
    let before = bench.json("vm list bad");
    let ran = bench.run("restore latest:lab/vm-001 --to bad --replace destroy-after-proof --start");
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert_eq!(bench.json("vm list bad"), before);
}

#[test]
fn a_restored_vm_that_does_not_start_stays_and_the_fault_says_how_to_start_it() {
    let bench = Bench::new("vms=1,backup_ms=100");
    bench
        .ok("host add bad --driver simulated --address vms=0,fail_at=power,fail_times=1 --site rc");
    let config = bench.data_dir().join("drs.toml");
    std::fs::write(config, "[worker]\nattempts_max = 1\n").expect("a file");
    bench.ok("backup lab/vm-001");
    let ran = bench.run("restore latest:lab/vm-001 --to bad --start");
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("drs power start bad/vm-001"), "{}", ran.stderr);
    bench.ok("power start bad/vm-001");
}

#[test]
fn what_cannot_be_staged_is_refused_before_anything_is_done() {
    let bench = paired();
    bench.ok("backup web");
    for line in [
        "backup web --staged",
        "backup web --staged --dry-run",
        "restore latest --pair web --staged",
    ] {
        let told = bench.fails(line, 6, "unsupported");
        assert!(told.contains("VMs of simulated hosts cannot be staged"), "{told}");
        assert!(told.contains("Leave out `--staged`"), "{told}");
    }
    assert_eq!(bench.json("job list").as_array().map(Vec::len), Some(1), "nothing was submitted");
    // A replication stages what can be staged, and tells where it streams.
    bench.ok("replicate web --staged --key staged");
    let job = drs_model::JobId::from_key("staged");
    let told = bench.ok(&format!("job log {job}")).stdout;
    for host in ["lab", "rc"] {
        let remark = format!("host {host} (simulated) does not move VMs as archives");
        assert!(told.contains(&remark), "{told}");
    }
    bench.ok("replicate web --staged");
    assert_eq!(names(&bench, "rc"), ["web"]);
}

#[test]
fn a_limit_is_kept_and_shown() {
    let bench = Bench::new("vms=1,backup_ms=100,disk_mib=16,data_percent=100");
    let told = bench.ok("backup lab/vm-001 --limit 4M --dry-run").stdout;
    assert!(told.contains("streamed, at most 4.0 MiB/s"), "{told}");
    let begun = std::time::Instant::now();
    let job = bench.json("backup lab/vm-001 --limit 4M");
    assert!(begun.elapsed().as_millis() > 2500, "16 MiB at 4 MiB/s: {:?}", begun.elapsed());
    assert_eq!(job["spec"]["transfer"], json!({"method": "stream", "bytes_per_second": 4 << 20}));
    bench.fails("backup lab/vm-001 --limit 1", 2, "invalid_input");
}
