//! A node in a temporary directory: its files, its commands, no guests that run.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::normal;

/// VM 112 of the transcripts.
pub(crate) const VM_112: &str = "#web front end
agent: 0
boot: order=scsi0
cores: 1
cpu: qemu64
kvm: 0
memory: 64
name: web-112
ostype: l26
scsi0: local:112/vm-112-disk-0.raw,aio=threads,discard=on,iothread=1,size=8M
scsihw: virtio-scsi-single
serial0: socket
smbios1: uuid=6a8c8a7e-0d0b-4a5f-9b52-0f5a6d1c1a11
sockets: 1
vga: serial0
virtio1: nfs-dr:112/vm-112-disk-0.qcow2,aio=threads,size=1573376
vmgenid: 0b6f2a40-1111-4222-8333-444455556666
";

/// A node called pve1 with the storages of the transcripts.
pub(crate) struct Scratch {
    pub(crate) root: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// What a transcript tells.
pub(crate) struct Told {
    pub(crate) argv: Vec<String>,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A file of the transcripts.
pub(crate) fn text_of(name: &str) -> String {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../fixtures/proxmox/transcripts");
    let file = format!("{fixtures}/{name}.txt");
    String::from_utf8_lossy(&fs::read(&file).expect("a transcript")).into_owned()
}

pub(crate) fn told(name: &str) -> Told {
    let text = text_of(name);
    let line = text.lines().find_map(|line| line.strip_prefix("$ ")).expect("a command");
    let code = text.lines().find_map(|line| line.strip_prefix("## exit code: "));
    let part = |mark: &str| text.split_once(mark).map_or("", |(_, rest)| rest).to_owned();
    let stdout = part("## stdout:\n");
    Told {
        argv: line.split_whitespace().map(str::to_owned).collect(),
        code: code.expect("an exit code").trim().parse().expect("a number"),
        stdout: stdout.split("## stderr:").next().expect("a part").to_owned(),
        stderr: part("## stderr:\n"),
    }
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let scratch = Self { root: tempfile::tempdir().expect("a directory") };
        for folder in [
            "etc/pve/nodes/pve1/qemu-server",
            "etc/pve/nodes/pve1/lxc",
            "etc/network",
            "var/lib/vz/dump",
            "srv/nfs-dr",
            "run",
            "var/tmp",
        ] {
            fs::create_dir_all(scratch.file(folder)).expect("a folder");
        }
        symlink("../run", scratch.file("var/run")).expect("a link");
        scratch.write(
            "etc/pve/storage.cfg",
            "dir: local\n\tpath /var/lib/vz\n\tcontent images,iso,backup,snippets,vztmpl,rootdir\n\n\
             dir: nfs-dr\n\tpath /srv/nfs-dr\n\tcontent backup,images\n",
        );
        scratch.write("etc/network/interfaces", "iface vmbr0 inet manual\n");
        scratch.write("etc/drs-lab.cfg", "emulator: none\nheader-timeout: 0.3\n");
        scratch.vm(112, VM_112);
        scratch.image("var/lib/vz/images/112/vm-112-disk-0.raw", 8 << 20);
        let qcow2 = scratch.file("srv/nfs-dr/images/112/vm-112-disk-0.qcow2");
        fs::create_dir_all(qcow2.parent().expect("a folder")).expect("a folder");
        let made = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&qcow2)
            .arg("1573376")
            .status();
        assert!(made.expect("qemu-img runs").success());
        scratch.vm(117, "memory: 64\nname: diskless-117\n");
        scratch.vm(
            130,
            "boot: order=scsi0\nmemory: 64\nname: writer-130\n\
             scsi0: local:130/vm-130-disk-0.raw,size=68M\n\
             scsi1: local:130/vm-130-disk-1.raw,backup=0,size=4M\nserial0: socket\n",
        );
        scratch.image("var/lib/vz/images/130/vm-130-disk-0.raw", 68 << 20);
        scratch.image("var/lib/vz/images/130/vm-130-disk-1.raw", 4 << 20);
        scratch
    }

