//! Bad input: what, why, what to do, the documented exit code, and nothing changed.

use std::net::TcpListener;

use crate::bench::Bench;

#[test]
fn what_does_not_exist_is_3() {
    let bench = Bench::new("vms=2");
    let told = bench.fails("backup lab/vm-01", 3, "vm_not_found");
    assert!(told.contains("Did you mean vm-001?"), "{told}");
    bench.fails("backup nowhere/vm-001", 3, "host_not_found");
    bench.fails("backup web", 3, "pair_not_found");
    bench.fails("restore 00000000 --to rc", 3, "point_not_found");
    bench.fails("job show 00000000", 3, "job_not_found");
    bench.fails("vm list nowhere", 3, "host_not_found");
    bench.fails("pair add web --source lab/vm-001 --target nowhere", 3, "host_not_found");
    assert_eq!(bench.ok("job list --json").stdout, "[]\n", "nothing was submitted");
}

#[test]
fn what_the_environment_names_and_cannot_be_used_is_2() {
    let bench = Bench::new("vms=0");
    let fails = |line: &str, variables: &[(&str, &str)], says: &str| {
        let ran = bench.run_with(line, variables);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    };
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let refused = format!("nothing can be served on {address}");
    fails("serve", &[("DRS_METRICS", &address)], &refused);
    fails("serve", &[("DRS_METRICS", "9464")], "DRS_METRICS must be an IP address and a port");
    let cluster = [
        ("DRS_AMQP_URL", "amqps://127.0.0.1"),
        ("DRS_REDIS_URL", "rediss://127.0.0.1"),
        ("DRS_POSTGRES_URL", "postgres://127.0.0.1/drs?sslmode=require"),
        ("DRS_CA_FILE", "/nowhere/ca.pem"),
    ];
    fails("host list", &cluster, "/nowhere/ca.pem");
}

#[test]
fn hostile_names_are_2() {
    let bench = Bench::new("vms=1");
    for name in ["lab/a;touch /tmp/x", "lab/../../etc", "lab/-rf", "lab/a\nb", "lab/$(id)"] {
        let ran = bench.run_words(&["backup", name]);
        assert_eq!(ran.code, 2, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains("is not a valid VM name"), "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains("  do: See `drs backup --help`."), "{}", ran.stderr);
    }
}

#[test]
fn what_exists_is_never_overwritten_and_is_4() {
    let bench = Bench::new("vms=1,backup_ms=100");
    bench.fails("init", 4, "already_exists");
    bench.fails("host add lab --driver simulated --address vms=1 --site dc", 4, "already_exists");
    bench.ok("pair add web --source lab/vm-001 --target rc");
    bench.fails("pair add web --source lab/vm-001 --target rc", 4, "already_exists");
    bench.fails("host remove rc", 4, "in_use");
    bench.ok("backup web");
    bench.ok("restore latest --pair web");
    let told = bench.fails("restore latest --pair web", 4, "already_exists");
    assert!(told.contains("--as NAME"), "{told}");
}

#[test]
fn a_pair_never_restores_onto_its_source() {
    let bench = Bench::new("vms=1");
    bench.fails("pair add web --source lab/vm-001 --target lab", 2, "invalid_input");
    bench.ok("pair add web --source lab/vm-001 --target lab/copy --network a=b --new-macs");
    bench.fails("pair edit web --target lab/vm-001", 2, "invalid_input");
    bench.ok("pair edit web --target rc --network a= --network c=d --new-macs=false");
    let pair = &bench.json("pair list")[0];
    assert_eq!(pair["networks"], serde_json::json!({"c": "d"}));
    assert_eq!((&pair["target_host"], &pair["target_name"]), (&"rc".into(), &"copy".into()));
    assert_eq!(pair["keep_macs"], true);
}

#[test]
fn a_point_goes_through_no_other_pair_and_latest_needs_a_vm() {
    let bench = Bench::new("vms=2,backup_ms=100");
    bench.ok("pair add web --source lab/vm-001 --target rc");
    let point = bench.json("backup lab/vm-002")["id"].as_str().expect("an id").to_owned();
    let told = bench.fails(&format!("restore {point} --pair web"), 2, "invalid_input");
    assert!(told.contains("is of lab/vm-002, the pair web protects lab/vm-001"), "{told}");
    bench.fails("restore latest --pair web", 3, "point_not_found");
    let told = bench.fails("restore latest --to rc", 2, "invalid_input");
    assert!(told.contains("latest:HOST/VM"), "{told}");
    bench.fails("restore latest:lab/vm-002 --to rc/a --as b", 2, "invalid_input");
    assert_eq!(bench.json("job list").as_array().map(Vec::len), Some(1), "nothing was submitted");
}

#[test]
fn every_mistake_of_the_configuration_is_told_at_once() {
    let bench = Bench::new("vms=1");
    let text = "[worker]\nslotz = 2\nlease_seconds = 0\n\n[log]\nformat = \"xml\"\n";
    std::fs::write(bench.data_dir().join("drs.toml"), text).expect("a file");
    let told = bench.fails("serve", 2, "invalid_config");
    for line in [
        "  - line 2: unknown key in [worker]: slotz; did you mean slots?",
        "  - line 3: worker.lease_seconds must be from 3 to 3600, not 0",
        "  - line 6: log.format must be one of \"text\", \"json\", not \"xml\"",
    ] {
        assert!(told.contains(line), "{told}");
    }
    let ran = bench.run("host list --json");
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).expect("JSON");
    assert_eq!(error["error"]["details"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_data_directory_that_is_missing_or_newer_is_10() {
    let bench = Bench::bare();
    let told = bench.fails("host list", 10, "not_initialised");
    assert!(told.contains(" init`"), "{told}");
    bench.ok("init");
    std::fs::write(bench.data_dir().join("format"), "drs-data 99\n").expect("a file");
    for command in ["host list", "serve"] {
        let told = bench.fails(command, 10, "data_too_new");
        assert!(told.contains("format 99"), "{told}");
    }
}

#[test]
fn a_vault_may_lie_elsewhere_and_when_it_is_missing_only_its_users_fail() {
    let bench = Bench::bare();
    let vault = bench.folder().join("vault");
    bench.ok(&format!("init --vault {}", vault.display()));
    bench.ok("host add lab --driver simulated --address vms=1,backup_ms=100 --site dc");
    bench.ok("backup lab/vm-001");
    assert!(vault.join("points").is_dir());
    std::fs::rename(&vault, bench.folder().join("unmounted")).expect("a folder");
    bench.ok("host list");
    bench.fails("backup lab/vm-001", 10, "vault_failed");
    bench.fails("point list", 10, "vault_failed");
    assert_eq!(bench.json("job list").as_array().map(Vec::len), Some(1), "nothing was submitted");
}

#[test]
fn without_a_command_the_first_steps_are_shown() {
    let ran = Bench::bare().run_words(&[]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("First steps:") && ran.stdout.contains("drs host add"));
    assert!(Bench::bare().ok("completions bash").stdout.contains("_drs"));
}
