//! What is wrong is said in one line, and nothing loops.

use std::process::Stdio;

use drs_lab_servers::PASSWORD;
use drs_tests::cluster::{Cluster, Settings};
use drs_tests::product::{Finished, Installation, wait_for};

#[test]
fn a_server_that_refuses_is_named_with_the_reason_and_no_password() {
    let cluster = Cluster::start(Settings::default());
    let drs = Installation::new();
    let (dead, host, job) = (["dead", "list"], ["host", "list"], ["job", "list"]);
    let wrong = [
        (dead, "DRS_AMQP_PASSWORD", "hunter2", "RabbitMQ"),
        (dead, "DRS_AMQP_URL", "amqp://drs@127.0.0.1:{amqp}/nowhere", "nowhere"),
        (dead, "DRS_AMQP_URL", "amqp://drs@no.such.host.invalid", "no.such.host.invalid"),
        (host, "DRS_POSTGRES_PASSWORD", "hunter2", "PostgreSQL"),
        (
            host,
            "DRS_POSTGRES_URL",
            "postgres://drs@127.0.0.1:{postgres}/nowhere?sslmode=disable",
            "nowhere",
        ),
        (host, "DRS_POSTGRES_URL", "postgres://drs@no.such.host.invalid/drs", "no.such.host"),
        (job, "DRS_REDIS_URL", "redis://127.0.0.1:1", "Redis"),
        (job, "DRS_REDIS_URL", "redis://no.such.host.invalid", "no.such.host.invalid"),
        (job, "DRS_POSTGRES_PASSWORD", "hunter2", "PostgreSQL"),
        (host, "DRS_AMQP_URL", "amqp://drs:hunter2@127.0.0.1/", "password"),
    ];
    for (command, name, value, told) in wrong {
        let value = value
            .replace("{amqp}", &cluster.rabbitmq.port().to_string())
            .replace("{postgres}", &cluster.postgres.port().to_string());
        let output = drs
            .command(&command)
            .envs(cluster.environment())
            .env(name, value)
            .output()
            .expect("drs runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(told), "{name}: {stderr}");
        assert_eq!(
            stderr.lines().filter(|line| line.starts_with("error: ")).count(),
            1,
            "{stderr}"
        );
        assert_eq!(
            stderr.lines().count(),
            3,
            "what, what to do, the code, and nothing else: {stderr}"
        );
        assert!(stderr.contains("do: "), "{stderr}");
        assert!(!stderr.contains("hunter2") && !stderr.contains(PASSWORD), "{stderr}");
    }
}

#[test]
fn half_a_cluster_is_none() {
    let drs = Installation::new();
    let told = drs.command(&["host", "list"]).env("DRS_REDIS_URL", "redis://h").output();
    let stderr = String::from_utf8_lossy(&told.expect("drs runs").stderr).into_owned();
    assert!(stderr.contains("amqp and postgres is not named"), "{stderr}");
    drs.run(&["worker"]).fails(2, &["works on a cluster, and none is configured", "drs serve"]);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let cluster = Cluster::start(Settings::default());
    cluster.drs().run(&["host", "list"]).ok();
    cluster.postgres.sql("INSERT INTO drs.drs_schema (version) VALUES (99)");
    cluster.drs().run(&["host", "list"]).fails(10, &["newer version", "99"]);
    assert_eq!(cluster.postgres.sql("SELECT max(version) FROM drs.drs_schema").trim(), "99");
}

#[test]
fn commands_need_the_servers_that_they_use_and_no_other() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("a", "dc", "vms=2,disk_mib=1,backup_ms=50");
    let drs = cluster.drs();
    let done = cluster.submit(&["backup", "a/vm-001"]);
    drs.run(&["worker", "--once"]).ok();
    let all = |commands: &[&[&str]]| commands.iter().for_each(|args| drop(drs.run(args).ok()));

    cluster.rabbitmq.stop();
    all(&[&["job", "list"], &["job", "show", &done], &["job", "log", &done], &["point", "list"]]);
    all(&[&["host", "list"], &["pair", "list"], &["schedule", "list"], &["site", "list"]]);
    drs.run(&["dead", "list"])
        .fails(10, &["RabbitMQ at 127.0.0.1", "do: Check that the server runs"]);
    let submitted = drs.run(&["backup", "a/vm-002", "--detach", "--json"]).ok();
    assert!(submitted.stderr.contains("the sweeper will"), "{}", submitted.stderr);
    let waits = submitted.json()["id"].as_str().expect("an id").to_owned();

    cluster.postgres.stop();
    let listed = drs.run(&["job", "list", "--json"]).ok();
    assert_eq!(listed.json().as_array().map(Vec::len), Some(2));
    assert!(listed.stderr.contains("jobs of the past are left out"), "{}", listed.stderr);
    all(&[&["job", "show", &waits], &["job", "cancel", &waits], &["point", "list"]]);
    assert_eq!(drs.job(&waits)["state"], "cancelled");
    // Which job an id's beginning means cannot be told.
    for (command, job) in [("show", &done), ("cancel", &waits), ("retry", &waits)] {
        let beginning: String = job.chars().take(13).collect();
        drs.run(&["job", command, &beginning]).fails(10, &["PostgreSQL at 127.0.0.1", "do: "]);
    }
    drs.run(&["host", "list"]).fails(10, &["PostgreSQL at 127.0.0.1", "do: "]);
    drs.run(&["backup", "a/vm-002", "--detach"]).fails(10, &["PostgreSQL at 127.0.0.1"]);

    cluster.postgres.restart();
    cluster.rabbitmq.restart();
    // Its stream is there a moment after it listens.
    wait_for("RabbitMQ is whole", || (drs.run(&["dead", "list"]).code == 0).then_some(()));
    cluster.redis.stop();
    all(&[&["point", "list"], &["host", "list"], &["dead", "list"]]);
    drs.run(&["job", "list"]).fails(10, &["Redis at 127.0.0.1", "do: Check that the server runs"]);
    drs.run(&["backup", "a/vm-002", "--detach"]).fails(10, &["Redis at 127.0.0.1"]);

    cluster.redis.restart();
    assert_eq!(cluster.jobs().len(), 2, "what failed left nothing behind");
}

