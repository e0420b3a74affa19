//! `drs schedule`: what is due runs once under `drs serve`, and what cannot work is refused.

use std::collections::BTreeMap;

use drs_model::{Fire, JobId, SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::Value;

use crate::bench::{Bench, Ran, until};

const EACH_SECOND: &str = "*/1 * * * * *";
/// Never within a test.
const NEW_YEAR: &str = "0 0 1 1 *";

fn add(bench: &Bench, name: &str, what: &str, cron: &str) -> Ran {
    let mut words = vec!["schedule", "add", name, "--cron", cron];
    words.extend(what.split(' '));
    bench.run_words(&words)
}

fn added(bench: &Bench, name: &str, what: &str, cron: &str) -> Ran {
    let ran = add(bench, name, what, cron);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    ran
}

fn refused(bench: &Bench, what: &str, cron: &str, code: i32, fault: &str) -> String {
    let ran = add(bench, "no", what, cron);
    assert_eq!(ran.code, code, "{what}: {}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(&format!("  code: {fault}\n")), "{what}: {}", ran.stderr);
    assert_eq!(ran.stdout, "", "{what}");
    ran.stderr
}

fn jobs(bench: &Bench) -> Vec<Value> {
    bench.json("job list --limit 1000").as_array().expect("a list").clone()
}

fn count(bench: &Bench, kind: &str, state: &str) -> usize {
    jobs(bench).iter().filter(|job| job["kind"] == kind && job["state"] == state).count()
}

/// The times between two that were run, by the ids that the jobs of runs have.
fn times_run(bench: &Bench, name: &str, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let name = name.parse().expect("a name");
    let mut ids = BTreeMap::new();
    for second in from.as_second()..=until.as_second() {
        let at = Timestamp::from_second(second).expect("a time");
        ids.insert(Fire::job_id(&name, at), at);
    }
    let id = |job: &Value| -> JobId {
        job["id"].as_str().and_then(|id| id.parse().ok()).expect("an id")
    };
    jobs(bench).iter().filter_map(|job| ids.get(&id(job)).copied()).collect()
}

#[test]
fn serve_runs_each_time_once_and_a_pause_ends_it() {
    let bench = Bench::new("vms=1,backup_ms=20");
    let serve = bench.serve();
    let begun = Timestamp::now();
    let said = added(&bench, "each", "--vm lab/vm-001 --work backup", EACH_SECOND);
    assert_eq!(said.stderr, "");
    until("three runs", || (count(&bench, "backup", "succeeded") >= 3).then_some(()));
    let paused = bench.json("schedule pause each");
    assert_eq!((&paused["paused"], &paused["next_at"]), (&true.into(), &Value::Null));
    let all = until("the end of every job", || {
        let jobs = jobs(&bench);
        jobs.iter().all(|job| job["state"] == "succeeded").then_some(jobs)
    });
    let run = times_run(&bench, "each", begun, Timestamp::now());
    assert_eq!(run.len(), all.len(), "a job is that of a run: {all:?}");
    let points = bench.json("point list");
    assert_eq!(points.as_array().map(Vec::len), Some(all.len()));
    drop(serve);
}

#[test]
fn after_an_outage_one_missed_time_is_made_up_for() {
    let bench = Bench::new("vms=1,backup_ms=20");
    let serve = bench.serve();
    added(&bench, "each", "--vm lab/vm-001 --work backup", EACH_SECOND);
    until("a run", || (count(&bench, "backup", "succeeded") >= 1).then_some(()));
    serve.signal(Signal::TERM);
    assert_eq!(serve.ends().code, 0);
    let down = Timestamp::now();
    until("some missed times", || {
        (Timestamp::now() > down + SignedDuration::from_secs(4)).then_some(())
    });
    let up = Timestamp::now();
    let known = jobs(&bench).len();
    let serve = bench.serve();
    until("two runs more", || (jobs(&bench).len() >= known + 2).then_some(()));
    bench.ok("schedule pause each");
    let missed = times_run(&bench, "each", down + SignedDuration::from_secs(1), up);
    assert!(missed.len() <= 1, "{missed:?}");
    drop(serve);
}

#[test]
fn a_time_is_skipped_while_the_run_before_is_not_over() {
    let bench = Bench::new("vms=1,backup_ms=60000");
    let _serve = bench.serve();
    added(&bench, "each", "--vm lab/vm-001 --work backup", EACH_SECOND);
    let skipped = until("a skipped time", || {
        let view = bench.json("schedule show each");
        (view["latest"]["outcome"] == "skipped").then_some(view)
    });
    let jobs = jobs(&bench);
    assert_eq!(jobs.len(), 1);
    assert_eq!(skipped["latest"]["job"], jobs[0]["id"]);
    assert!(bench.ok("schedule list").stdout.contains(" skipped"), "{skipped}");
}

#[test]
fn a_command_that_runs_its_own_job_fires_no_schedule() {
    let bench = Bench::new("vms=2,backup_ms=3000");
    let said = added(&bench, "each", "--vm lab/vm-001 --work backup", EACH_SECOND);
    assert!(said.stderr.contains("nothing is due until it does"), "{}", said.stderr);
    bench.ok("backup lab/vm-002");
    assert_eq!(jobs(&bench).len(), 1);
    assert_eq!(bench.json("schedule show each")["latest"], Value::Null);
}

#[test]
fn a_host_stands_for_its_vms_and_what_is_not_over_is_left_out() {
    let bench = Bench::new("vms=3,backup_ms=2500");
    let _serve = bench.serve();
    added(&bench, "all", "--host lab --work backup", NEW_YEAR);
    let first = bench.json("schedule run all --key once");
    assert_eq!((&first["kind"], &first["subject"]), (&"fan_out".into(), &"lab".into()));
    let again = bench.json("schedule run all --key once");
    assert_eq!(first["id"], again["id"]);
    let said = bench.ok("schedule run all").stdout;
    assert!(
        said.contains("submitted: 0, left out since those of before are not over: 3"),
        "{said}"
    );
    until("three backups", || (count(&bench, "backup", "succeeded") == 3).then_some(()));
    assert_eq!(count(&bench, "fan_out", "succeeded"), 2);
    let said = bench.ok("schedule run all").stdout;
    assert!(said.contains("jobs submitted: 3 "), "{said}");
}

#[test]
fn pairs_are_replicated_and_points_verified() {
    let bench = Bench::new("vms=2,backup_ms=50");
    let _serve = bench.serve();
    bench.ok("pair add web --source lab/vm-001 --target rc");
    added(&bench, "copy", "--pair web --work replicate", NEW_YEAR);
    let job = bench.json("schedule run copy");
    assert_eq!((&job["kind"], &job["subject"]), (&"replicate".into(), &"lab/vm-001".into()));
    assert_eq!(job["spec"]["target"]["pair"], "web");
    added(&bench, "copies", "--host lab --work replicate", NEW_YEAR);
    bench.ok("schedule run copies");
    until("a second replication", || (count(&bench, "replicate", "succeeded") == 2).then_some(()));
    added(&bench, "proof", "--pair web --work verify", NEW_YEAR);
    added(&bench, "proofs", "--host lab --work verify", NEW_YEAR);
    bench.ok("schedule run proof");
    bench.ok("schedule run proofs");
    until("two verifications", || (count(&bench, "verify", "succeeded") == 2).then_some(()));
    let points = bench.json("point list");
    let verified = points.as_array().expect("points").iter();
    assert_eq!(verified.filter(|point| point["state"] == "verified").count(), 1);
    // There is no point of the other VM yet.
    added(&bench, "later", "--vm lab/vm-002 --work verify", NEW_YEAR);
    bench.fails("schedule run later", 7, "point_not_found");
    bench.fails("pair remove web", 4, "in_use");
    bench.fails("host remove lab", 4, "in_use");
}

#[test]
fn a_schedule_is_shown_paused_resumed_and_removed() {
    let bench = Bench::new("vms=1");
    let what = "--vm lab/vm-001 --work backup --zone europe/berlin --limit 50M";
    added(&bench, "nightly", what, "30 2 * * *");
    let shown = bench.json("schedule show nightly");
    let calendar = &shown["calendar"];
    assert_eq!(
        (&calendar["expression"], &calendar["zone"]),
        (&"30 2 * * *".into(), &"Europe/Berlin".into())
    );
    assert_eq!(shown["transfer"]["bytes_per_second"], 50 << 20);
    assert!(shown["next_at"].is_string() && shown["latest"].is_null(), "{shown}");
    let text = bench.ok("schedule show nightly").stdout;
    assert!(text.contains("02:30:00 +0") && text.contains("at most 50.0 MiB/s"), "{text}");
    bench.ok("schedule pause nightly");
    assert!(bench.ok("schedule list").stdout.contains(" paused "));
    let resumed = bench.json("schedule resume nightly");
    assert!(resumed["counts_from"].as_str() > shown["counts_from"].as_str(), "{resumed}");
    let again = bench.json("schedule resume nightly");
    assert_eq!(again["counts_from"], resumed["counts_from"], "what was not paused is not resumed");
    let told = refused(&bench, &what.replace("001", "009"), "30 2 * * *", 3, "vm_not_found");
    assert!(told.contains("vm-009"), "{told}");
    let twice = add(&bench, "nightly", what, "30 2 * * *");
    assert_eq!(twice.code, 4, "{}", twice.stderr);
    bench.ok("schedule remove nightly");
    let told = bench.fails("schedule show nightly", 3, "schedule_not_found");
    assert!(told.contains("drs schedule list"), "{told}");
    assert_eq!(bench.json("schedule list"), serde_json::json!([]));
}

#[test]
fn what_cannot_work_is_refused_before_it_is_a_schedule() {
    let bench = Bench::new("vms=1");
    let vm = "--vm lab/vm-001 --work backup";
    for (zone, meant) in [("Europe/Berln", "`Europe/Berlin`"), ("tokyo", "`Asia/Tokyo`")] {
        let told =
            refused(&bench, &format!("{vm} --zone {zone}"), "30 2 * * *", 2, "invalid_input");
        assert!(told.contains(meant), "{told}");
    }
    let told = refused(&bench, vm, "30 2 30 2 *", 2, "invalid_input");
    assert!(told.contains("is never due"), "{told}");
    for nonsense in ["", "30 2", "at night", "61 * * * *", "* * * * * * * * *"] {
        let told = refused(&bench, vm, nonsense, 2, "invalid_input");
        assert!(told.contains("for example `30 2 * * 1-5`"), "{told}");
    }
    refused(&bench, "--vm nowhere/vm-001 --work backup", "30 2 * * *", 3, "host_not_found");
    refused(&bench, "--host nowhere --work backup", "30 2 * * *", 3, "host_not_found");
    refused(&bench, "--host nowhere --work verify", "30 2 * * *", 3, "host_not_found");
    refused(&bench, "--pair none --work replicate", "30 2 * * *", 3, "pair_not_found");
    refused(&bench, "--vm lab/vm-002 --work verify", "30 2 * * *", 3, "vm_not_found");
    refused(&bench, &format!("{vm} --staged"), "30 2 * * *", 6, "unsupported");
    refused(&bench, "--host lab --work backup --staged", "30 2 * * *", 6, "unsupported");
    let told =
        refused(&bench, "--vm lab/vm-001 --work replicate", "30 2 * * *", 3, "pair_not_found");
    assert!(told.contains("drs pair add NAME --source lab/vm-001"), "{told}");
    let told =
        refused(&bench, "--host lab --work verify --limit 50M", "30 2 * * *", 2, "invalid_input");
    assert!(told.contains("--limit"), "{told}");
    refused(&bench, "--work backup", "30 2 * * *", 2, "invalid_input");
    refused(&bench, "--vm lab/vm-001 --host lab --work backup", "30 2 * * *", 2, "invalid_input");
    refused(&bench, "--vm lab/vm-001 --work drill", "30 2 * * *", 2, "invalid_input");
    assert_eq!(bench.json("schedule list"), serde_json::json!([]));
    bench.fails("schedule run none", 3, "schedule_not_found");
    bench.fails("schedule remove none", 3, "schedule_not_found");
    bench.fails("schedule preview", 2, "invalid_input");
}

#[test]
fn a_preview_shows_what_a_change_of_the_clock_makes_of_a_time() {
    let bench = Bench::new("vms=1");
    let words = [
        "schedule",
        "preview",
        "--cron",
        "30 2 * * *",
        "--zone",
        "Europe/Berlin",
        "--count",
        "366",
        "--json",
    ];
    let times = bench.run_words(&words).json()["times"].clone();
    let times = times.as_array().expect("times");
    let noted = |note: &str| {
        let noting = |time: &&&Value| time["note"].as_str().is_some_and(|text| text.contains(note));
        times.iter().filter(|time| noting(&time)).collect::<Vec<_>>()
    };
    let (forward, twice) = (noted("put forward to this time"), noted("comes twice"));
    assert_eq!((times.len(), forward.len(), twice.len()), (366, 1, 1));
    let local = forward[0]["local"].as_str().expect("a time");
    assert!(local.ends_with(" 03:00:00 +02:00"), "{local}");
    added(&bench, "nightly", "--vm lab/vm-001 --work backup", "0 1 * * *");
    let text = bench.ok("schedule preview nightly --count 2").stdout;
    assert!(text.starts_with("0 1 * * * (UTC)\n"), "{text}");
    assert_eq!(text.matches(" 01:00:00 +00:00").count(), 2, "{text}");
}
