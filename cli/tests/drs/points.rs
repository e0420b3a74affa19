//! Recovery points: listed, found, removed with care.

use crate::bench::Bench;

#[test]
fn a_point_is_removed_with_care() {
    let bench = Bench::new("vms=1,backup_ms=100");
    let backup = || bench.json("backup lab/vm-001")["id"].as_str().expect("an id").to_owned();
    let (first, second) = (backup(), backup());

    let plan = bench.ok(&format!("point remove {first} --dry-run"));
    assert!(plan.stdout.starts_with(&format!("would remove recovery point {first}")));
    let told = bench.fails(&format!("point remove {first}"), 2, "invalid_input");
    assert!(told.contains("--yes"), "{told}");
    bench.ok(&format!("point remove {first} --yes"));

    let told = bench.fails(&format!("point remove {second} --yes"), 4, "in_use");
    assert!(told.contains("last good recovery point of lab/vm-001"), "{told}");
    bench.ok(&format!("point remove {second} --yes --last"));
    assert_eq!(bench.ok("point list --json").stdout, "[]\n");
}

#[test]
fn a_point_that_a_job_reads_stays() {
    let bench = Bench::new("vms=1,backup_ms=100");
    let point = bench.json("backup lab/vm-001")["id"].as_str().expect("an id").to_owned();
    bench.ok("backup lab/vm-001");
    let restore = bench.json(&format!("restore {point} --to rc --detach"));
    assert_eq!(restore["state"], "queued");
    let told = bench.fails(&format!("point remove {point} --yes"), 4, "in_use");
    assert!(told.contains(restore["id"].as_str().expect("an id")), "{told}");
}

#[test]
fn a_damaged_point_is_found_and_no_longer_restored() {
    let bench = Bench::new("vms=1,backup_ms=100");
    let point = bench.json("backup lab/vm-001")["id"].as_str().expect("an id").to_owned();
    let stream = bench.data_dir().join(format!("vault/points/{point}/disk-vda.stream"));
    let mut bytes = std::fs::read(&stream).expect("the disk's content");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&stream, bytes).expect("a file");

    bench.fails(&format!("point verify {point}"), 11, "point_damaged");
    assert_eq!(bench.json("point list")[0]["state"], "damaged");
    bench.fails(&format!("restore {point} --to rc"), 11, "point_damaged");
    bench.fails("restore latest:lab/vm-001 --to rc", 3, "point_not_found");
}

#[test]
fn points_are_found_by_the_beginning_of_their_id() {
    let bench = Bench::new("vms=1,backup_ms=100");
    let point = bench.json("backup lab/vm-001 --key one")["id"].as_str().expect("an id").to_owned();
    bench.ok("backup lab/vm-001 --key two");
    let start: String = point.chars().take(8).collect();
    let shown = bench.json(&format!("point show {start}"));
    assert_eq!(shown["id"], point.as_str());
    assert_eq!(shown["manifest"]["source"]["name"], "vm-001");
    assert_eq!(bench.json(&format!("job show {start}"))["id"], point.as_str());
    bench.fails("point show 00000000", 3, "point_not_found");
}

#[test]
fn a_point_that_cannot_be_read_is_in_the_way_of_no_other() {
    let bench = Bench::new("vms=2,backup_ms=100");
    let backup = |vm: &str| {
        bench.json(&format!("backup lab/{vm}"))["id"].as_str().expect("an id").to_owned()
    };
    let (older, newest, other) = (backup("vm-001"), backup("vm-001"), backup("vm-002"));
    let manifest = bench.data_dir().join(format!("vault/points/{newest}/manifest.json"));
    std::fs::write(&manifest, "nonsense").expect("a file");

    let ran = bench.ok("point list --vm lab/vm-002 --json");
    let listed = ran.json();
    assert_eq!(
        (&listed[0]["id"], &listed[1]["id"]),
        (&other.as_str().into(), &newest.as_str().into())
    );
    assert_eq!(listed[1]["state"], "damaged");
    assert!(listed[1]["damage"].as_str().is_some_and(|why| why.contains("manifest.json")));
    assert!(
        ran.stderr.contains("warning: recovery points that cannot be read: 1"),
        "{}",
        ran.stderr
    );
    let table = bench.ok("point list").stdout;
    assert!(
        table.lines().any(|line| line.starts_with(&newest) && line.contains("DAMAGED: ")),
        "{table}"
    );

    bench.ok(&format!("point show {other}"));
    bench.ok(&format!("point verify {other}"));
    bench.ok(&format!("restore {older} --to rc/by-id"));
    let ran = bench.ok("restore latest:lab/vm-001 --to rc/latest");
    assert!(ran.stdout.contains(&format!("from recovery point {older}")), "{}", ran.stdout);
    assert!(
        ran.stderr.contains(&format!("warning: recovery point {newest} is left out")),
        "{}",
        ran.stderr
    );
    bench.ok(&format!("point remove {other} --yes --last"));

    for command in ["point show", "point verify"] {
        let told = bench.fails(&format!("{command} {newest}"), 11, "point_damaged");
        assert!(told.contains("manifest.json"), "{told}");
    }
    bench.fails(&format!("restore {newest} --to rc/never"), 11, "point_damaged");
    // The ids were made within moments of each other: a prefix that only this point has is long.
    let shared = newest.bytes().zip(older.bytes()).take_while(|(a, b)| a == b).count();
    let start: String = newest.chars().take(shared.max(8) + 1).collect();
    bench.fails(&format!("point show {start}"), 11, "point_damaged");

    let plan = bench.ok(&format!("point remove {newest} --dry-run"));
    assert!(plan.stdout.contains("its manifest cannot be read"), "{}", plan.stdout);
    let told = bench.fails(&format!("point remove {newest}"), 2, "invalid_input");
    assert!(told.contains("its manifest cannot be read") && told.contains("--yes"), "{told}");
    bench.ok(&format!("point remove {newest} --yes"));
    assert_eq!(bench.json("point list").as_array().map(Vec::len), Some(1));
}