#[test]
fn a_job_that_the_store_forgot_while_it_was_submitted_is_told_as_submitted() {
    let cluster = Cluster::start(Settings::default());
    cluster.simulated("a", "dc", "vms=1,disk_mib=1");
    let line = cluster.network().amqp;
    let mut command = cluster.drs().command(&["backup", "a/vm-001", "--detach", "--json"]);
    command.envs(cluster.environment());
    let url = format!("amqp://drs@127.0.0.1:{}/%2f", line.port());
    command.env("DRS_AMQP_URL", url).stdout(Stdio::piped()).stderr(Stdio::piped());
    line.cut();
    let submitting = command.spawn().expect("drs runs");
    // The record is made, and its message waits for the line.
    wait_for("the record", || {
        (cluster.redis.cli(&["KEYS", "{drs}:job:*"]).contains("job:")).then_some(())
    });
    cluster.redis.cli(&["FLUSHALL"]);
    let told = Finished::of(submitting.wait_with_output().expect("drs ends")).ok().json();
    assert_eq!((&told["kind"], &told["state"]), (&"backup".into(), &"queued".into()), "{told}");
}

#[test]
fn a_dead_letter_that_cannot_be_replayed_can_be_removed() {
    let cluster = Cluster::start(Settings::default());
    let drs = cluster.drs();
    drs.run(&["dead", "list"]).ok();
    cluster.rabbitmq.ctl(&[
        "eval",
        "rabbit_basic:publish(rabbit_misc:r(<<\"/\">>, exchange, <<>>), <<\"drs.dead\">>, \
         [{message_id, <<\"letter\">>}], <<\"nonsense\">>).",
    ]);
    let letters = || drs.json(&["dead", "list"]).as_array().map(Vec::len);
    wait_for("the letter", || (letters() == Some(1)).then_some(()));
    drs.run(&["dead", "replay", "letter"]).fails(10, &["dead letter letter", "drs dead drop"]);
    drs.run(&["dead", "drop", "letter"]).fails(2, &["removing dead letter letter", "--yes"]);
    drs.run(&["dead", "drop", "letter", "--dry-run"]).ok();
    assert_eq!(letters(), Some(1));
    let told = drs.run(&["dead", "drop", "letter", "--yes"]).ok();
    assert!(told.stdout.contains("dead letter letter is removed"), "{}", told.stdout);
    assert_eq!(letters(), Some(0));
    drs.run(&["dead", "drop", "letter", "--yes"])
        .fails(3, &["dead_letter_not_found", "drs dead list"]);
}
