//! qm: status, power, changes, destruction.

use std::fs;

use super::scratch::Scratch;

#[test]
fn lists_and_status() {
    let node = Scratch::new();
    fs::remove_file(node.file("etc/pve/nodes/pve1/qemu-server/130.conf")).expect("removed");
    let told = super::scratch::told("qm-list");
    node.switch_on(112);
    let ended = node.run(&["qm", "list"]);
    assert_eq!(ended.out(), told.stdout.replace(" 117       \n", " 1         \n"));
    node.holds("qm-config");
    node.holds("qm-status-running");
    node.holds("qm-suspend");
    node.holds("qm-status-paused");
    node.holds("qm-resume");
    node.holds("qm-stop");
    node.holds("qm-status-stopped");
    node.holds("qm-status-missing");
}

#[test]
fn power() {
    let node = Scratch::new();
    node.holds("qm-start");
    node.holds("qm-start-again");
    node.holds_as("qm-shutdown-timeout", &["qm", "shutdown", "112", "--timeout", "0"]);
    node.holds("qm-set-lock");
    node.holds("qm-stop-locked");
    node.holds("qm-unlock");
    node.holds("qm-stop");
    node.holds("qm-stop-again");
    let config = node.config(112);
    node.vm(112, &format!("{config}net0: virtio=BC:24:11:00:00:01,bridge=vmbr9\n"));
    let ended = node.run(&["qm", "start", "112"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (255, "bridge 'vmbr9' does not exist\n"));
}

#[test]
fn changes_and_refusals() {
    let node = Scratch::new();
    node.holds("qm-set");
    assert!(node.config(112).contains("name: web-112-dr\nonboot: 1\n"));
    node.holds("qm-snapshot-raw");
    node.holds("qm-migrate-same");
    node.switch_on(112);
    let config = node.config(112).replace("agent: 0", "agent: 1");
    node.vm(112, &config);
    node.holds("qm-agent-noagent");
    node.holds("qm-guest-fsfreeze");
}

#[test]
fn destruction() {
    let node = Scratch::new();
    node.holds("qm-destroy-missing");
    node.switch_on(112);
    node.holds("qm-destroy-running");
    node.run(&["qm", "stop", "112"]);
    let argv = ["qm", "destroy", "112", "--purge", "1", "--destroy-unreferenced-disks", "1"];
    let ended = node.run(&argv);
    assert_eq!(ended.out(), "purging VM 112 from related configurations..\n");
    assert!(!node.file("var/lib/vz/images/112").exists());
    assert!(!node.file("srv/nfs-dr/images/112").exists());
    assert_eq!(node.run(&["qm", "status", "112"]).code, 2);
}

#[test]
fn ha_answers_before_it_acts() {
    let node = Scratch::new();
    node.write("etc/pve/ha/resources.cfg", "vm: 112\n\tstate started\n");
    node.write("etc/drs-lab.cfg", "emulator: none\nha-delay: 0.5\n");
    let ended = node.run(&["qm", "start", "112"]);
    assert_eq!((ended.code, ended.out().as_str()), (0, "Requesting HA start for VM 112\n"));
    assert_eq!(node.run(&["qm", "status", "112"]).out(), "status: stopped\n");
    let mut polls = 0;
    while node.run(&["qm", "status", "112"]).out() != "status: running\n" {
        polls += 1;
        assert!(polls < 2000, "it starts in the end");
    }
}
