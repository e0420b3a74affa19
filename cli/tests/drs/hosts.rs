//! Hosts: what is refused over a real SSH server, and that nothing is added then.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::bench::{Bench, local, until};

/// An SSH server of this test on a free port.
struct Sshd {
    folder: PathBuf,
    port: u16,
    server: Child,
}

impl Sshd {
    fn start(bench: &Bench) -> Self {
        let folder = bench.folder().join("sshd");
        fs::create_dir(&folder).expect("a folder");
        ["hostkey", "id", "stranger"].iter().for_each(|key| new_key(&folder.join(key)));
        fs::copy(folder.join("id.pub"), folder.join("authorized_keys")).expect("a copy");
        let port = free_port();
        let d = folder.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {d}/hostkey\nPidFile none\n\
             AuthorizedKeysFile {d}/authorized_keys\nStrictModes no\nUsePAM no\n"
        );
        fs::write(folder.join("config"), config).expect("a file");
        // Only a server of root needs it, and root can make it.
        drop(fs::create_dir_all("/run/sshd"));
        let log = fs::File::create(folder.join("log")).expect("a file");
        let mut server = local("/usr/sbin/sshd");
        server.args(["-D", "-e", "-f"]).arg(folder.join("config")).stderr(log);
        let server = server.stdin(Stdio::null()).spawn().expect("sshd starts");
        until("sshd", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { folder, port, server }
    }

    /// The words that add it, but for the key to accept.
    fn add(&self, key: &str) -> String {
        let user = local("id").arg("-un").output().expect("id runs").stdout;
        let user = String::from_utf8(user).expect("text");
        let (port, key) = (self.port, self.folder.join(key));
        let address = format!("{}@127.0.0.1:{port}", user.trim());
        format!("host add dc1 --address {address} --site dc --key {}", key.display())
    }

