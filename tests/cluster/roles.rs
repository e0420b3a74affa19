//! Roles that do their work.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use drs_tests::cluster::{Cluster, Role, Settings};
use drs_tests::product::{Finished, wait_for};

/// A cluster whose roles can be watched.
fn watched() -> Cluster {
    let cluster = Cluster::start(Settings::default());
    let file = cluster.drs().path().join("drs.toml");
    let settings = std::fs::read_to_string(&file).expect("a configuration");
    let metrics = "[telemetry]\nmetrics = \"127.0.0.1:0\"\n";
    std::fs::write(&file, settings + metrics).expect("a configuration");
    cluster
}

/// What a role answers to those who watch it.
#[track_caller]
fn asked(role: &Role, path: &str) -> String {
    let address = wait_for("an address", || {
        let log = role.log();
        let line = log.lines().find(|line| line.contains("serving /metrics"))?;
        let (_, port) = line.split_once("127.0.0.1:")?;
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        Some(format!("127.0.0.1:{port}"))
    });
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: drs\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn a_role_waits_for_the_servers_and_tells_which_are_missing() {
    let cluster = watched();
    cluster.redis.stop();
    cluster.postgres.stop();
    cluster.rabbitmq.stop();
    let began = Instant::now();
    let roles = [&["worker"][..], &["scheduler"], &["api"]].map(|role| cluster.begin(role));
    for role in &roles {
        assert!(asked(role, "/healthz").starts_with("HTTP/1.1 200"));
        let told = asked(role, "/readyz");
        assert!(told.starts_with("HTTP/1.1 503"), "{told}");
        for server in ["RabbitMQ at ", "Redis at ", "PostgreSQL at "] {
            assert!(told.contains(server), "{server}: {told}");
        }
    }
    cluster.redis.restart();
    cluster.postgres.restart();
    wait_for("RabbitMQ alone is missing", || {
        let told = asked(&roles[0], "/readyz");
        assert!(told.contains("RabbitMQ at "), "{told}");
        (!told.contains("Redis at ") && !told.contains("PostgreSQL at ")).then_some(())
    });
    cluster.rabbitmq.restart();
    roles.iter().for_each(Role::ready);
    assert!(asked(&roles[0], "/readyz").starts_with("HTTP/1.1 200"));
    let (log, minutes) = (roles[0].log(), began.elapsed().as_secs() / 60);
    for server in ["RabbitMQ at ", "Redis at ", "PostgreSQL at "] {
        let waits = format!("waiting: {server}");
        let told = log.lines().filter(|line| line.contains(&waits)).count() as u64;
        assert!((1..=1 + minutes).contains(&told), "{server}: {log}");
    }
    assert!(log.contains("do: Check that the server runs"), "{log}");
    cluster.rabbitmq.stop();
    wait_for("RabbitMQ is missing again", || {
        asked(&roles[2], "/readyz").contains("RabbitMQ at ").then_some(())
    });
}

#[test]
fn a_role_that_waits_ends_when_it_is_told_to_or_refused() {
    let cluster = Cluster::start(Settings::default());
    cluster.redis.stop();
    let role = cluster.begin(&["worker"]);
    wait_for("it waits", || role.log().contains("waiting: Redis at ").then_some(()));
    role.ask_to_end();
    assert_eq!(role.ended(), Some(0));
    for (variable, url, told) in [
        ("DRS_AMQP_URL", "amqp://drs@no.such.host.invalid", "waiting: RabbitMQ at no.such.host"),
        ("DRS_REDIS_URL", "redis://no.such.host.invalid", "waiting: Redis at no.such.host"),
        (
            "DRS_POSTGRES_URL",
            "postgres://drs@no.such.host.invalid",
            "waiting: PostgreSQL at no.such",
        ),
    ] {
        let role = cluster.begin_with(&["api"], &[(variable, url)]);
        wait_for("it waits for a name", || role.log().contains(told).then_some(()));
    }
    let drs = cluster.drs();
    drs.run(&["worker", "--once"]).fails(75, &["Redis at 127.0.0.1", "do: "]);
    let mut command = drs.command(&["worker", "--once"]);
    command.env("DRS_POSTGRES_PASSWORD", "hunter2");
    Finished::of(command.output().expect("drs runs")).fails(2, &["PostgreSQL at 127.0.0.1"]);
    let postgres = cluster.environment()[3].1.replace("/drs?", "/nowhere?");
    for (variable, value, told) in [
        ("DRS_AMQP_PASSWORD", "hunter2", "RabbitMQ at "),
        ("DRS_POSTGRES_URL", &postgres, "nowhere"),
    ] {
        let mut role = cluster.begin_with(&["scheduler"], &[(variable, value)]);
        wait_for("it ends, since no waiting helps", || role.is_over().then_some(()));
        let log = role.log();
        assert_eq!(role.ended(), Some(2), "{log}");
        assert!(log.contains("error: ") && log.contains(told) && log.contains("do: "), "{log}");
    }
}

#[test]
fn a_worker_for_one_job_that_is_told_to_end_waits_for_no_server() {
    let cluster = watched();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    // Each of them is given 5 s.
    let hosts = vec![silent.local_addr().expect("an address").to_string(); 40].join(",");
    let url = format!("postgres://drs@{hosts}/drs?sslmode=disable");
    let mut role = cluster.begin_with(&["worker", "--once"], &[("DRS_POSTGRES_URL", &url)]);
    assert!(asked(&role, "/healthz").starts_with("HTTP/1.1 200"), "it hears signals from now on");
    role.ask_to_end();
    wait_for("it ends", || role.is_over().then_some(()));
    let log = role.log();
    assert_eq!(role.ended(), Some(75), "{log}");
    assert!(!log.contains("error: "), "{log}");
}

#[test]
fn connections_that_are_made_anew_are_counted() {
    let cluster = watched();
    let network = cluster.network();
    let worker = network.begin(&cluster, &["worker"]);
    worker.ready();
    for (backend, line) in ["amqp", "redis", "postgres"].into_iter().zip(network.lines()) {
        let none = format!("drs_reconnects_total{{backend=\"{backend}\"}} 0");
        assert!(asked(&worker, "/metrics").contains(&none));
        line.sever();
        wait_for("it is missed", || asked(&worker, "/readyz").contains(" 503 ").then_some(()));
        line.heal();
        wait_for("it is back", || asked(&worker, "/readyz").contains(" 200 ").then_some(()));
        assert!(!asked(&worker, "/metrics").contains(&none), "{backend}");
    }
}

#[test]
fn jobs_of_commands_run_on_any_worker_and_stay_in_the_list_of_jobs() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("a", "dc", "vms=6,disk_mib=1,backup_ms=50,restore_ms=50");
    let _roles = [&["scheduler"], &["worker"], &["worker"]].map(|role| cluster.role(role));

    let drs = cluster.drs();
    let told = drs.run(&["backup", "a/vm-001"]).ok();
    assert!(told.stdout.contains("recovery point"), "{}", told.stdout);
    let jobs: Vec<String> =
        (2..=6).map(|n| cluster.submit(&["backup", &format!("a/vm-00{n}")])).collect();
    for job in &jobs {
        assert_eq!(drs.settled(job), "succeeded", "{}", drs.run(&["job", "log", job]).stdout);
    }
    drs.run(&["restore", "latest:a/vm-001", "--to", "a", "--as", "copy"]).ok();
    assert_eq!(drs.json(&["point", "list"]).as_array().map(Vec::len), Some(6));
    assert_eq!(cluster.jobs().len(), 7);
    wait_for("every job is in history", || {
        let recorded = cluster.postgres.sql("SELECT count(*) FROM drs.job_history");
        (recorded.trim() == "7").then_some(())
    });
}

