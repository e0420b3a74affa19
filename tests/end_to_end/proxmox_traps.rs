//! What Proxmox's own tools are careless about, tried against the product on real nodes. The traps that a
//! parser or a script falls into have their tests there; these need a node.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use drs_tests::nodes::{DC, DRC, Nodes, WAYS, installation};
use drs_tests::product::{Installation, wait_for};

/// Waits until a job is in a state, and gives its record.
#[track_caller]
fn when(drs: &Installation, job: &str, state: &str) -> serde_json::Value {
    wait_for(state, || Some(drs.job(job)).filter(|job| job["state"] == state))
}

fn submitted(drs: &Installation, args: &[&str]) -> String {
    let job = drs.json(&[args, &["--detach"]].concat());
    job["id"].as_str().expect("an id").to_owned()
}

#[test]
fn trap_01_a_node_makes_one_dump_at_a_time_and_nobody_blocks_a_worker_over_it() {
    let (nodes, drs, _turn) = installation();
    let (one, two) = (nodes.guest("boot", &["--data", "100%"]), nodes.guest("boot", &[]));
    let server = drs.serve();
    let first = submitted(&drs, &["backup", &one.reference(), "--limit", "3M"]);
    when(&drs, &first, "running");
    let second = submitted(&drs, &["backup", &two.reference()]);
    let parked = when(&drs, &second, "parked");
    assert_eq!(parked["waits"]["resource"], "dump:dc", "{parked}");
    let held = &parked["waits"]["holders"][0];
    assert_eq!(held.as_str(), Some(first.as_str()), "{parked}");
    for job in [&first, &second] {
        assert_eq!(drs.settled(job), "succeeded");
    }

    // Somebody else's dump: the job waits, and others on the same node go on meanwhile.
    let foreign = nodes.run(&["foreign", DC, &two.vmid, "64"]);
    let waiting = submitted(&drs, &["backup", &one.reference()]);
    let waits = when(&drs, &waiting, "retry_wait");
    let why = waits["fault"].to_string();
    assert!(why.contains("another backup runs on this node"), "{why}");
    assert_eq!(waits["fault"]["class"], "busy", "{waits}");
    assert!(waits["worker"].is_null(), "no worker waits with it: {waits}");
    let to = format!("{DC}/{}", nodes.fresh_vmid());
    let latest = format!("latest:{}", two.reference());
    let restore = submitted(&drs, &["restore", &latest, "--to", &to, "--unique"]);
    assert_eq!(drs.settled(&restore), "succeeded", "a restore needs no dump slot");
    nodes.ssh(DC, &["kill", foreign.trim()]);
    assert_eq!(drs.settled(&waiting), "succeeded");
    server.terminate();
    nodes.remove(DC, to.trim_start_matches("dc/"));
    nodes.nothing_left(&[(DC, &one.vmid), (DC, &two.vmid)]);
}

/// Archives of somebody else where Proxmox keeps them, on storages that prune.
struct Foreign {
    files: Vec<PathBuf>,
    settings: PathBuf,
}

impl Foreign {
    fn new(nodes: &Nodes, vmid: &str) -> Self {
        let mut files = Vec::new();
        for folder in ["/var/lib/vz/dump", "/mnt/pve/nfs-backup/dump"] {
            for day in 1..=4 {
                let name = format!("vzdump-qemu-{vmid}-2025_01_0{day}-00_00_00.vma.zst");
                let path = nodes.file(DC, folder).join(name);
                std::fs::write(&path, format!("day {day}")).expect("an archive");
                files.push(path);
            }
        }
        let settings = nodes.file(DC, "/etc/vzdump.conf");
        let mut file = OpenOptions::new().append(true).open(&settings).expect("vzdump.conf");
        writeln!(file, "storage: nfs-backup\nprune-backups: keep-last=1").expect("written");
        Self { files, settings }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.files.iter().for_each(|file| std::fs::remove_file(file).expect("it is still there"));
        File::create(&self.settings).expect("vzdump.conf");
    }
}

#[test]
fn trap_03_no_other_backup_is_pruned_whatever_the_nodes_retention_says() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", &[]);
    let foreign = Foreign::new(nodes, &guest.vmid);
    for way in WAYS {
        drs.run(&[&["backup", &guest.reference()], way].concat()).ok();
        for (number, file) in foreign.files.iter().enumerate() {
            let text = std::fs::read_to_string(file).expect("it is still there");
            assert_eq!(text, format!("day {}", number % 4 + 1));
        }
    }
    nodes.nothing_left(&[(DC, &guest.vmid)]);
}

