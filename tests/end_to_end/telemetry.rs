//! What the product tells of itself: one trace from the command to the last step, and figures. On
//! simulated hosts and on a real one.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use drs_lab_servers::{OtlpReceiver, Span};
use drs_tests::lab;
use drs_tests::product::{Finished, Installation, wait_for};

/// An installation with a simulated host `dc` of three VMs, and these lines in its configuration.
fn installation(config: &str) -> Installation {
    let drs = Installation::new();
    let vms = "vms=3,disk_mib=4,backup_ms=10";
    let host = ["host", "add", "dc", "--site", "dc", "--driver", "simulated", "--address", vms];
    drs.run(&host).ok();
    std::fs::write(drs.path().join("drs.toml"), config).expect("a configuration");
    drs
}

fn telemetry(line: &str) -> String {
    format!("[telemetry]\n{line}\n")
}

fn finished(command: &mut Command) -> Finished {
    Finished::of(command.output().expect("drs runs"))
}

#[track_caller]
fn only<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let named: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(named.len(), 1, "spans {name}: {named:#?}");
    named[0]
}

/// The steps that were run, in the order of their beginning.
fn steps<'s>(spans: &'s [Span], job: &Span) -> Vec<&'s Span> {
    let of_job = |span: &&Span| span.name == "step" && span.parent_id == job.span_id;
    let mut steps: Vec<&Span> = spans.iter().filter(of_job).collect();
    steps.sort_by_key(|span| span.start_ns);
    steps
}

#[test]
fn a_backup_is_one_trace_from_the_command_to_its_steps() {
    let receiver = OtlpReceiver::start();
    let drs = installation(&telemetry(&format!("otlp = \"{}\"", receiver.endpoint())));
    drs.run(&["backup", "dc/vm-001"]).ok();
    let spans = receiver.wait_for(|spans| spans.iter().any(|span| span.name == "drs.backup"));
    let command = only(&spans, "drs.backup");
    assert_eq!((command.parent_id.as_str(), command.service.as_str()), ("", "drs"));
    for span in &spans {
        assert_eq!(span.trace_id, command.trace_id, "{span:#?}");
    }
    for name in ["publish", "claim", "job"] {
        assert_eq!(only(&spans, name).parent_id, command.span_id, "{name}");
    }
    let job = only(&spans, "job");
    let told = |name: &str| job.attributes.get(name).map(String::as_str);
    assert_eq!(told("kind"), Some("backup"));
    assert_eq!(told("subject"), Some("dc/vm-001"));
    assert_eq!(told("attempt"), Some("1"));
    assert_eq!(told("outcome"), Some("succeeded"));
    let steps = steps(&spans, job);
    let names: Vec<&str> = steps.iter().map(|span| span.attributes["step"].as_str()).collect();
    assert_eq!(names, ["inspect", "clean", "export", "copy", "close", "commit"]);
    let transfer = only(&spans, "transfer");
    assert_eq!(transfer.parent_id, steps[3].span_id);
    assert_ne!(transfer.attributes["bytes"], "0");
    for span in &spans {
        for (name, value) in &span.attributes {
            assert!(!value.contains("drs-t-") && !value.starts_with('/'), "{name}: {span:#?}");
        }
    }
}

#[test]
fn a_trace_goes_on_in_the_process_that_takes_the_job() {
    let receiver = OtlpReceiver::start();
    let drs = installation("");
    let endpoint = receiver.endpoint();
    let server = drs.serve_with(|command| {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    });
    wait_for("the server is ready", || drs.serve_log().contains("is ready").then_some(()));
    let mut backup = drs.command(&["backup", "dc/vm-001"]);
    finished(backup.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)).ok();
    let spans = receiver.wait_for(|spans| {
        ["drs.backup", "job"].iter().all(|name| spans.iter().any(|span| span.name == *name))
    });
    server.terminate();
    let (command, job) = (only(&spans, "drs.backup"), only(&spans, "job"));
    assert_eq!((&job.trace_id, &job.parent_id), (&command.trace_id, &command.span_id));
    assert_eq!((command.service.as_str(), job.service.as_str()), ("drs", "drs-serve"));
}

#[test]
fn the_next_attempt_of_a_killed_worker_belongs_to_the_same_trace() {
    let receiver = OtlpReceiver::start();
    let drs = installation(&telemetry(&format!("otlp = \"{}\"", receiver.endpoint())));
    let submitted = drs.json(&["backup", "dc/vm-001", "--detach"])["id"].clone();
    drs.crash_serving("backup/copy/midway");
    let finished = drs.finish("succeeded", "after the kill");
    assert_eq!(Some(finished.as_str()), submitted.as_str());
    let spans = receiver.wait_for(|spans| spans.iter().any(|span| span.name == "job"));
    let (command, job) = (only(&spans, "drs.backup"), only(&spans, "job"));
    assert_eq!((&job.trace_id, &job.parent_id), (&command.trace_id, &command.span_id));
    assert_eq!(job.attributes["attempt"], "2");
}

