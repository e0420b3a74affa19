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