/// `qmrestore -` gives up when no header comes in time, so it is started when that is in hand: here with a
/// second of patience and a source that needs far longer until its first byte.
#[test]
fn trap_05_the_restore_is_started_when_the_header_is_in_hand() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", &["--data", "100%"]);
    let vmid = nodes.fresh_vmid().to_string();
    let target = format!("{DRC}/{vmid}");
    drs.run(&["pair", "add", "web", "--source", &guest.reference(), "--target", &target]).ok();
    let _patience = nodes.set(DRC, "header-timeout", "1");
    drs.run(&["replicate", "web", "--limit", "2M"]).ok();
    drs.run(&["restore", "latest", "--pair", "web", "--replace", "stop-and-keep"]).ok();
    for vmid in nodes.vmids(DRC) {
        nodes.nothing_left(&[(DRC, &vmid)]);
        nodes.remove(DRC, &vmid);
    }
}

/// The storage fills up behind the plan: `qmrestore` fails and leaves an empty configuration.
#[test]
fn trap_06_the_stub_of_a_failed_restore_is_taken_away_and_its_number_is_free() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", &["--data", "100%"]);
    drs.run(&["backup", &guest.reference()]).ok();
    let latest = format!("latest:{}", guest.reference());
    for (way, point) in WAYS.into_iter().zip(["restore/plan/done", "restore/push/done"]) {
        let vmid = nodes.fresh_vmid().to_string();
        let to = format!("{DRC}/{vmid}");
        nodes.run(&["fill", DRC, "/srv/fast", "12"]);
        let args = ["restore", &latest, "--to", &to, "--storage", "scsi0=fast"];
        drs.crash(point, &[&args[..], way].concat());
        nodes.ssh(DRC, &["dd", "if=/dev/zero", "of=/srv/fast/hog", "bs=1M", "count=10"]);
        let job = drs.finish("failed", point);
        nodes.run(&["unfill", DRC, "/srv/fast"]);
        assert_eq!(drs.job(&job)["fault"]["code"], "host_full", "{}", drs.job(&job));
        assert_eq!(nodes.config(DRC, &vmid), None, "the number is free");
        nodes.nothing_left(&[(DRC, &vmid)]);
        drs.run(&["restore", &latest, "--to", &to]).ok();
        nodes.remove(DRC, &vmid);
    }
}

#[test]
fn trap_11_a_lock_of_somebody_elses_backup_stays() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", &["--data", "100%"]);
    let foreign = nodes.run(&["foreign", DC, &guest.vmid, "64"]);
    let fault = drs.waits(&["backup", &guest.reference()]);
    assert_eq!(fault["class"], "busy", "{fault}");
    nodes.ssh(DC, &["kill", "-9", foreign.trim()]);
    // What is left of it is not ours to take away.
    let fault = drs.waits(&["backup", &guest.reference()]);
    assert!(fault["message"].as_str().is_some_and(|it| it.contains("locked")), "{fault}");
    assert_eq!(nodes.entry(DC, &guest.vmid, "lock").as_deref(), Some("backup"));
    let left = std::fs::read_dir(nodes.file(DC, "/var/tmp/foreign")).expect("a folder");
    let dat = left.flatten().filter(|file| file.path().extension().is_some_and(|it| it == "dat"));
    assert_eq!(dat.count(), 1, "its file stays");
    nodes.ssh(DC, &["qm", "unlock", &guest.vmid]);
    nodes.ssh(DC, &["rm", "-r", "/var/tmp/foreign"]);
    drs.run(&["backup", &guest.reference()]).ok();
}

#[test]
fn trap_12_a_guest_under_high_availability_is_on_when_drs_says_so() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", &["--ha"]);
    let _slow = nodes.set(DC, "ha-delay", "2");
    drs.run(&["power", "start", &guest.reference()]).ok();
    assert!(nodes.runs(DC, &guest.vmid));
    drs.run(&["backup", &guest.reference()]).ok();
    drs.run(&["power", "stop", &guest.reference()]).ok();
    assert!(!nodes.runs(DC, &guest.vmid));
}

/// Archive names tell the node's local time in seconds: two dumps of one second would have one name.
#[test]
fn trap_13_dumps_of_one_second_on_a_node_of_another_time_zone_are_told_apart() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", &[]);
    nodes.run(&[
        "enter",
        DC,
        "sh",
        "-c",
        "echo Asia/Tokyo >/etc/timezone; ln -sfn /usr/share/zoneinfo/Asia/Tokyo /etc/localtime",
    ]);
    let jobs = [0, 1].map(|_| {
        drs.run(&["backup", &guest.reference(), "--staged"]).ok();
        drs.newest_job()
    });
    nodes.run(&["enter", DC, "rm", "-f", "/etc/timezone", "/etc/localtime"]);
    for job in jobs {
        let (record, point) = (drs.job(&job), drs.json(&["point", "show", &job]));
        // To the second, as archives tell it.
        let instant = |value: &serde_json::Value| -> String {
            value.as_str().unwrap_or_default().chars().take(19).collect()
        };
        let frozen = instant(&point["consistent_at"]);
        let (created, ended) = (instant(&record["created_at"]), instant(&record["updated_at"]));
        assert!(created <= frozen && frozen <= ended, "{frozen}: {record}");
    }
}
