//! The lab of two real libvirt hosts, as `make test` brings it up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::product::Installation;

/// A fresh installation that knows both hosts of the lab.
#[track_caller]
pub fn installation() -> (&'static Lab, Installation) {
    let lab = Lab::get();
    let drs = Installation::new();
    for (host, site) in HOSTS.into_iter().zip(["dc", "dr"]) {
        lab.add_host(&drs, host, site);
    }
    (lab, drs)
}

/// What a lab's `lab.env` says.
pub(crate) fn environment(dir: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(dir.join("lab.env")).expect("lab.env");
    let entry = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
    };
    text.lines().filter_map(entry).collect()
}

/// Two libvirt hosts: `dr-a`, the protected site, and `dr-b`, the recovery site.
pub struct Lab {
    env: BTreeMap<String, String>,
    program: PathBuf,
}

/// The lab's hosts.
pub const HOSTS: [&str; 2] = ["dr-a", "dr-b"];

impl Lab {
    /// The lab of this test run. `make test` starts it; without it these tests cannot run, and say so.
    pub fn get() -> &'static Self {
        static LAB: OnceLock<Lab> = OnceLock::new();
        LAB.get_or_init(|| {
            let dir = std::env::var("DRS_LAB")
                .expect("these tests need the lab of two libvirt hosts: run them with `make test`");
            let env = environment(Path::new(&dir));
            let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/libvirt/lab");
            Self { env, program }
        })
    }

    /// A value of `lab.env`.
    #[track_caller]
    pub fn value(&self, key: &str) -> &str {
        self.env.get(key).unwrap_or_else(|| panic!("{key} is not in lab.env"))
    }

    /// A value of `lab.env` of one host: `ADDR`, `FINGERPRINT` or `IMAGES`.
    pub fn of_host(&self, key: &str, host: &str) -> &str {
        let letter = if host == HOSTS[0] { "A" } else { "B" };
        self.value(&format!("{key}_{letter}"))
    }

    /// Runs a command of the lab to its end; it must end well.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("the lab's program runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "lab {args:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A command of the lab, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs a command on a host and returns what it printed, whatever its exit code.
    pub fn ssh(&self, host: &str, argv: &[&str]) -> String {
        let mut args = vec!["ssh", host];
        args.extend(argv);
        let output = self.command(&args).output().expect("the lab's program runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Adds one host to an installation.
    #[track_caller]
    pub fn add_host(&self, drs: &Installation, host: &str, site: &str) {
        let (address, key) = (self.of_host("ADDR", host), self.value("KEY_FILE"));
        let (images, fingerprint) =
            (self.of_host("IMAGES", host), self.of_host("FINGERPRINT", host));
        drs.run(&[
            "host",
            "add",
            host,
            "--site",
            site,
            "--address",
            address,
            "--key",
            key,
            "--images",
            images,
            "--accept-key",
            fingerprint,
        ])
        .ok();
    }

    /// A new guest, running, whose marker was seen on its console.
    #[track_caller]
    pub fn running(&'static self, kind: &str, mib: u32) -> Guest {
        let guest = self.stopped(kind, mib);
        self.run(&["ssh", HOSTS[0], "virsh", "-q", "start", &guest.name]);
        guest.marker_seen(HOSTS[0]);
        guest
    }

    /// A new guest on `dr-a`, shut off.
    #[track_caller]
    pub fn stopped(&'static self, kind: &str, mib: u32) -> Guest {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{kind}{number}-{}", std::process::id());
        let marker = format!("m{number}-{}", std::process::id());
        self.run(&["guest", HOSTS[0], kind, &name, &marker, &mib.to_string()]);
        Guest { lab: self, name, marker }
    }

    /// Everything that DR Switch may have left for a VM on a host; empty when the host is as it was.
    pub fn leftovers(&self, host: &str, vm: &str) -> Vec<String> {
        let mut left = Vec::new();
        let state = self.ssh(host, &["virsh", "-q", "domstate", vm]);
        if state.contains("paused") {
            left.push(format!("{vm} is paused"));
        }
        let job = self.ssh(host, &["virsh", "domjobinfo", vm]);
        if job.contains("Backup") {
            left.push(format!("{vm} has a backup job"));
        }
        let images = self.of_host("IMAGES", host);
        // Scratch files bear the VM's uuid; other tests have theirs in the same folder.
        let uuid = self.ssh(host, &["virsh", "-q", "domuuid", vm]);
        let uuid = uuid.trim();
        let of_vm = |file: &str| file.contains(vm) || !uuid.is_empty() && file.contains(uuid);
        for file in self.ssh(host, &["ls", "-A", images]).lines() {
            if file.contains("drs-") && of_vm(file) {
                left.push(format!("{images}/{file}"));
            }
        }
        left
    }

    /// Files and processes of DR Switch on a host that belong to a job.
    pub fn leavings_of_job(&self, host: &str, job: &str) -> Vec<String> {
        let script = "ls -A \"$1\" /run 2>/dev/null | grep -F \"$2\"; \
                      for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f 2>/dev/null | \
                      grep -F \"$2\" | grep -E '^qemu-nbd'; done; true";
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let (script, images, part) =
            (quoted(script), quoted(self.of_host("IMAGES", host)), quoted(job));
        let line = ["sh", "-c", &script, "sh", &images, &part];
        self.ssh(host, &line).lines().map(str::to_owned).collect()
    }
}

/// A test guest that writes to its disk all the time. It is removed from both hosts in the end.
pub struct Guest {
    lab: &'static Lab,
    /// Its name.
    pub name: String,
    /// What is written on its disk and said on its console.
    pub marker: String,
}

impl Guest {
    /// As the product writes it.
    pub fn reference(&self) -> String {
        format!("{}/{}", HOSTS[0], self.name)
    }

    /// Waits for the marker on the console and returns the line.
    #[track_caller]
    pub fn marker_seen(&self, host: &str) -> String {
        self.console(host, &self.name, &format!("@MARKER {}", self.marker))
    }

    /// Waits for a line on the console of a VM of any name.
    #[track_caller]
    pub fn console(&self, host: &str, vm: &str, pattern: &str) -> String {
        self.lab.run(&["console", host, vm, pattern])
    }

    /// The guest's write counter now (boot-sector guest).
    #[track_caller]
    pub fn sequence(&self, host: &str) -> u64 {
        let line = self.lab.run(&["ask", host, &self.name, "s", "@SEQ"]);
        last_number(&line)
    }

    /// Cuts its power on `dr-a` and forgets it there.
    pub fn destroy(&self) {
        remove(self.lab, HOSTS[0], &self.name);
    }
}

/// The hexadecimal number at the end of a console line.
#[track_caller]
pub fn last_number(line: &str) -> u64 {
    let digits = line.trim().rsplit([' ', '=']).next().unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("no number at the end of {line:?}"))
}

/// Removes a VM and its disks from a host, if it is there.
pub fn remove(lab: &Lab, host: &str, vm: &str) {
    lab.ssh(host, &["virsh", "-q", "destroy", vm, "2>/dev/null"]);
    lab.ssh(host, &["virsh", "-q", "undefine", vm, "--checkpoints-metadata", "2>/dev/null"]);
    let images = lab.of_host("IMAGES", host);
    lab.ssh(
        host,
        &["rm", "-f", &format!("{images}/{vm}.qcow2"), &format!("{images}/{vm}-vda.qcow2")],
    );
}

impl Drop for Guest {
    fn drop(&mut self) {
        for host in HOSTS {
            remove(self.lab, host, &self.name);
        }
    }
}
