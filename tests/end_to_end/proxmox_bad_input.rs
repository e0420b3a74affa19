//! Hostile and tired input on Proxmox nodes: what, why, what to do; and nothing changed.

use drs_tests::nodes::{DC, DRC, WAYS, installation};
use drs_tests::product::Installation;

#[test]
fn trap_02_a_guest_of_another_node_is_named_with_its_node_and_nothing_is_tried() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", &["--on", "pve9"]);
    for way in WAYS {
        drs.run(&[&["backup", &guest.reference()], way].concat())
            .fails(3, &["pve9", "drs host add"]);
    }
    drs.run(&["power", "start", &guest.reference()]).fails(3, &["pve9"]);
    assert_eq!(drs.json(&["point", "list"]).as_array().map(Vec::len), Some(0));
    let images = format!("/var/lib/vz/images/{}", guest.vmid);
    nodes.run(&["enter", DC, "rm", "-r", "/etc/pve/nodes/pve9", &images]);
}

#[test]
fn a_guest_that_cannot_be_backed_up_is_refused_with_the_reason() {
    let (nodes, drs, _turn) = installation();
    let locked = nodes.guest("boot", &[]);
    nodes.run(&["enter", DC, "qm", "set", &locked.vmid, "--lock", "migrate"]);
    for way in WAYS {
        let fault = drs.waits(&[&["backup", &locked.reference()], way].concat());
        assert_eq!(fault["class"], "busy", "{fault}");
        assert!(fault["message"].as_str().is_some_and(|it| it.contains("(migrate)")), "{fault}");
    }
    nodes.run(&["enter", DC, "qm", "unlock", &locked.vmid]);
    let diskless = nodes.guest("diskless", &[]);
    drs.run(&["backup", &diskless.reference()]).fails(2, &["no disk", "drs vm show"]);
    drs.run(&["backup", "dc/999999"]).fails(3, &["no VM dc/999999", "drs vm list"]);
}

#[test]
fn a_label_is_no_vmid_and_the_right_one_is_told() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", &["--name", "shop"]);
    drs.run(&["backup", "dc/shop"]).fails(3, &["no VM dc/shop", &guest.vmid]);
    drs.run(&["backup", &guest.reference()]).ok();
    let latest = format!("latest:{}", guest.reference());
    for name in ["shop", "99", "1000000000", "0112"] {
        let to = format!("{DRC}/{name}");
        drs.run(&["restore", &latest, "--to", &to]).fails(2, &["VMID", "is free"]);
    }
    for name in ["-1", "$(reboot)", "../100", "a\nb"] {
        drs.run(&["backup", &format!("{DC}/{name}")]).fails(2, &["not a valid VM name"]);
    }
}

#[test]
fn a_target_that_cannot_take_it_is_refused_before_anything_is_made() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", &[]);
    drs.run(&["backup", &guest.reference()]).ok();
    let latest = format!("latest:{}", guest.reference());
    let vmid = nodes.fresh_vmid().to_string();
    let to = format!("{DRC}/{vmid}");
    let before = nodes.vmids(DRC);
    for way in WAYS {
        let refused = |options: &[&str], code, words: &[&str]| {
            let args = [&["restore", &latest, "--to", &to], options, way].concat();
            drs.run(&args).fails(code, words);
        };
        refused(&["--storage", "scsi0=nope"], 2, &["no storage nope", "local"]);
        refused(&["--storage", "scsi0=nfs-backup"], 2, &["may not hold"]);
        refused(&["--network", "vmbr0=vmbr7"], 2, &["vmbr7", "vmbr0, vmbr1"]);
    }
    let taken = guest.reference();
    drs.run(&["restore", &latest, "--to", &taken]).fails(4, &[&guest.vmid, "already"]);
    assert_eq!(nodes.vmids(DRC), before);
    nodes.nothing_left(&[(DC, &guest.vmid), (DRC, &vmid)]);
}

#[test]
fn a_template_is_restored_as_one_and_cannot_be_started() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("template", &[]);
    for way in WAYS {
        drs.run(&[&["backup", &guest.reference()], way].concat()).ok();
        let vmid = nodes.fresh_vmid().to_string();
        let to = format!("{DRC}/{vmid}");
        let latest = format!("latest:{}", guest.reference());
        drs.run(&[&["restore", &latest, "--to", &to], way].concat()).ok();
        drs.run(&["power", "start", &to]).fails(7, &["template"]);
        nodes.nothing_left(&[(DC, &guest.vmid), (DRC, &vmid)]);
        nodes.remove(DRC, &vmid);
    }
}

#[test]
fn an_agent_that_is_configured_and_silent_is_a_warning() {
    let (nodes, drs, _turn) = installation();
    let guest = nodes.guest("boot", &["--agent"]);
    guest.start();
    for way in WAYS {
        let told = drs.run(&[&["backup", &guest.reference()], way].concat()).ok();
        let told = format!("{}{}", told.stdout, told.stderr);
        assert!(told.contains("were not frozen"), "{told}");
        assert_eq!(drs.json(&["point", "list"])[0]["consistency"], "crash");
    }
}

#[test]
fn a_login_other_than_root_is_told_so() {
    let (nodes, _, _turn) = installation();
    let drs = Installation::new();
    nodes.run(&[
        "enter",
        DC,
        "useradd",
        "--password",
        "*",
        "--create-home",
        "--home-dir",
        "/var/guest",
        "--shell",
        "/bin/sh",
        "guest",
    ]);
    let address = nodes.of_node("ADDR", DC).replace("root@", "guest@");
    let refused = drs.run(&[
        "host",
        "add",
        "dc",
        "--driver",
        "proxmox",
        "--site",
        "dc",
        "--address",
        &address,
        "--key",
        nodes.value("KEY_FILE"),
        "--accept-key",
        nodes.of_node("FINGERPRINT", DC),
    ]);
    nodes.run(&["enter", DC, "userdel", "--remove", "guest"]);
    refused.fails(6, &["root"]);
    assert_eq!(drs.json(&["host", "list"]).as_array().map(Vec::len), Some(0));
}