#[test]
fn a_worker_for_one_job_says_by_its_exit_code_what_became_of_it() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("a", "dc", "vms=2,disk_mib=1,backup_ms=50");
    cluster.simulated("dark", "dc", "vms=1,fail_at=open_export,fail_times=1000");
    let once = ["worker", "--once", "--idle-exit", "1"];
    let nothing = cluster.drs().run(&once);
    nothing.fails(75, &["no job came in time"]);

    let good = cluster.submit(&["backup", "a/vm-001"]);
    let waits = cluster.submit(&["backup", "a/vm-002"]);
    cluster.drs().run(&["worker", "--once"]).ok();
    assert_eq!(cluster.drs().job(&good)["state"], "succeeded");
    assert_eq!(cluster.drs().job(&waits)["state"], "queued", "it took one job alone");
    cluster.drs().run(&["worker", "--once"]).ok();

    cluster.submit(&["backup", "dark/vm-001"]);
    cluster.drs().run(&["worker", "--once"]).fails(75, &["is not over", "retry_wait"]);
}

#[test]
fn a_worker_ends_when_there_was_nothing_to_do_for_a_while() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("a", "dc", "vms=1,disk_mib=1,backup_ms=1500");
    let job = cluster.submit(&["backup", "a/vm-001"]);
    let worker = cluster.role(&["worker", "--idle-exit", "1"]);
    assert_eq!(worker.ended(), Some(0));
    assert_eq!(cluster.drs().job(&job)["state"], "succeeded", "a job in hand is not idleness");
}

#[test]
fn a_lane_keeps_the_jobs_of_a_site_to_its_own_workers() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("near", "dc", "vms=1,disk_mib=1,backup_ms=50");
    cluster.simulated("far", "rc", "vms=1,disk_mib=1,backup_ms=50");
    let drs = cluster.drs();
    drs.run(&["site", "edit", "rc", "--lane", "rc"]).ok();
    let (near, far) =
        (cluster.submit(&["backup", "near/vm-001"]), cluster.submit(&["backup", "far/vm-001"]));
    let _main = [cluster.role(&["scheduler"]), cluster.role(&["worker"])];
    assert_eq!(drs.settled(&near), "succeeded");
    assert_eq!(drs.job(&far)["state"], "queued", "nobody works on its lane");
    let mut command = drs.command(&["worker", "--once"]);
    assert!(command.env("DRS_LANES", "rc").status().expect("drs runs").success());
    assert_eq!(drs.settled(&far), "succeeded");
}

#[test]
fn a_worker_in_a_container_needs_nothing_but_its_environment() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("a", "dc", "vms=1,disk_mib=1,backup_ms=50");
    let job = cluster.submit(&["backup", "a/vm-001"]);
    let fresh = tempfile::tempdir().expect("a directory");
    let mut command = std::process::Command::new(drs_tests::product::binary());
    command.args(["worker", "--once", "--data-dir"]).arg(fresh.path().join("data"));
    command.envs(cluster.environment()).env("DRS_VAULT", cluster.drs().path().join("vault"));
    assert!(command.status().expect("drs runs").success());
    assert_eq!(cluster.drs().job(&job)["state"], "succeeded");
}
