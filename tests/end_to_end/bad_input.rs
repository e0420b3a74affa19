//! Hostile and tired input on real hosts: what, why, what to do; and nothing lost.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use drs_tests::lab::{HOSTS, Lab, installation, remove};
use drs_tests::product::{Installation, binary};

const DC: &str = HOSTS[0];
const DR: &str = HOSTS[1];

/// The arguments of `host add` for `dr-a` with another address, key or fingerprint.
fn host_add<'a>(
    name: &'a str,
    address: &'a str,
    key: &'a str,
    fingerprint: &'a str,
) -> Vec<&'a str> {
    vec![
        "host",
        "add",
        name,
        "--site",
        "dc",
        "--address",
        address,
        "--key",
        key,
        "--accept-key",
        fingerprint,
    ]
}

/// Every data file of the vault of an installation.
fn vault_streams(drs: &Installation) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.metadata().expect("a file").len() > 100
                && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("disk"))
                && path.extension().is_none_or(|extension| extension != "json")
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&drs.path().join("vault/points"), &mut found);
    found
}

#[test]
fn what_does_not_exist_is_named_with_what_does() {
    let (_, drs) = installation();
    drs.run(&["backup", "nowhere/web"]).fails(3, &["host nowhere", "drs host list"]);
    drs.run(&["backup", "dr-a/no-such-vm"]).fails(3, &["no VM dr-a/no-such-vm", "drs vm list"]);
    let missing = "01a20000-0000-7000-8000-000000000000";
    drs.run(&["restore", missing, "--to", DR]).fails(3, &[missing, "drs point list"]);
    assert_eq!(drs.json(&["job", "list"]).as_array().map(Vec::len), Some(0), "nothing submitted");
}

#[test]
fn hostile_names_reach_no_host() {
    let (lab, drs) = installation();
    for name in ["a;touch /tmp/x", "../../etc", "$(reboot)", "-rf", "a\nb", "x' 'y"] {
        let subject = format!("{DC}/{name}");
        drs.run(&["backup", &subject]).fails(2, &["not a valid VM name"]);
        drs.run(&["vm", "show", &subject]).fails(2, &["not a valid VM name"]);
    }
    assert_eq!(lab.ssh(DC, &["ls", "/tmp/x"]), "");
}

#[test]
fn a_host_that_cannot_be_used_is_refused_with_the_reason() {
    let lab = Lab::get();
    let drs = Installation::new();
    let (address, key) = (lab.of_host("ADDR", DC), lab.value("KEY_FILE"));
    let fingerprint = lab.of_host("FINGERPRINT", DC);
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    let nobody_there = address.replace(":22", ":9").replace(".11", ".99");
    drs.run(&host_add("h", &nobody_there, key, fingerprint)).fails(5, &["cannot be reached"]);
    drs.run(&host_add("h", address, key, other)).fails(6, &["CHANGED", fingerprint]);

    let keys = tempfile::tempdir().expect("a directory");
    let stranger = keys.path().join("stranger").display().to_string();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", &stranger])
        .status()
        .expect("ssh-keygen runs");
    assert!(made.success());
    drs.run(&host_add("h", address, &stranger, fingerprint)).fails(6, &["refused the login"]);
    drs.run(&host_add("h", address, "/no/such/key", fingerprint)).fails(6, &["/no/such/key"]);
    assert_eq!(drs.json(&["host", "list"]).as_array().map(Vec::len), Some(0), "none was added");
}

