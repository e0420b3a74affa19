//! The whole of it at once: three schedulers, five workers, the three servers, libvirt hosts and Proxmox nodes.

use std::collections::{BTreeMap, BTreeSet};

use drs_lab_servers::{OtlpReceiver, Span};
use drs_tests::cluster::{Cluster, Role, Settings};
use drs_tests::lab::{HOSTS, Lab};
use drs_tests::nodes::{self, DC, DRC};
use drs_tests::product::wait_for;
use serde_json::Value;

#[test]
fn schedules_fire_backups_run_in_parallel_points_are_restored_and_each_job_is_one_trace() {
    let (lab, (nodes, _, _turn)) = (Lab::get(), nodes::installation());
    let receiver = OtlpReceiver::start();
    let endpoint = receiver.endpoint();
    let cluster = Cluster::start(Settings { otlp: Some(&endpoint), ..Settings::default() });
    let drs = cluster.drs();
    for (host, site) in HOSTS.into_iter().zip(["dc", "rc"]) {
        lab.add_host(drs, host, site);
    }
    for (node, site) in [(DC, "dc"), (DRC, "rc")] {
        nodes.add(drs, node, site);
    }
    let guest = lab.running("tick", 64);
    let vm = nodes.guest("writer", &[]);
    vm.start();
    let sources = [guest.reference(), vm.reference()];

    let mut roles: Vec<Role> = (0..3).map(|_| cluster.role(&["scheduler"])).collect();
    roles.extend((0..5).map(|_| cluster.role(&["worker"])));
    for (name, source) in ["tick", "writer"].into_iter().zip(&sources) {
        let schedule = ["schedule", "add", name, "--vm", source, "--work", "backup"];
        drs.run(&[&schedule[..], &["--cron", "*/20 * * * * *"]].concat()).ok();
    }
    wait_for("each schedule has made a point", || {
        let points = drs.json(&["point", "list"]);
        let vm = |point: &Value| {
            let (host, name) = (&point["source"]["host"], &point["source"]["name"]);
            Some(format!("{}/{}", host.as_str()?, name.as_str()?))
        };
        let of: BTreeSet<String> = points.as_array()?.iter().filter_map(vm).collect();
        sources.iter().all(|source| of.contains(source)).then_some(())
    });
    for name in ["tick", "writer"] {
        drs.run(&["schedule", "remove", name]).ok();
    }
    let latest = format!("latest:{}", sources[0]);
    let mut restore = vec!["restore", &latest, "--to", HOSTS[1], "--start"];
    if lab.value("LAYOUT") == "namespaces" {
        restore.extend(["--network", "br-dr-a=br-dr-b"]);
    }
    drs.run(&restore).ok();
    let vmid = nodes.fresh_vmid().to_string();
    let to = format!("{DRC}/{vmid}");
    drs.run(&["restore", &format!("latest:{}", sources[1]), "--to", &to, "--start"]).ok();
    assert!(nodes.runs(DRC, &vmid));
    guest.marker_seen(HOSTS[1]);

    wait_for("every job is over", || {
        cluster.jobs().iter().all(|job| job["state"] == "succeeded").then_some(())
    });
    let jobs: BTreeSet<String> =
        cluster.jobs().iter().filter_map(|job| job["id"].as_str().map(str::to_owned)).collect();
    for role in roles {
        role.terminate();
    }
    let spans = receiver.wait_for(|spans| jobs.iter().all(|job| !of_job(spans, job).is_empty()));
    for job in &jobs {
        whole_trace(&spans, job);
    }
    nodes.remove(DRC, &vmid);
}

fn of_job<'s>(spans: &'s [Span], job: &str) -> Vec<&'s Span> {
    spans
        .iter()
        .filter(|span| span.name == "job" && span.attributes.get("job").is_some_and(|id| id == job))
        .collect()
}

/// All that was done for a job, from who asked for it to its steps, belongs to one trace without gaps.
fn whole_trace(spans: &[Span], job: &str) {
    let driven = of_job(spans, job);
    let traces: BTreeSet<&str> = driven.iter().map(|span| span.trace_id.as_str()).collect();
    assert_eq!(traces.len(), 1, "{job} is one trace: {driven:?}");
    let trace: Vec<&Span> =
        spans.iter().filter(|span| traces.contains(span.trace_id.as_str())).collect();
    let ids: BTreeMap<&str, &Span> =
        trace.iter().map(|span| (span.span_id.as_str(), *span)).collect();
    let roots: Vec<&&Span> =
        trace.iter().filter(|span| !ids.contains_key(span.parent_id.as_str())).collect();
    assert_eq!(roots.len(), 1, "one root, and no span whose parent is missing: {roots:?}");
    let names: BTreeSet<&str> = trace.iter().map(|span| span.name.as_str()).collect();
    assert!(names.iter().any(|name| name.starts_with("step")), "{names:?}");
    let services: BTreeSet<&str> = trace.iter().map(|span| span.service.as_str()).collect();
    assert!(services.contains("drs-worker"), "{services:?}");
}
