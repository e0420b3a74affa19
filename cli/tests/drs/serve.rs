//! `drs serve`: one at a time, works beside the other commands, hands over, is taken over.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::bench::Bench;

#[test]
fn one_serve_at_a_time_and_the_second_names_the_first() {
    let bench = Bench::new("vms=1");
    let serve = bench.serve();
    let told = bench.fails("serve", 4, "already_running");
    assert!(told.contains(&format!("process {}", serve.pid())), "{told}");
    serve.signal(Signal::TERM);
    assert_eq!(serve.ends().code, 0);
    let again = bench.serve();
    again.signal(Signal::INT);
    assert_eq!(again.ends().code, 0);
}

#[test]
fn commands_watch_the_jobs_that_serve_runs() {
    let bench = Bench::new("vms=4,backup_ms=1500");
    let serve = bench.serve();
    let detached = bench.ok("backup lab/vm-001 --detach");
    assert_eq!(detached.stderr, "");
    let id = detached.stdout.trim();
    bench.ok(&format!("job watch {id}"));
    let waiting = bench.start("backup lab/vm-002");
    waiting.says("copy");
    let driven = bench.json("job list --state running");
    let worker = driven[0]["worker"].as_str().expect("a worker").to_owned();
    assert!(worker.contains(&format!("-{}-", serve.pid())), "{worker}");
    waiting.signal(Signal::INT);
    let ran = waiting.ends();
    assert_eq!(ran.code, 130);
    assert!(ran.stderr.contains("goes on in `drs serve`"), "{}", ran.stderr);
    let id = driven[0]["id"].as_str().expect("an id");
    bench.reaches(id, "succeeded");
}

#[test]
fn serve_hands_over_in_seconds_and_the_next_goes_on() {
    let bench = Bench::new("vms=1,backup_ms=4000");
    let serve = bench.serve();
    let id = bench.ok("backup lab/vm-001 --detach").stdout.trim().to_owned();
    bench.reaches(&id, "running");
    let asked = Instant::now();
    serve.signal(Signal::TERM);
    assert_eq!(serve.ends().code, 0);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    bench.reaches(&id, "queued");
    let next = bench.serve();
    bench.reaches(&id, "succeeded");
    assert_eq!(bench.json("point list").as_array().map(Vec::len), Some(1));
    drop(next);
}

#[test]
fn a_killed_serve_is_taken_over_at_once_and_not_when_its_lease_ends() {
    let bench = Bench::new("vms=1,backup_ms=3000");
    let serve = bench.serve();
    let id = bench.ok("backup lab/vm-001 --detach").stdout.trim().to_owned();
    bench.reaches(&id, "running");
    serve.signal(Signal::KILL);
    serve.ends();
    let killed = Instant::now();
    let next = bench.serve();
    bench.reaches(&id, "succeeded");
    // A lease lasts 60 s.
    assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());
    assert_eq!(bench.json("point list").as_array().map(Vec::len), Some(1));
    drop(next);
}

#[test]
fn a_watching_command_goes_on_with_its_job_when_serve_is_gone() {
    let bench = Bench::new("vms=1,backup_ms=3000");
    let serve = bench.serve();
    let watching = bench.start("backup lab/vm-001");
    watching.says("copy");
    serve.signal(Signal::KILL);
    serve.ends();
    watching.says("this command goes on with the job");
    let ran = watching.ends();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("recovery point"), "{}", ran.stdout);
}
