//! Backup, restore, verify and power, run by the command itself.

use rustix::process::Signal;

use crate::bench::{Bench, Ran};

#[test]
fn a_protected_vm_is_backed_up_restored_proven_and_switched() {
    let bench = Bench::new("vms=2,backup_ms=200");
    assert_eq!(bench.json("vm list lab").as_array().map(Vec::len), Some(2));
    bench.ok("pair add web --source lab/vm-001 --target rc/web --network default=drill");
    let near = bench.ok("pair add near --source lab/vm-001 --target lab/copy");
    assert!(near.stderr.contains("both hosts of pair near stand at site"), "{}", near.stderr);
    bench.ok("pair remove near");

    let backup = bench.json("backup web");
    assert_eq!((&backup["kind"], &backup["state"]), (&"backup".into(), &"succeeded".into()));
    let point = backup["point"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(backup["id"], point.as_str(), "a point bears the id of its job");

    let plan = bench.json("restore latest --pair web --start --dry-run");
    assert_eq!(plan["plan"]["name"], "web");
    assert_eq!(bench.json("vm list rc").as_array().map(Vec::len), Some(0), "it was a plan");

    let restored = bench.ok("restore latest --pair web --start");
    assert!(restored.stdout.starts_with("restored and started rc/web from"), "{}", restored.stdout);
    let vm = &bench.json("vm list rc")[0];
    assert_eq!((&vm["name"], &vm["power"]), (&"web".into(), &"running".into()));

    let verified = bench.ok(&format!("point verify {point}"));
    assert!(verified.stdout.contains("is sound"), "{}", verified.stdout);
    assert_eq!(bench.json("point list")[0]["state"], "verified");

    bench.ok("power stop rc/web");
    assert_eq!(bench.json("vm list rc")[0]["power"], "off");

    let log = bench.json(&format!("job log {point}"));
    assert!(log.as_array().is_some_and(|lines| !lines.is_empty()));
    let followed = bench.ok(&format!("job log {point} --follow"));
    assert_eq!(followed.stdout.lines().count(), log.as_array().map_or(0, Vec::len));
    let jobs = bench.json("job list");
    let kinds: Vec<&str> =
        jobs.as_array().expect("a list").iter().filter_map(|job| job["kind"].as_str()).collect();
    assert_eq!(kinds, ["power", "verify", "restore", "backup"]);
}

#[test]
fn a_restore_under_another_name_keeps_or_changes_the_macs() {
    let bench = Bench::new("vms=1,backup_ms=100");
    bench.ok("backup lab/vm-001");
    bench.ok("restore latest:lab/vm-001 --to rc --as twin");
    bench.ok("restore latest:lab/vm-001 --to rc/stranger --new-macs");
    let mac = |vm: &str| bench.json(&format!("vm show {vm}"))["spec"]["nics"][0]["mac"].clone();
    assert_eq!(mac("rc/twin"), mac("lab/vm-001"));
    assert_ne!(mac("rc/stranger"), mac("lab/vm-001"));
}

#[test]
fn the_same_key_is_the_same_job() {
    let bench = Bench::new("vms=2,backup_ms=100");
    let first = bench.json("backup lab/vm-001 --key nightly");
    let second = bench.json("backup lab/vm-001 --key nightly");
    assert_eq!(first["id"], second["id"]);
    assert_eq!(bench.json("point list").as_array().map(Vec::len), Some(1));
    let told = bench.fails("backup lab/vm-002 --key nightly", 4, "in_use");
    assert!(told.contains("does something else: backup of lab/vm-001"), "{told}");
    assert!(told.contains("Choose another key"), "{told}");
}

#[test]
fn a_used_key_answers_for_no_other_restore() {
    let bench = Bench::new("vms=2,backup_ms=100");
    let backup = |vm: &str| {
        bench.json(&format!("backup lab/{vm}"))["id"].as_str().expect("an id").to_owned()
    };
    let (first, other) = (backup("vm-001"), backup("vm-002"));
    let job = bench.json(&format!("restore {first} --to rc/copy --key K"))["id"].clone();
    let second = backup("vm-001");
    for line in [
        format!("restore {other} --to rc/copy --key K"),
        format!("restore {second} --to rc/copy --key K"),
        format!("restore {first} --to rc/copy --key K --start"),
        format!("restore {first} --to rc/copy --key K --network default=drill"),
        format!("restore {first} --to rc/copy --key K --storage vda=/srv"),
        format!("restore {first} --to rc/copy --key K --new-macs"),
        "restore latest:lab/vm-002 --to rc/copy --key K".to_owned(),
        "restore latest:lab/vm-001 --to rc/copy --key K --start".to_owned(),
        format!("point verify {first} --key K"),
        "power stop rc/copy --key K".to_owned(),
    ] {
        let told = bench.fails(&line, 4, "in_use");
        assert!(told.contains(job.as_str().expect("an id")), "{line}: {told}");
        assert!(
            told.contains(&format!("restore of rc/copy from recovery point {first}")),
            "{told}"
        );
    }
    assert_eq!(bench.json(&format!("restore {first} --to rc/copy --key K"))["id"], job);
    let told = bench.ok("restore latest:lab/vm-001 --to rc/copy --key K");
    assert!(told.stdout.contains(&format!("from recovery point {first}")), "{}", told.stdout);
    assert!(
        told.stderr.contains(&format!("it restores recovery point {first}")),
        "{}",
        told.stderr
    );
    assert_eq!(bench.json("job list").as_array().map(Vec::len), Some(4), "no other job");
}

#[test]
fn a_second_job_on_the_vm_tells_whom_it_waits_for_and_its_place() {
    let bench = Bench::new("vms=1,backup_ms=3000");
    let first = bench.start("backup lab/vm-001");
    first.says("copy");
    let second = bench.start("backup lab/vm-001");
    second.says("waits for VM lab/vm-001, held by ");
    second.says("position 1 of 1");
    assert_eq!(first.ends().code, 0);
    assert_eq!(second.ends().code, 0);
    assert_eq!(bench.json("point list").as_array().map(Vec::len), Some(2));
}

#[test]
fn an_interrupted_command_hands_its_job_over_and_the_next_one_finishes_it() {
    let bench = Bench::new("vms=2,backup_ms=100,backup_ms.vm-001=3000");
    let interrupted = bench.start("backup lab/vm-001");
    interrupted.says("copy");
    interrupted.signal(Signal::INT);
    let ran = interrupted.ends();
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("continues when `drs serve` or the next drs command that runs jobs"),
        "{}",
        ran.stderr
    );
    let next = bench.ok("backup lab/vm-002");
    assert!(next.stderr.contains("also finishing backup of lab/vm-001"), "{}", next.stderr);
    assert!(next.stderr.contains("nothing is wrong"), "{}", next.stderr);
    assert_eq!(bench.json("job list --state succeeded").as_array().map(Vec::len), Some(2));
}

