//! Taking the place of a counterpart on a Proxmox node, and leaving it alone when that fails.

use drs_tests::nodes::{BOOTED, DC, DRC, Nodes, Vm, installation};
use drs_tests::product::Installation;

/// A pair with a counterpart in the recovery centre.
struct Pair {
    guest: Vm,
    drs: Installation,
    nodes: &'static Nodes,
    /// The counterpart's number.
    old: String,
}

impl Pair {
    fn new(nodes: &'static Nodes, drs: Installation, running: bool) -> Self {
        let guest = nodes.guest("boot", &[]);
        let old = nodes.fresh_vmid().to_string();
        let (source, target) = (guest.reference(), format!("{DRC}/{old}"));
        let network = ["--network", "vmbr0=vmbr1"];
        let add = ["pair", "add", "web", "--source", &source, "--target", &target];
        drs.run(&[&add[..], &network].concat()).ok();
        drs.run(&["backup", "web"]).ok();
        let start: &[&str] = if running { &["--start"] } else { &[] };
        drs.run(&[&["restore", "latest", "--pair", "web"], start].concat()).ok();
        Self { guest, drs, nodes, old }
    }

    /// The guests of the recovery centre that are not in `before`.
    fn new_one(&self, before: &std::collections::BTreeSet<String>) -> String {
        let now = self.nodes.vmids(DRC);
        let new: Vec<&String> = now.difference(before).collect();
        assert_eq!(new.len(), 1, "one guest is new: {new:?}");
        new[0].clone()
    }

    /// The number of the counterpart that the pair names.
    fn counterpart(&self) -> String {
        let pair = &self.drs.json(&["pair", "list"])[0];
        pair["target_name"].as_str().expect("a number").to_owned()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.nodes.remove(DRC, &self.old);
    }
}

#[test]
fn a_counterpart_is_kept_put_aside_or_destroyed_as_the_policy_says() {
    for running in [true, false] {
        for policy in ["keep", "stop-and-keep", "destroy-after-proof"] {
            let (nodes, drs, _turn) = installation();
            let pair = Pair::new(nodes, drs, running);
            let (before, config) = (nodes.vmids(DRC), nodes.lines(DRC, &pair.old));
            let args = ["restore", "latest", "--pair", "web", "--start", "--replace", policy];
            pair.drs.run(&args).ok();

            let new = pair.new_one(&before);
            nodes.console(DRC, &new, BOOTED);
            assert!(nodes.runs(DRC, &new), "{policy}");
            match policy {
                "destroy-after-proof" => assert_eq!(nodes.config(DRC, &pair.old), None),
                _ => assert_eq!(nodes.lines(DRC, &pair.old), config, "{policy}"),
            }
            let still = running && policy == "keep";
            assert_eq!(nodes.config(DRC, &pair.old).is_some() && nodes.runs(DRC, &pair.old), still);
            let named = if policy == "keep" { &pair.old } else { &new };
            assert_eq!(&pair.counterpart(), named);
            nodes.nothing_left(&[(DC, &pair.guest.vmid), (DRC, &pair.old), (DRC, &new)]);
            nodes.remove(DRC, &new);
        }
    }
}

/// A bridge of the recovery centre that is gone while this lives.
struct NoBridge(&'static Nodes);

impl NoBridge {
    fn new(nodes: &'static Nodes) -> Self {
        nodes.run(&["enter", DRC, "sed", "-i", "s/vmbr1/vmbr9/", "/etc/network/interfaces"]);
        Self(nodes)
    }
}

impl Drop for NoBridge {
    fn drop(&mut self) {
        self.0.run(&["enter", DRC, "sed", "-i", "s/vmbr9/vmbr1/", "/etc/network/interfaces"]);
    }
}

/// Waits until the newest job was undone and is to be tried again, cancels it, and tells why it failed.
fn undone_and_cancelled(drs: &Installation) -> String {
    let job = drs.newest_job();
    let server = drs.serve();
    let why = drs_tests::product::wait_for("the job is undone", || {
        let job = drs.job(&job);
        let waits = matches!(job["state"].as_str(), Some("retry_wait" | "failed"));
        (waits && !job["fault"].is_null()).then(|| job["fault"].to_string())
    });
    drs.run(&["job", "cancel", &job]);
    drs.settled(&job);
    server.terminate();
    why
}

/// The new VM cannot start: its bridge went while it was made. The old one ran, and runs again.
#[test]
fn a_new_vm_that_does_not_start_leaves_the_old_one_as_it_was() {
    let (nodes, drs, _turn) = installation();
    let pair = Pair::new(nodes, drs, true);
    nodes.run(&[
        "ssh",
        DRC,
        "qm",
        "set",
        &pair.old,
        "--net0",
        "virtio=BC:24:11:FF:00:01,bridge=vmbr0",
    ]);
    let (before, config) = (nodes.vmids(DRC), nodes.lines(DRC, &pair.old));
    let args =
        ["restore", "latest", "--pair", "web", "--start", "--replace", "destroy-after-proof"];
    pair.drs.crash("restore/define/done", &args);
    let gone = NoBridge::new(nodes);
    let why = undone_and_cancelled(&pair.drs);
    drop(gone);
    assert!(why.contains("bridge 'vmbr1' does not exist"), "{why}");
    assert_eq!(nodes.vmids(DRC), before, "the new VM is gone, the old one there");
    assert_eq!(nodes.lines(DRC, &pair.old), config);
    assert!(nodes.runs(DRC, &pair.old), "it runs again");
    assert_eq!(pair.counterpart(), pair.old);
    nodes.nothing_left(&[(DC, &pair.guest.vmid), (DRC, &pair.old)]);
}

/// The disks of the old VM are its own while the new one is made: nothing is written in place.
#[test]
fn trap_07_the_old_disks_stay_until_the_new_ones_are_proven() {
    let (nodes, drs, _turn) = installation();
    let pair = Pair::new(nodes, drs, true);
    let disk = nodes.volume(DRC, &pair.old, "scsi0");
    let bytes = std::fs::read(&disk).expect("an image");
    for point in ["restore/copy/midway", "restore/define/done", "restore/aside/planned"] {
        let args =
            ["restore", "latest", "--pair", "web", "--start", "--replace", "destroy-after-proof"];
        pair.drs.crash(point, &args);
        assert!(nodes.runs(DRC, &pair.old), "{point}: it runs");
        assert!(std::fs::read(&disk).expect("an image") == bytes, "{point}: its disk is untouched");
        let job = pair.drs.newest_job();
        pair.drs.run(&["job", "cancel", &job]).ok();
        pair.drs.finish("cancelled", point);
        assert!(nodes.runs(DRC, &pair.old), "{point}: it runs still");
    }
    nodes.nothing_left(&[(DRC, &pair.old)]);
}
