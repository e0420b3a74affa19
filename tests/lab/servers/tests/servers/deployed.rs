//! What `deploy/brokers` promises is in force on real servers that run with its files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use drs_lab_servers::{RabbitMq, Redis};
use tempfile::TempDir;

/// `printf %s secret | sha256sum`
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn brokers(name: &str) -> PathBuf {
    repository().join("deploy/brokers").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(brokers(name)).expect("a file of deploy/brokers")
}

/// A text with one thing replaced, which must be in it.
fn with(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old} is not in the file");
    text.replace(old, new)
}

#[expect(clippy::disallowed_methods, reason = "operators run this script")]
fn password_hash(password: &str) -> String {
    let line = TempDir::new().expect("a directory");
    fs::write(line.path().join("line"), format!("{password}\n")).expect("a file");
    let output = std::process::Command::new(brokers("password-hash"))
        .stdin(Stdio::from(fs::File::open(line.path().join("line")).expect("the file")))
        .output()
        .expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// RabbitMQ with the files of `deploy/brokers`, these definitions among them.
fn rabbitmq(definitions: &str) -> (RabbitMq, TempDir) {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("definitions.json");
    fs::write(&path, definitions).expect("a file");
    let place = path.display().to_string();
    let conf = with(&text("rabbitmq.conf"), "/etc/rabbitmq/definitions.json", &place);
    (RabbitMq::start_with(&conf), dir)
}

#[test]
fn rabbitmq_runs_as_configured() {
    let hash = format!("\"password_hash\": \"{}\"", password_hash("it's a \"secret\""));
    let filled = with(&text("definitions.json"), "\"password_hash\": \"\"", &hash);
    let (rabbit, _dir) = rabbitmq(&filled);

    let setting = |application: &str, name: &str| {
        let ask = format!("application:get_env({application}, {name}).");
        rabbit.ctl(&["eval", &ask]).trim().to_owned()
    };
    assert_eq!(setting("rabbit", "heartbeat"), "{ok,10}");
    assert_eq!(setting("rabbit", "consumer_timeout"), "{ok,1800000}");
    assert_eq!(setting("rabbit", "disk_free_limit"), "{ok,\"2GB\"}");
    assert_eq!(setting("rabbit", "vm_memory_high_watermark"), "{ok,0.4}");
    assert_eq!(setting("rabbit", "max_message_size"), "{ok,1048576}");
    assert_eq!(setting("ra", "wal_max_size_bytes"), "{ok,67108864}");

    let users = rabbit.ctl(&["list_users", "--no-table-headers"]);
    assert_eq!(users.trim(), "drs\t[]", "no guest, no administrator");
    let permissions = rabbit.ctl(&["list_permissions", "-p", "drs", "--no-table-headers"]);
    assert_eq!(permissions.trim(), "drs\t^drs\\.\t^(drs\\.|amq\\.default$)\t^drs\\.");
    assert!(rabbit.ctl(&["list_policies", "-p", "drs"]).contains("max-length-bytes"));

    rabbit.ctl(&["authenticate_user", "drs", "it's a \"secret\""]);
    rabbit.restart();
    rabbit.ctl(&["authenticate_user", "drs", "it's a \"secret\""]);
}

#[test]
fn nobody_logs_in_to_rabbitmq_before_the_password_is_set() {
    let (rabbit, _dir) = rabbitmq(&text("definitions.json"));
    for password in ["", "secret", "drs"] {
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            rabbit.ctl(&["authenticate_user", "drs", password])
        }));
        assert!(refused.is_err(), "drs logs in with {password:?}");
    }
}

/// Redis with the files of `deploy/brokers`, the password `secret` and an administrator `admin`.
fn redis() -> (Redis, TempDir) {
    let dir = TempDir::new().expect("a directory");
    let acl = dir.path().join("users.acl");
    let users = with(&text("users.acl"), &"0".repeat(64), SECRET);
    fs::write(&acl, format!("{users}user admin on nopass ~* &* +@all\n")).expect("a file");
    let conf = brokers("redis.conf").display().to_string();
    let redis = Redis::start_with(&["--include", &conf, "--aclfile", &acl.display().to_string()]);
    (redis, dir)
}

/// A command as a user that logs in with `secret`.
fn as_user(redis: &Redis, user: &str, command: &[&str]) -> String {
    let login = ["--user", user, "--pass", "secret", "--no-auth-warning"];
    redis.cli(&[&login, command].concat()).trim().to_owned()
}

fn refused(redis: &Redis, user: &str, command: &[&str]) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| as_user(redis, user, command)))
        .is_err()
}

#[test]
fn redis_runs_as_configured() {
    let (redis, _dir) = redis();
    for (name, value) in [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("no-appendfsync-on-rewrite", "no"),
        ("maxmemory", "1073741824"),
        ("maxmemory-policy", "noeviction"),
        ("save", "3600 1"),
    ] {
        assert_eq!(as_user(&redis, "drs", &["CONFIG", "GET", name]), format!("{name}\n{value}"));
    }
    as_user(&redis, "drs", &["SET", "{drs}:k", "kept"]);
    redis.kill();
    redis.restart();
    assert_eq!(as_user(&redis, "drs", &["GET", "{drs}:k"]), "kept");
}

#[test]
fn drs_may_do_in_redis_what_it_does_and_no_more() {
    let (redis, _dir) = redis();
    for command in [
        &["PING"][..],
        &["TIME"],
        &["ROLE"],
        &["SCRIPT", "LOAD", "return 1"],
        &["EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0"],
    ] {
        as_user(&redis, "drs", command);
    }
    for command in [
        &["FLUSHALL"][..],
        &["KEYS", "*"],
        &["CONFIG", "SET", "appendonly", "no"],
        &["ACL", "LIST"],
        &["DEBUG", "SLEEP", "0"],
        &["SHUTDOWN"],
        &["SET", "another", "x"],
        &["INFO"],
        &["MULTI"],
        &["PUBLISH", "{drs}:news", "x"],
    ] {
        assert!(refused(&redis, "drs", command), "drs may {command:?}");
    }
    assert!(refused(&redis, "default", &["PING"]), "the default user is off");
}

/// The commands that the store's scripts call, as the scripts stand.
fn called() -> BTreeSet<String> {
    let scripts = repository().join("shared/backend-redis/src/scripts");
    fs::read_dir(scripts)
        .expect("the scripts of the store")
        .map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("a script"))
        .flat_map(|script| {
            let calls = script.split("call('").skip(1);
            calls.filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned())).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn the_scripts_of_the_store_may_run_as_drs() {
    const MAY: &str = "return redis.acl_check_cmd(ARGV[1], ARGV[2], ARGV[2]) and 'yes' or 'no'";
    let (redis, _dir) = redis();
    let called = called();
    assert!(called.contains("HGETALL"), "{called:?}");
    for command in &called {
        let may = |key: &str| as_user(&redis, "drs", &["EVAL", MAY, "0", command, key]);
        assert_eq!(may("{drs}:k"), "yes", "{command}");
        if command != "TIME" {
            assert_eq!(may("another"), "no", "{command}");
        }
    }
}