#[test]
fn a_backup_over_ssh_tells_its_commands_and_no_path() {
    let (lab, drs) = lab::installation();
    let guest = lab.running("tick", 64);
    let receiver = OtlpReceiver::start();
    let text = telemetry(&format!("otlp = \"{}\"", receiver.endpoint()));
    std::fs::write(drs.path().join("drs.toml"), text).expect("a configuration");
    drs.run(&["backup", &guest.reference()]).ok();
    let spans = receiver.wait_for(|spans| spans.iter().any(|span| span.name == "drs.backup"));
    let command = only(&spans, "drs.backup");
    for span in &spans {
        assert_eq!(span.trace_id, command.trace_id, "{span:#?}");
        for (name, value) in &span.attributes {
            assert!(!value.contains('\n') && value.len() < 64, "{name}: {span:#?}");
            let names_a_file = value.starts_with('/') || value.contains(lab.value("KEY_FILE"));
            assert!(!names_a_file, "{name}: {span:#?}");
        }
    }
    let held = only(&spans, "guard.held");
    assert_eq!(held.parent_id, only(&spans, "hold").span_id);
    let socket =
        |span: &&Span| span.name == "ssh.stream" && span.attributes["program"] == "(socket)";
    let bytes = spans.iter().find(socket).map(|span| span.attributes["bytes"].parse::<u64>());
    assert!(bytes.is_some_and(|bytes| bytes.is_ok_and(|n| n > 100_000)), "{spans:#?}");
    let exec = |span: &&Span| span.name == "ssh.exec" && span.attributes["code"] == "0";
    assert!(spans.iter().filter(exec).count() > 3, "{spans:#?}");
}

#[test]
fn a_failed_step_is_told_by_its_code_alone() {
    let receiver = OtlpReceiver::start();
    let drs = installation(&telemetry(&format!("otlp = \"{}\"", receiver.endpoint())));
    let point = drs.json(&["backup", "dc/vm-001"])["point"]["id"].clone();
    let point = point.as_str().expect("a point").to_owned();
    let folder = drs.path().join("vault/points").join(&point);
    let stream = std::fs::read_dir(&folder)
        .expect("the point")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "stream"));
    std::fs::write(stream.expect("a disk"), b"not what it was").expect("damaged");
    drs.run(&["point", "verify", &point]).fails(11, &["damaged"]);
    let failed = |span: &&Span| span.attributes.get("fault").is_some_and(|c| c == "point_damaged");
    let spans = receiver.wait_for(|spans| spans.iter().filter(failed).count() == 2);
    let names: BTreeSet<&str> = spans.iter().filter(failed).map(|s| s.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["job", "step"]));
    for value in spans.iter().flat_map(|span| span.attributes.values()) {
        assert!(!value.contains("is damaged"), "{value}");
    }
}

#[test]
fn a_receiver_that_is_down_is_said_once_and_costs_nothing() {
    let closed = OtlpReceiver::start().endpoint();
    let drs = installation(&telemetry(&format!("otlp = \"{closed}\"")));
    let ended = drs.run(&["backup", "dc/vm-001"]).ok();
    assert_eq!(ended.stderr.matches("traces are lost").count(), 1, "{}", ended.stderr);
    let mut backup = drs.command(&["backup", "dc/vm-002"]);
    let ended = finished(backup.env("OTEL_EXPORTER_OTLP_ENDPOINT", "no url")).ok();
    assert_eq!(ended.stderr.matches("traces go nowhere").count(), 1, "{}", ended.stderr);
}

/// The answer to a GET, without its head.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: drs\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
}

#[test]
fn a_server_counts_its_jobs_and_its_log_lines_stay_as_they_are() {
    let drs = installation(&telemetry("metrics = \"127.0.0.1:0\""));
    let server = drs.serve_with(|command| {
        command.env("DRS_LOG", "trace").env("NO_COLOR", "1");
    });
    let address = wait_for("the server is watched", || {
        let log = drs.serve_log();
        let line = log.lines().find(|line| line.contains("serving /metrics"))?.to_owned();
        line.split_once("address=").map(|(_, address)| address.trim().to_owned())
    });
    assert_eq!(get(&address, "/healthz"), "ok\n");
    assert_eq!(get(&address, "/readyz"), "ready\n");
    drs.run(&["backup", "dc/vm-001"]).ok();
    drs.run(&["backup", "dc/vm-002"]).ok();
    let figure = |series: &str| {
        let text = get(&address, "/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(series)).map(str::to_owned);
        let line = line.unwrap_or_else(|| panic!("{series} is not in\n{text}"));
        line.trim().parse::<f64>().expect("a number")
    };
    assert_eq!(figure("drs_jobs_ended_total{kind=\"backup\",phase=\"succeeded\"}"), 2.0);
    assert_eq!(figure("drs_jobs_ended_total{kind=\"backup\",phase=\"failed\"}"), 0.0);
    assert_eq!(figure("drs_job_duration_seconds_count{kind=\"backup\"}"), 2.0);
    assert_eq!(figure("drs_job_wait_seconds_count{}"), 2.0);
    wait_for("the drives have ended", || (figure("drs_jobs_running{}") == 0.0).then_some(()));
    assert!(figure("drs_moved_bytes_total{kind=\"backup\",direction=\"read\"}") > 0.0);
    assert_eq!(figure("drs_moved_bytes_total{kind=\"backup\",direction=\"write\"}"), 0.0);
    server.terminate();
    let log = drs.serve_log();
    assert!(log.contains("backup of dc/vm-002 begins"), "{log}");
    assert!(!log.contains("drs_jobs_") && !log.contains("drs::metric"), "{log}");
    assert!(!log.contains("step{") && !log.contains("job{"), "{log}");
}