#[test]
fn a_cancelled_job_leaves_no_point_and_its_watcher_ends_with_8() {
    let bench = Bench::new("vms=1,backup_ms=20000");
    let backup = bench.start("backup lab/vm-001");
    backup.says("copy");
    let job = bench.json("job list")[0]["id"].as_str().expect("an id").to_owned();
    bench.ok(&format!("job cancel {job}"));
    let ran = backup.ends();
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert!(ran.stderr.contains("code: cancelled"), "{}", ran.stderr);
    assert_eq!(bench.json("point list").as_array().map(Vec::len), Some(0));
    assert_eq!(bench.run(&format!("job watch {job}")).code, 8);
}

#[test]
fn a_job_that_fails_ends_with_7_and_says_why() {
    let bench = Bench::new("vms=1,fail_at=open_export,fail_times=1000");
    let config = bench.data_dir().join("drs.toml");
    std::fs::write(config, "[worker]\nattempts_max = 1\n").expect("a file");
    let ran = bench.run("backup lab/vm-001 --json");
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    let last = ran.stderr.lines().last().expect("an error");
    let error: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(error["error"]["code"], "hypervisor_failed");
    assert!(error["error"]["details"][0].as_str().is_some_and(|line| line.contains("job log")));
}

/// A restore whose new VM's disk can be neither written nor removed: what lies in its place, and the
/// finished command.
fn stuck(bench: &Bench) -> (std::path::PathBuf, Ran) {
    bench.ok("backup lab/vm-001");
    let disk = format!("copy.0.{}.img", drs_model::JobId::from_key("stuck"));
    let disk = bench.data_dir().join("simulated/rc.images").join(disk);
    std::fs::create_dir_all(disk.join("full")).expect("a folder");
    let config = bench.data_dir().join("drs.toml");
    std::fs::write(config, "[worker]\nattempts_max = 1\n").expect("a file");
    let told = bench.run("restore latest:lab/vm-001 --to rc/copy --key stuck");
    assert_eq!(told.code, 9, "{}", told.stderr);
    (disk, told)
}