    fn fingerprint(&self, key: &str) -> String {
        let public = self.folder.join(key).with_extension("pub");
        let told = local("ssh-keygen").arg("-lf").arg(public).output().expect("ssh-keygen runs");
        let told = String::from_utf8(told.stdout).expect("text");
        told.split_whitespace().nth(1).expect("a fingerprint").to_owned()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

fn new_key(path: &Path) {
    let made = local("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.expect("ssh-keygen runs").success());
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn hosts(bench: &Bench) -> Option<usize> {
    bench.json("host list").as_array().map(Vec::len)
}

#[test]
fn an_unknown_key_is_refused_with_the_command_that_accepts_it() {
    let bench = Bench::bare();
    bench.ok("init");
    let sshd = Sshd::start(&bench);
    let told = bench.fails(&sshd.add("id"), 6, "host_key_unknown");
    let command = format!(
        "drs --data-dir {} {} --accept-key {}",
        bench.data_dir().display(),
        sshd.add("id"),
        sshd.fingerprint("hostkey")
    );
    assert!(told.contains(&format!("if it is the same: {command}\n")), "{command}\n{told}");
    assert!(told.contains("the host was not added"), "{told}");
    assert_eq!(hosts(&bench), Some(0));

    // Whether this machine has virsh does not matter here: its key is no obstacle any more.
    let (_, said) = command.split_once(&*bench.data_dir().to_string_lossy()).expect("the path");
    let accepted = bench.run(said.trim());
    assert!(!accepted.stderr.contains("host_key"), "{}", accepted.stderr);
}

#[test]
fn another_key_than_the_accepted_one_and_a_refused_login_are_6() {
    let bench = Bench::bare();
    bench.ok("init");
    let sshd = Sshd::start(&bench);
    let (right, wrong) = (sshd.fingerprint("hostkey"), sshd.fingerprint("stranger"));
    let told =
        bench.fails(&format!("{} --accept-key {wrong}", sshd.add("id")), 6, "host_key_changed");
    assert!(told.contains(&right), "{told}");
    let stranger = format!("{} --accept-key {right}", sshd.add("stranger"));
    bench.fails(&stranger, 6, "authentication_failed");
    assert_eq!(hosts(&bench), Some(0));
}

#[test]
fn a_host_that_does_not_answer_is_5_and_is_not_added() {
    let bench = Bench::bare();
    bench.ok("init");
    new_key(&bench.folder().join("id"));
    let key = bench.folder().join("id");
    let add = |address: &str| {
        format!("host add dc1 --address {address} --site dc --key {}", key.display())
    };
    let told = bench.fails(&add(&format!("root@127.0.0.1:{}", free_port())), 5, "host_unreachable");
    assert!(told.contains("host dc1 (root@127.0.0.1:"), "{told}");
    bench.fails(&add("root@127.0.0.1:x"), 2, "invalid_input");
    bench.fails("host add dc1 --driver simulated --address vms=x --site dc", 2, "invalid_input");
    assert_eq!(hosts(&bench), Some(0));
}

#[test]
fn how_a_host_and_a_site_are_used_can_be_changed() {
    let bench = Bench::new("vms=1,backup_ms=100");
    let host = |bench: &Bench| bench.json("host list")[0].clone();
    let before = host(&bench);
    bench.ok("host edit lab --bandwidth 50M --slots 4");
    let edited = host(&bench);
    assert_eq!((&edited["slots"], &edited["bytes_per_second"]), (&4.into(), &(50 << 20).into()));
    assert_eq!(edited["address"], before["address"], "what is not named stays");
    assert!(bench.ok("host list").stdout.contains("50.0 MiB/s"));
    bench.ok("backup lab/vm-001");
    bench.ok("host edit lab --bandwidth none --slots 2");
    assert_eq!(host(&bench), before);
    bench.ok("host edit lab --address vms=3");
    assert_eq!(bench.json("vm list lab").as_array().map(Vec::len), Some(3));
    bench.fails("host edit lab --address vms=x", 2, "invalid_input");
    bench.fails("host edit lab", 2, "invalid_input");
    bench.fails("host edit nowhere --slots 1", 3, "host_not_found");
    bench.fails("host edit lab --dump-dir /srv/dump", 2, "invalid_input");

    bench.ok("site edit dc --bandwidth 100M");
    let told = bench.fails("site edit dcx --bandwidth 1G", 3, "site_not_found");
    assert!(told.contains("Did you mean dc?"), "{told}");
    let sites = bench.json("site list");
    let limit = |at: usize| (sites[at]["name"].clone(), sites[at]["bytes_per_second"].clone());
    assert_eq!(limit(0), ("dc".into(), (100 << 20).into()));
    assert_eq!(limit(1), ("rc".into(), serde_json::Value::Null));
    assert_eq!(sites.as_array().map(Vec::len), Some(2), "a slip of the keyboard makes no site");
    bench.ok("site edit dc --bandwidth none");
    assert_eq!(bench.json("site list")[0]["bytes_per_second"], serde_json::Value::Null);
}

#[test]
fn disks_go_where_the_driver_can_put_them() {
    let bench = Bench::bare();
    bench.ok("init");
    new_key(&bench.folder().join("id"));
    let key = bench.folder().join("id");
    let add = |rest: &str| {
        format!("host add h --address 127.0.0.1:1 --site dc --key {} {rest}", key.display())
    };
    let told = bench.fails(&add("--driver proxmox --images /srv/images"), 2, "invalid_input");
    assert!(told.contains("into a storage, not a folder") && told.contains("local-lvm"), "{told}");
    let told = bench.fails(&add("--images local-lvm"), 2, "invalid_input");
    assert!(told.contains("/var/lib/libvirt/images"), "{told}");
    let told = bench.fails(&add("--dump-dir /srv/dump"), 2, "invalid_input");
    assert!(told.contains("libvirt hosts cannot be staged"), "{told}");
    assert_eq!(hosts(&bench), Some(0));
}

#[test]
fn the_command_that_accepts_a_key_names_every_option() {
    let bench = Bench::bare();
    bench.ok("init");
    let sshd = Sshd::start(&bench);
    let options =
        "--images local-lvm --driver proxmox --dump-dir /srv/dump --bandwidth 52428800 --slots 5";
    let told = bench.fails(&format!("{} {options}", sshd.add("id")), 6, "host_key_unknown");
    let command =
        format!("{} {options} --accept-key {}", sshd.add("id"), sshd.fingerprint("hostkey"));
    assert!(told.contains(&command), "{command}\n{told}");
}