#[test]
fn a_login_without_rights_on_libvirt_is_told_so() {
    let lab = Lab::get();
    if lab.value("LAYOUT") != "namespaces" {
        // Every login of the session layout owns its libvirt: there is nobody without rights.
        return;
    }
    let drs = Installation::new();
    lab.run(&[
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
    let address = lab.of_host("ADDR", DC).replace("root@", "guest@");
    let add = host_add("h", &address, lab.value("KEY_FILE"), lab.of_host("FINGERPRINT", DC));
    let refused = drs.run(&add);
    lab.run(&["enter", DC, "userdel", "--force", "--remove", "guest"]);
    refused.fails(6, &["does not allow", "group libvirt"]);
}

#[test]
fn a_vm_that_is_there_is_never_overwritten() {
    let (lab, drs) = installation();
    let guest = lab.running("tick", 16);
    drs.run(&["backup", &guest.reference()]).ok();
    let latest = format!("latest:{}", guest.reference());
    drs.run(&["restore", &latest, "--to", DC]).fails(4, &[&guest.name, "--as NAME"]);
    assert_eq!(lab.ssh(DC, &["virsh", "-q", "domstate", &guest.name]).trim(), "running");
}

#[test]
fn what_libvirt_cannot_do_is_refused_before_anything_is_done() {
    let (lab, drs) = installation();
    let guest = lab.stopped("tick", 16);
    drs.run(&["backup", &guest.reference(), "--staged"])
        .fails(6, &["cannot be staged", "--staged"]);
    drs.run(&["host", "edit", DC, "--images", "local-lvm"]).fails(2, &["into a folder"]);
    drs.run(&["host", "edit", DC, "--dump-dir", "/srv/dump"]).fails(2, &["cannot be staged"]);
    assert_eq!(drs.json(&["job", "list"]).as_array().map(Vec::len), Some(0), "nothing submitted");
}

#[test]
fn a_damaged_point_is_found_and_not_restored() {
    let (lab, drs) = installation();
    let guest = lab.stopped("tick", 16);
    drs.run(&["backup", &guest.reference()]).ok();
    let streams = vault_streams(&drs);
    assert_eq!(streams.len(), 1, "{streams:?}");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&streams[0]).expect("open");
    let middle = file.metadata().expect("a size").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("read");
    file.write_all_at(&[byte[0] ^ 0x40], middle).expect("written");

    let copy = format!("{}-damaged", guest.name);
    let latest = format!("latest:{}", guest.reference());
    let to = format!("{DC}/{copy}");
    drs.run(&["restore", &latest, "--to", &to]).fails(11, &["damaged", "Do not trust"]);
    let point = drs.json(&["point", "list"])[0]["id"].as_str().expect("an id").to_owned();
    drs.run(&["point", "verify", &point]).fails(11, &["damaged"]);
    let defined = lab.ssh(DC, &["virsh", "-q", "list", "--all", "--name"]);
    assert!(!defined.contains(&copy), "{defined}");
    let job = drs.json(&["job", "list"])[1]["id"].as_str().expect("an id").to_owned();
    assert_eq!(lab.leavings_of_job(DC, &job), Vec::<String>::new());

    file.set_len(middle).expect("truncated");
    drs.run(&["point", "verify", &point]).fails(11, &["damaged"]);
}

/// Fills a small file system while the job is dead, restarts it, and empties it again.
#[test]
fn a_host_disk_that_fills_up_half_way_fails_the_restore_and_leaves_nothing() {
    let lab = Lab::get();
    if lab.value("LAYOUT") != "namespaces" {
        // An ordinary user cannot mount the small file system that this needs.
        return;
    }
    let (lab, drs) = installation();
    let guest = lab.running("lin", 64);
    lab.run(&["ask", DC, &guest.name, "write 1 12", "@WROTE 1"]);
    drs.run(&["backup", &guest.reference()]).ok();
    let small = format!("{}/small", lab.of_host("IMAGES", DR));
    lab.run(&["enter", DR, "mkdir", "-p", &small]);
    lab.run(&["enter", DR, "mount", "-t", "tmpfs", "-o", "size=40m", "small", &small]);

    let latest = format!("latest:{}", guest.reference());
    let (to, storage) = (format!("{DR}/{}-full", guest.name), format!("vda={small}"));
    let args =
        ["restore", &latest, "--to", &to, "--storage", &storage, "--network", "br-dr-a=br-dr-b"];
    drs.crash("restore/allocate/done", &args);
    let job = drs.json(&["job", "list"])[0]["id"].as_str().expect("an id").to_owned();
    let hog = format!("of={small}/hog");
    lab.ssh(DR, &["dd", "if=/dev/zero", &hog, "bs=1M", "count=36"]);
    let server = drs.serve();
    assert_eq!(drs.settled(&job), "failed");
    server.terminate();
    let record = drs.job(&job);
    assert_eq!(record["fault"]["code"], "host_full", "{record}");
    let left = lab.ssh(DR, &["ls", "-A", &small]);
    lab.run(&["enter", DR, "umount", &small]);
    lab.run(&["enter", DR, "rmdir", &small]);
    assert_eq!(left.trim(), "hog", "only what was not ours is left");
    assert_eq!(lab.leavings_of_job(DR, &job), Vec::<String>::new());
    remove(lab, DR, &format!("{}-full", guest.name));
}

/// A script because the vault's small file system lives in a mount namespace of its own.
const FULL_VAULT: &str = r#"
set -eu
drs=$1 dir=$2 address=$3 key=$4 fingerprint=$5 vm=$6
mkdir "$dir/vault"
mount -t tmpfs -o size=6m small "$dir/vault"
"$drs" --data-dir "$dir/data" init --vault "$dir/vault/v" >/dev/null
"$drs" --data-dir "$dir/data" host add dr-a --site dc --address "$address" --key "$key" --accept-key "$fingerprint" >/dev/null
code=0
"$drs" --data-dir "$dir/data" backup "$vm" || code=$?
echo "code $code"
echo "points $("$drs" --data-dir "$dir/data" --json point list)"
find "$dir/vault/v/unfinished" -type f
"#;

#[test]
fn a_vault_that_fills_up_half_way_fails_the_backup_and_leaves_nothing() {
    let lab = Lab::get();
    let guest = lab.running("lin", 64);
    lab.run(&["ask", DC, &guest.name, "write 1 12", "@WROTE 1"]);
    let dir = tempfile::tempdir().expect("a directory");
    let output = Command::new("unshare")
        // Root may mount as it is; anybody else may in a user namespace.
        .args(["--map-root-user"].iter().filter(|_| !rustix::process::geteuid().is_root()))
        .args(["--mount", "sh", "-c", FULL_VAULT, "sh"])
        .arg(binary())
        .arg(dir.path())
        .args([lab.of_host("ADDR", DC), lab.value("KEY_FILE"), lab.of_host("FINGERPRINT", DC)])
        .arg(guest.reference())
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("code 12"), "{stdout}\n{stderr}");
    assert!(stderr.contains("is full") && stderr.contains("drs point remove"), "{stderr}");
    assert!(stdout.trim_end().ends_with("points []"), "a half point or leavings: {stdout}");
    assert_eq!(lab.leftovers(DC, &guest.name), Vec::<String>::new());
}