#[test]
fn a_job_that_waits_for_a_decision_goes_on_when_it_is_told_to() {
    let bench = Bench::new("vms=1,backup_ms=100");
    let (disk, _) = stuck(&bench);
    let job = bench.json("job list --state needs_operator")[0]["id"].clone();
    let job = job.as_str().expect("an id");
    std::fs::remove_dir_all(&disk).expect("a folder");
    let serve = bench.start("serve");
    serve.says("ready");
    bench.ok(&format!("job retry {job}"));
    assert_eq!(bench.run(&format!("job watch {job}")).code, 0);
    let again = bench.run(&format!("job retry {job}"));
    assert_eq!(again.code, 4, "{}", again.stderr);
    assert!(bench.ok("vm list rc").stdout.contains("copy"));
}

#[test]
fn a_job_that_waits_for_a_decision_names_the_way_out_which_leads_out() {
    let bench = Bench::new("vms=1,backup_ms=100");
    let (disk, told) = stuck(&bench);
    let listed = bench.json("job list --state needs_operator");
    let job = listed[0]["id"].as_str().expect("an id").to_owned();
    let way_out = format!(
        "`drs job show {job}` tells why; when that is mended `drs job retry {job}` lets it go on, and \
         `drs job cancel {job}` takes back what it did and frees the VM"
    );
    assert!(told.stderr.contains(&way_out), "{}", told.stderr);
    assert!(bench.ok(&format!("job show {job}")).stdout.contains(&way_out));
    assert!(listed[0]["fault"]["remedy"].as_str().is_some_and(|text| text.contains(&way_out)));
    let table = bench.ok("job list --state needs_operator").stdout;
    assert!(table.contains("needs_operator") && table.contains("`drs job show ID`"), "{table}");
    let watched = bench.run(&format!("job watch {job}"));
    assert_eq!(watched.code, 9);
    assert!(watched.stderr.contains(&way_out), "{}", watched.stderr);

    std::fs::remove_dir_all(&disk).expect("a folder");
    let waiting = bench.start("restore latest:lab/vm-001 --to rc/copy");
    waiting.says(&format!("job {job} waits for a decision: {way_out}"));
    let parked = &bench.json("job list --state parked")[0]["id"];
    let shown = bench.json(&format!("job show {}", parked.as_str().expect("an id")));
    assert_eq!(shown["waits"]["undecided"], serde_json::json!([job]));

    bench.ok(&format!("job cancel {job}"));
    let ran = waiting.ends();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ended = bench.json(&format!("job show {job}"));
    assert_eq!(ended["state"], "cancelled");
    let steps = ended["steps"].clone();
    let undone = |step: &serde_json::Value| step["mark"] == "undone";
    assert!(steps.as_array().is_some_and(|steps| steps.iter().all(undone)), "{steps}");
    assert_eq!(bench.ok("job list --state needs_operator --json").stdout, "[]\n");
}