    /// Where a file of the node lies, whether or not the path begins at its root.
    pub(crate) fn file(&self, path: impl AsRef<str>) -> PathBuf {
        self.root.path().join(path.as_ref().trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.file(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text).expect("written");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.file(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub(crate) fn vm(&self, id: u32, config: &str) {
        self.write(&format!("etc/pve/nodes/pve1/qemu-server/{id}.conf"), config);
    }

    pub(crate) fn config(&self, id: u32) -> String {
        self.read(&format!("etc/pve/nodes/pve1/qemu-server/{id}.conf"))
    }

    /// A disk whose first half is data, with blocks of zeros in it.
    pub(crate) fn image(&self, path: &str, size: usize) {
        let mut bytes = vec![0; size / 2];
        for (index, block) in bytes.chunks_mut(4096).enumerate() {
            if index % 3 != 0 {
                block.fill(u8::try_from(index % 251 + 1).expect("small"));
            }
        }
        let file = self.file(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(&file, bytes).expect("written");
        let file = fs::OpenOptions::new().write(true).open(file).expect("the image");
        file.set_len(size as u64).expect("sized");
    }

    /// Container 200 of the transcripts, or 201 without privileges.
    pub(crate) fn containers(&self) {
        for id in [200, 201] {
            let text = text_of_conf(id);
            self.write(&format!("etc/pve/nodes/pve1/lxc/{id}.conf"), &text);
            let tree = format!("var/lib/vz/private/{id}/vm-{id}-disk-0.raw");
            self.write(&format!("{tree}/etc/hostname"), "ct\n");
            self.write(&format!("{tree}/home/app/a.txt"), "hello\n");
            self.write(&format!("{tree}/home/app/x.bin"), "binary\n");
            symlink("a.txt", self.file(format!("{tree}/home/app/sym"))).expect("a link");
        }
    }

    /// A command of the node, not yet started.
    pub(crate) fn command(&self, argv: &[&str]) -> Command {
        let bin = self.root.path().join("bin");
        fs::create_dir_all(&bin).expect("a folder");
        let link = bin.join(argv[0]);
        if !link.exists() {
            symlink(env!("CARGO_BIN_EXE_drs-lab-proxmox"), &link).expect("a link");
        }
        let mut command = Command::new(link);
        command
            .args(&argv[1..])
            .env("DRS_LAB_ROOT", self.root.path())
            .env("DRS_LAB_NODE", "pve1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, argv: &[&str]) -> Ended {
        ended(self.command(argv).output().expect("the command runs"))
    }

    /// Runs a command with a file as its standard input.
    pub(crate) fn feed(&self, argv: &[&str], file: &str) -> Ended {
        let input = fs::File::open(self.file(file)).expect("the input");
        ended(self.command(argv).stdin(input).output().expect("the command runs"))
    }

    /// Runs a transcript's command, which must end as the transcript says.
    #[track_caller]
    pub(crate) fn holds(&self, name: &str) -> Ended {
        let told = told(name);
        let argv: Vec<&str> = told.argv.iter().map(String::as_str).collect();
        let ended = self.run(&argv);
        same(name, &told, &ended);
        ended
    }

    /// Runs a command that must end as a transcript of another command line says.
    #[track_caller]
    pub(crate) fn holds_as(&self, name: &str, argv: &[&str]) -> Ended {
        let ended = self.run(argv);
        same(name, &told(name), &ended);
        ended
    }

    /// The VM is on: its pid file names a process that lives.
    pub(crate) fn switch_on(&self, id: u32) {
        self.write(&format!("run/qemu-server/{id}.pid"), "1\n");
    }

    pub(crate) fn dump(&self) -> Vec<String> {
        let entries = fs::read_dir(self.file("var/lib/vz/dump")).expect("the dump folder");
        let mut names: Vec<String> = entries
            .map(|e| e.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    /// The one archive in the dump folder of that ending.
    #[track_caller]
    pub(crate) fn archive(&self, ending: &str) -> String {
        let mut found = self.dump();
        found.retain(|name| name.ends_with(ending));
        assert_eq!(found.len(), 1, "one archive {ending}: {found:?}");
        format!("/var/lib/vz/dump/{}", found[0])
    }
}

fn text_of_conf(id: u32) -> String {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../fixtures/proxmox/transcripts");
    fs::read_to_string(format!("{fixtures}/lxc-{id}-pct.conf")).expect("a configuration")
}

pub(crate) fn ended(output: std::process::Output) -> Ended {
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Code and both streams are those of the transcript.
#[track_caller]
pub(crate) fn same(name: &str, told: &Told, ended: &Ended) {
    assert_eq!(normal::lines(&ended.stderr), normal::lines(&told.stderr), "{name}: stderr");
    assert_eq!(normal::lines(&ended.out()), normal::lines(&told.stdout), "{name}: stdout");
    assert_eq!(ended.code, told.code, "{name}: exit code");
}

/// Both streams together are the lines of a transcript that did not keep them apart.
#[track_caller]
pub(crate) fn same_lines(name: &str, ended: &Ended) {
    let text = text_of(name);
    let is_line = |line: &&str| !line.starts_with(['$', '#']) && !line.starts_with("rc ");
    let told: Vec<&str> = text.lines().filter(is_line).collect();
    let mut said = ended.out();
    said.push_str(&ended.stderr);
    assert_eq!(normal::lines(&said), normal::lines(&told.join("\n")), "{name}");
}
