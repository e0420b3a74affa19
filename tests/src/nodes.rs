//! The lab of Proxmox nodes, as `make test` brings it up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::product::Installation;

/// The node of the data centre.
pub const DC: &str = "dc";
/// The node of the recovery centre.
pub const DRC: &str = "drc";

/// Where the driver keeps what is on its way.
const DUMPS: &str = "/var/lib/vz/drs";

/// The options of each way in which data travels.
pub const WAYS: [&[&str]; 2] = [&[], &["--staged"]];

/// A fresh installation that knows both nodes, and the nodes to oneself while the guard lives: a node
/// makes one dump at a time, whoever asks.
#[track_caller]
pub fn installation() -> (&'static Nodes, Installation, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let nodes = Nodes::get();
    let drs = Installation::new();
    for (node, site) in [(DC, "dc"), (DRC, "rc")] {
        nodes.add(&drs, node, site);
    }
    (nodes, drs, turn)
}

/// Proxmox VE stand-ins behind real SSH servers.
pub struct Nodes {
    env: BTreeMap<String, String>,
    program: PathBuf,
}

impl Nodes {
    /// The lab of this test run. `make test` starts it; without it these tests cannot run, and say so.
    pub fn get() -> &'static Self {
        static NODES: OnceLock<Nodes> = OnceLock::new();
        NODES.get_or_init(|| {
            let dir = std::env::var("DRS_PROXMOX_LAB")
                .expect("these tests need the lab of Proxmox nodes: run them with `make test`");
            Self::at(Path::new(&dir))
        })
    }

    /// A lab by its state directory.
    pub fn at(dir: &Path) -> Self {
        let env = crate::lab::environment(dir);
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/proxmox/lab");
        Self { env, program }
    }

    /// A value of `lab.env`.
    #[track_caller]
    pub fn value(&self, key: &str) -> &str {
        self.env.get(key).unwrap_or_else(|| panic!("{key} is not in lab.env"))
    }

    /// A value of `lab.env` of one node: `ADDR`, `FINGERPRINT` or `DISK`.
    pub fn of_node(&self, key: &str, node: &str) -> &str {
        self.value(&format!("{key}_{node}"))
    }

    /// A file of a node, seen from here.
    pub fn file(&self, node: &str, path: &str) -> PathBuf {
        Path::new(self.of_node("DISK", node)).join(path.trim_start_matches('/'))
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
        command.env("DRS_PROXMOX_LAB", self.value("LAB_DIR")).args(args).stdin(Stdio::null());
        command
    }

    /// Runs a command on a node and returns what it printed, whatever its exit code.
    pub fn ssh(&self, node: &str, argv: &[&str]) -> String {
        let mut args = vec!["ssh", node];
        args.extend(argv);
        let output = self.command(&args).output().expect("the lab's program runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Adds one node to an installation.
    #[track_caller]
    pub fn add(&self, drs: &Installation, node: &str, site: &str) {
        let (address, fingerprint) =
            (self.of_node("ADDR", node), self.of_node("FINGERPRINT", node));
        let key = self.value("KEY_FILE");
        drs.run(&["host", "add", node, "--driver", "proxmox", "--site", site])
            .fails(2, &["--address"]);
        drs.run(&[
            "host",
            "add",
            node,
            "--driver",
            "proxmox",
            "--site",
            site,
            "--address",
            address,
            "--key",
            key,
            "--accept-key",
            fingerprint,
        ])
        .ok();
    }

    /// A VMID that nobody in this lab has or will get.
    pub fn fresh_vmid(&self) -> u32 {
        let path = Path::new(self.value("LAB_DIR")).join("next-vmid");
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .expect("a counter");
        file.lock().expect("the counter's lock");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("the counter");
        let vmid: u32 = text.trim().parse().unwrap_or(1000);
        file.rewind().expect("the counter");
        write!(file, "{}", vmid + 1).expect("the counter");
        vmid
    }

    /// A new guest of a kind (`boot`, `writer`, `diskless`, `template`, `ct`), switched off.
    #[track_caller]
    pub fn guest(&'static self, kind: &str, options: &[&str]) -> Vm {
        let vmid = self.fresh_vmid().to_string();
        let mut args = vec!["guest", DC, &vmid, kind];
        args.extend(options);
        self.run(&args);
        Vm { nodes: self, vmid, container: kind == "ct" }
    }

    /// The configuration of a guest, as its node has it; `None` when there is none.
    pub fn config(&self, node: &str, vmid: &str) -> Option<String> {
        ["qemu-server", "lxc"].into_iter().find_map(|folder| {
            let path = format!("/etc/pve/nodes/{node}/{folder}/{vmid}.conf");
            std::fs::read_to_string(self.file(node, &path)).ok()
        })
    }

    /// The lines of a guest's configuration, sorted.
    #[track_caller]
    pub fn lines(&self, node: &str, vmid: &str) -> Vec<String> {
        let text = self.config(node, vmid).unwrap_or_else(|| panic!("{node} has no VM {vmid}"));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }

    /// The value of a line of a guest's configuration.
    pub fn entry(&self, node: &str, vmid: &str, key: &str) -> Option<String> {
        let config = self.config(node, vmid)?;
        let value = |line: &str| Some(line.strip_prefix(key)?.strip_prefix(": ")?.to_owned());
        config.lines().find_map(value)
    }

    /// A volume of a guest: the image of a disk, the folder of a container's root.
    #[track_caller]
    pub fn volume(&self, node: &str, vmid: &str, key: &str) -> PathBuf {
        let line = self.entry(node, vmid, key).unwrap_or_else(|| panic!("{vmid} has no {key}"));
        let volume = line.split(',').next().unwrap_or_default().to_owned();
        let path = self.run(&["ssh", node, "pvesm", "path", &volume]);
        self.file(node, path.trim())
    }

    /// The numbers of all guests of a node.
    pub fn vmids(&self, node: &str) -> BTreeSet<String> {
        let folders =
            ["qemu-server", "lxc"].map(|folder| format!("/etc/pve/nodes/{node}/{folder}"));
        let found = folders.iter().flat_map(|folder| files(&self.file(node, folder)));
        let stem =
            |file: String| Some(Path::new(&file).file_stem()?.to_string_lossy().into_owned());
        found.filter_map(stem).collect()
    }

    /// Demands that nothing of DR Switch is left of its work on these guests.
    #[track_caller]
    pub fn nothing_left(&self, guests: &[(&str, &str)]) {
        for (node, vmid) in guests {
            assert_eq!(self.leftovers(node, vmid), Vec::<String>::new(), "{node}/{vmid}");
        }
    }

    /// Every archive of other people on a node with its bytes, as one digest for each.
    pub fn foreign(&self, node: &str) -> String {
        let script = "'cd /var/lib/vz/dump && find . -type f | sort | xargs -r sha256sum'";
        self.ssh(node, &["sh", "-c", script])
    }

    /// Changes how a node's commands behave, until the returned value is dropped.
    #[track_caller]
    pub fn set(&'static self, node: &'static str, key: &'static str, value: &str) -> Setting {
        self.run(&["set", node, key, value]);
        Setting { nodes: self, node, key }
    }

    /// What DR Switch may have left on a node for a guest: a lock, files on their way, running dumps,
    /// half a guest; empty when the node is as it was.
    pub fn leftovers(&self, node: &str, vmid: &str) -> Vec<String> {
        let mut left = Vec::new();
        if let Some(line) = self
            .config(node, vmid)
            .and_then(|text| text.lines().find(|line| line.starts_with("lock:")).map(str::to_owned))
        {
            left.push(format!("{vmid} has {line}"));
        }
        left.extend(files(&self.file(node, DUMPS)));
        left.extend(self.half_guests(node));
        for folder in ["/var/lib/vz/dump", "/var/tmp"] {
            let unfinished = files(&self.file(node, folder)).into_iter().filter(|name| {
                let of_guest = name.contains(&format!("-{vmid}-"));
                of_guest && (name.ends_with(".dat") || name.contains(".tmp/"))
                    || name.contains("vzdumptmp")
            });
            left.extend(unfinished);
        }
        let running = self.ssh(node, &["pgrep", "-af", "vzdump|qmrestore"]);
        left.extend(running.lines().filter(|line| line.contains(vmid)).map(str::to_owned));
        left
    }

    /// Guests that a restore has left half made, numbers that are reserved for nobody, images of no guest.
    fn half_guests(&self, node: &str) -> Vec<String> {
        let mut left = Vec::new();
        for folder in ["qemu-server", "lxc"] {
            for file in files(&self.file(node, &format!("/etc/pve/nodes/{node}/{folder}"))) {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                if text.trim() == "memory: 128" || text.contains("lock: create") {
                    left.push(format!("{file} is a stub"));
                }
            }
        }
        for file in files(&self.file(node, "/var/lib/drs-proxmox/imports")) {
            let record = std::fs::read_to_string(&file).unwrap_or_default();
            if record.split(' ').nth(1) != Some("made") {
                left.push(format!("{file}: {record}"));
            }
        }
        let folders = ["/var/lib/vz/images", "/var/lib/vz/private", "/srv/fast/images"];
        for folder in folders.map(|folder| self.file(node, folder)) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let vmid = entry.file_name().to_string_lossy().into_owned();
                let empty = std::fs::read_dir(entry.path()).is_ok_and(|mut it| it.next().is_none());
                if self.config(node, &vmid).is_none() && !empty {
                    left.push(format!("{} belongs to no VM", entry.path().display()));
                }
            }
        }
        left
    }

    /// Whether a guest runs.
    pub fn runs(&self, node: &str, vmid: &str) -> bool {
        let command = if self.file(node, &format!("/etc/pve/nodes/{node}/lxc/{vmid}.conf")).exists()
        {
            "pct"
        } else {
            "qm"
        };
        self.ssh(node, &[command, "status", vmid]).contains("running")
    }

    /// Waits for a line on a guest's console.
    #[track_caller]
    pub fn console(&self, node: &str, vmid: &str, pattern: &str) -> String {
        self.run(&["console", node, vmid, pattern])
    }

    /// Takes a guest off a node, if it is there.
    pub fn remove(&self, node: &str, vmid: &str) {
        for (command, folder) in [("qm", "qemu-server"), ("pct", "lxc")] {
            if self.file(node, &format!("/etc/pve/nodes/{node}/{folder}/{vmid}.conf")).exists() {
                self.ssh(node, &[command, "unlock", vmid]);
                self.ssh(node, &[command, "stop", vmid]);
                self.ssh(node, &[command, "destroy", vmid, "--purge", "1"]);
            }
        }
    }
}

/// A setting of a node's commands. It is taken back in the end.
pub struct Setting {
    nodes: &'static Nodes,
    node: &'static str,
    key: &'static str,
}

impl Drop for Setting {
    fn drop(&mut self) {
        let script = format!("'sed -i /^{}:/d /etc/drs-lab.cfg'", self.key);
        self.nodes.ssh(self.node, &["sh", "-c", &script]);
    }
}

/// Every file below a folder, by its path.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

/// A guest of the lab. It is removed from both nodes in the end.
pub struct Vm {
    nodes: &'static Nodes,
    /// Its number.
    pub vmid: String,
    container: bool,
}

/// What the guests of kind `boot` and `writer` say on their console when they are there.
pub const BOOTED: &str = "BOOT OK|WRITER UP";

impl Vm {
    /// As the product writes it.
    pub fn reference(&self) -> String {
        format!("{DC}/{}", self.vmid)
    }

    /// Starts it on the data centre's node.
    #[track_caller]
    pub fn start(&self) {
        let command = if self.container { "pct" } else { "qm" };
        self.nodes.run(&["ssh", DC, command, "start", &self.vmid]);
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        for node in [DC, DRC] {
            self.nodes.remove(node, &self.vmid);
        }
    }
}
