//! What is wrong is said in one line, and nothing loops.

use drs_lab_servers::PASSWORD;
use drs_tests::cluster::{Cluster, Settings};
use drs_tests::product::Installation;

#[test]
fn a_server_that_refuses_is_named_with_the_reason_and_no_password() {
    let cluster = Cluster::start(Settings::default());
    let drs = Installation::new();
    let wrong = [
        ("DRS_AMQP_PASSWORD", "hunter2", "RabbitMQ"),
        ("DRS_AMQP_URL", "amqp://drs@127.0.0.1:{amqp}/nowhere", "nowhere"),
        ("DRS_POSTGRES_PASSWORD", "hunter2", "PostgreSQL"),
        (
            "DRS_POSTGRES_URL",
            "postgres://drs@127.0.0.1:{postgres}/nowhere?sslmode=disable",
            "nowhere",
        ),
        ("DRS_REDIS_URL", "redis://127.0.0.1:1", "Redis"),
        ("DRS_AMQP_URL", "amqp://drs:hunter2@127.0.0.1/", "password"),
    ];
    for (name, value, told) in wrong {
        let value = value
            .replace("{amqp}", &cluster.rabbitmq.port().to_string())
            .replace("{postgres}", &cluster.postgres.port().to_string());
        let output = drs
            .command(&["host", "list"])
            .envs(cluster.environment())
            .env(name, value)
            .output()
            .expect("drs runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(told), "{name}: {stderr}");
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
