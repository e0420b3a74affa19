//! Two real libvirt hosts, VMs that write all the time, and a host that is lost.

use drs_tests::lab::{Guest, HOSTS, Lab, installation, last_number};
use drs_tests::product::{Installation, wait_for};

const DC: &str = HOSTS[0];
const DR: &str = HOSTS[1];

/// Pairs a guest with the recovery site, its bridge mapped to the one there.
fn pair(lab: &Lab, drs: &Installation, guest: &Guest) {
    let source = guest.reference();
    let mut args = vec!["pair", "add", &guest.name, "--source", &source, "--target", DR];
    if lab.value("LAYOUT") == "namespaces" {
        args.extend(["--network", "br-dr-a=br-dr-b"]);
    }
    drs.run(&args).ok();
}

#[test]
fn a_running_vm_is_backed_up_while_it_writes_and_boots_elsewhere_with_its_data() {
    let (lab, drs) = installation();
    let guest = lab.running("tick", 64);
    pair(lab, &drs, &guest);

    let before = guest.sequence(DC);
    drs.run(&["backup", &guest.name]).ok();
    let after = guest.sequence(DC);
    assert!(lab.leftovers(DC, &guest.name).is_empty(), "{:?}", lab.leftovers(DC, &guest.name));

    guest.destroy();
    drs.run(&["restore", "latest", "--pair", &guest.name, "--start"]).ok();
    let line = guest.marker_seen(DR);
    assert!(line.contains("boots=00000002"), "{line}");
    let held = last_number(&line);
    assert!((before..=after).contains(&held), "{held} is not within {before}..={after}");
    wait_for("the restored VM writes", || (guest.sequence(DR) > held).then_some(()));
}

#[test]
fn a_stopped_vm_is_backed_up_and_restored_beside_the_old_one() {
    let (lab, drs) = installation();
    let guest = lab.stopped("tick", 64);
    drs.run(&["backup", &guest.reference()]).ok();
    let point = &drs.json(&["point", "list"])[0];
    assert_eq!(point["consistency"], "off");

    let copy = format!("{}-copy", guest.name);
    let to = format!("{DC}/{copy}");
    let latest = format!("latest:{}", guest.reference());
    drs.run(&["restore", &latest, "--to", &to, "--start"]).ok();
    let line = guest.console(DC, &copy, &format!("@MARKER {}", guest.marker));
    assert!(line.contains("boots=00000001"), "{line}");
    drs_tests::lab::remove(lab, DC, &copy);
}

#[test]
fn a_guest_agent_freezes_the_file_systems_and_the_data_is_the_same_after_the_restore() {
    let (lab, drs) = installation();
    let guest = lab.running("lin", 256);
    pair(lab, &drs, &guest);
    let ask =
        |host: &str, text: &str, pattern: &str| lab.run(&["ask", host, &guest.name, text, pattern]);
    let wrote = ask(DC, "write 1 8", "@WROTE 1");
    wait_for("the guest agent answers", || {
        (!lab.ssh(DC, &["virsh", "-q", "domfsinfo", &guest.name]).is_empty()).then_some(())
    });
    drs.run(&["backup", &guest.name]).ok();
    assert_eq!(drs.json(&["point", "list"])[0]["consistency"], "file_system");

    guest.destroy();
    drs.run(&["restore", "latest", "--pair", &guest.name, "--start"]).ok();
    guest.console(DR, &guest.name, &format!("@MARKER {} boots=2 ", guest.marker));
    let sum = ask(DR, "sum 1", "@SUM 1");
    assert_eq!(sum.split("@SUM").nth(1), wrote.split("@WROTE").nth(1));
    ask(DR, "fsck", "@FSCK errors=0");
}

#[test]
fn jobs_submitted_to_a_server_are_done_by_it_and_can_be_watched_and_cancelled() {
    let (lab, drs) = installation();
    let guest = lab.running("tick", 64);
    let server = drs.serve();
    let first = drs.json(&["backup", &guest.reference(), "--detach", "--key", "night-1"]);
    let id = first["id"].as_str().expect("an id").to_owned();
    let again = drs.json(&["backup", &guest.reference(), "--detach", "--key", "night-1"]);
    assert_eq!(again["id"], first["id"], "the same key is the same job");
    assert_eq!(drs.settled(&id), "succeeded");
    assert!(drs.run(&["job", "log", &id]).ok().stdout.contains("recovery point"));
    drs.run(&["point", "verify", &id]).ok();
    let late = drs.run(&["job", "cancel", &id]).ok();
    assert!(late.stdout.contains("over already"), "{}", late.stdout);
    server.terminate();
}
