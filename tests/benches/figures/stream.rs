//! The real path: a running VM on a libvirt host, backed up by `drs backup` and by the bare tools
//! (`virsh backup-begin`, `nbdcopy | ssh | zstd -1`), restored by `drs restore` and by the bare tools
//! (`zstd -d | ssh | dd`), in turns. Both sides end with their bytes durable.
//!
//! The stream is what lies between an open export and the last durable byte; the whole is the
//! command from its start to its end, with connections, inventory, freeze and bookkeeping.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use drs_model::Timestamp;
use drs_tests::lab::{Guest, HOSTS, Lab, remove};
use drs_transport::Argv;
use serde_json::Value;

use crate::memory;
use crate::numbers::{median, mib, seconds};
use crate::product::Product;
use crate::table::Table;

const PAIRS: usize = 5;
const DISK_MIB: u32 = 1024;
/// Disks for the jobs that run at one time.
const SMALL_DISK_MIB: u32 = 256;
const TOGETHER: usize = 4;
/// Where `make bench` puts the tools of the comparison, in the images folder of the first host.
const TOOLS: &str = "tools";

/// Reads a VM in full to standard output: VM, folder for scratch, folder of the tools. Says on standard
/// error when the stream begins.
const BARE_BACKUP: &str = r#"
set -e
socket=/tmp/bare-$1.sock scratch=$2/bare-$1.scratch
trap 'virsh -q domjobabort "$1" >&2; rm -f "$scratch"' EXIT
virsh -q backup-begin "$1" /dev/stdin >&2 <<X
<domainbackup mode='pull'><server transport='unix' socket='$socket'/><disks>
<disk name='vda' backup='yes' type='file'><driver type='qcow2'/><scratch file='$scratch'/></disk>
</disks></domainbackup>
X
date +%s%N >&2
LD_LIBRARY_PATH=$3 "$3/nbdcopy" "nbd+unix:///vda?socket=$socket" -
"#;
/// Writes standard input to a file, leaving out zeros.
const BARE_RESTORE: &str =
    r#"rm -f "$1"; exec dd "of=$1" bs=1M conv=sparse,fsync iflag=fullblock status=none"#;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let lab = Lab::get();
    table.section("stream: a running VM of 1 GiB, half of it random, on a libvirt host");
    let bench = Bench { lab, drs: Product::new()?, vm: dense_guest(lab, DISK_MIB)? };
    lab_hosts(lab, &bench.drs)?;
    bench.backups(table)?;
    bench.restores(table)?;
    drop(bench);
    together(table, lab)
}

struct Bench {
    lab: &'static Lab,
    drs: Product,
    vm: Guest,
}

/// Seconds that one run took.
struct Run {
    stream: f64,
    whole: f64,
}

impl Bench {
    fn backups(&self, table: &mut Table) -> Result<()> {
        let (mut bare, mut ours, mut peak) = (Vec::new(), Vec::new(), 0);
        for _ in 0..PAIRS {
            bare.push(self.bare_backup()?);
            let (whole, bytes) = self.drs.watch(&["backup", &self.vm.reference()])?;
            ours.push(Run { stream: self.step("export", "copy")?, whole: seconds(whole) });
            peak = peak.max(bytes);
        }
        compare(table, "backup", Some(0.8), &bare, &ours);
        let name = format!("peak memory, drs backup, libvirt disk of {DISK_MIB} MiB");
        table.at_most(name, mib(peak), memory::limit(1), "MiB");
        Ok(())
    }

    fn restores(&self, table: &mut Table) -> Result<()> {
        let latest = format!("latest:{}", self.vm.reference());
        let mut args = vec!["restore", &latest, "--to", HOSTS[1]];
        if self.lab.value("LAYOUT") == "namespaces" {
            args.extend(["--network", "br-dr-a=br-dr-b"]);
        }
        let (mut bare, mut ours, mut peak) = (Vec::new(), Vec::new(), 0);
        for _ in 0..PAIRS {
            bare.push(self.bare_restore()?);
            let (whole, bytes) = self.drs.watch(&args)?;
            ours.push(Run { stream: self.step("allocate", "copy")?, whole: seconds(whole) });
            peak = peak.max(bytes);
            remove(self.lab, HOSTS[1], &self.vm.name);
        }
        // Not the same work: `dd` writes a raw file, drs a qcow2 image through the host's qemu-nbd.
        compare(table, "restore", None, &bare, &ours);
        let name = format!("peak memory, drs restore, libvirt disk of {DISK_MIB} MiB");
        table.at_most(name, mib(peak), memory::limit(1), "MiB");
        Ok(())
    }

    /// Seconds from the end of one step of the latest job to the end of another.
    fn step(&self, from: &str, to: &str) -> Result<f64> {
        let jobs: Value = serde_json::from_str(&self.drs.run(&["--json", "job", "list"])?)?;
        let id = jobs[0]["id"].as_str().context("the latest job")?;
        let job: Value = serde_json::from_str(&self.drs.run(&["--json", "job", "show", id])?)?;
        let end = |name: &str| {
            let steps = job["steps"].as_array()?;
            let step = steps.iter().find(|step| step["step"] == name)?;
            step["at"].as_str()?.parse::<Timestamp>().ok()
        };
        let (from, to) = (end(from).context("a step")?, end(to).context("a step")?);
        Ok(to.duration_since(from).as_secs_f64())
    }

    fn bare_backup(&self) -> Result<Run> {
        let images = self.lab.of_host("IMAGES", HOSTS[0]);
        let tools = format!("{images}/{TOOLS}");
        let command = script(BARE_BACKUP, &[&self.vm.name, images, &tools]);
        let began = Instant::now();
        let mut source = self
            .lab
            .command(&["ssh", HOSTS[0], &command])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stream = source.stdout.take().context("a pipe")?;
        let file = File::create(self.bare_file())?;
        let packed = Command::new("zstd")
            .args(["-q", "-1", "-c"])
            .stdin(stream)
            .stdout(file.try_clone()?)
            .status()?;
        file.sync_all()?;
        let ended = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let source = source.wait_with_output()?;
        let said = String::from_utf8_lossy(&source.stderr);
        ensure!(packed.success() && source.status.success(), "the bare backup failed: {said}");
        let opened = said.lines().find_map(|line| line.parse().ok()).context("a time")?;
        let stream = ended.saturating_sub(Duration::from_nanos(opened));
        Ok(Run { stream: seconds(stream), whole: seconds(began.elapsed()) })
    }

    fn bare_restore(&self) -> Result<Run> {
        let image = format!("{}/bare.raw", self.lab.of_host("IMAGES", HOSTS[1]));
        let began = Instant::now();
        let mut unpack = Command::new("zstd")
            .args(["-q", "-d", "-c"])
            .stdin(File::open(self.bare_file())?)
            .stdout(Stdio::piped())
            .spawn()?;
        let stream = unpack.stdout.take().context("a pipe")?;
        let written = self
            .lab
            .command(&["ssh", HOSTS[1], &script(BARE_RESTORE, &[&image])])
            .stdin(stream)
            .status()?;
        ensure!(written.success() && unpack.wait()?.success(), "the bare restore failed");
        let took = seconds(began.elapsed());
        self.lab.ssh(HOSTS[1], &["rm", "-f", &image]);
        Ok(Run { stream: took, whole: took })
    }

    fn bare_file(&self) -> PathBuf {
        self.drs.scratch().join("bare.zst")
    }
}

fn compare(table: &mut Table, what: &str, target: Option<f64>, bare: &[Run], ours: &[Run]) {
    let rate = |runs: &[Run]| {
        let times: Vec<f64> = runs.iter().map(|run| run.stream).collect();
        format!("{:.0} MiB/s", f64::from(DISK_MIB) / median(&times))
    };
    table.note(format!("{what} stream, bare tools"), rate(bare));
    table.note(format!("{what} stream, drs"), rate(ours));
    let ratio = |part: fn(&Run) -> f64| {
        let ratios: Vec<f64> =
            bare.iter().zip(ours).map(|(bare, ours)| part(bare) / part(ours)).collect();
        median(&ratios)
    };
    let (name, stream) = (format!("{what} stream, drs to bare tools"), ratio(|run| run.stream));
    match target {
        Some(target) => table.at_least(name, stream, target, ""),
        None => table.note(name, format!("{stream:.2}")),
    }
    let whole = format!("{:.2}", ratio(|run| run.whole));
    table.note(format!("{what} of {DISK_MIB} MiB, the whole command, drs to bare tools"), whole);
}

/// Several backups at one time, in `drs serve`.
fn together(table: &mut Table, lab: &'static Lab) -> Result<()> {
    let drs = Product::new()?;
    lab_hosts(lab, &drs)?;
    let guests =
        (0..TOGETHER).map(|_| dense_guest(lab, SMALL_DISK_MIB)).collect::<Result<Vec<Guest>>>()?;
    let mut jobs = Vec::new();
    for guest in &guests {
        jobs.push(drs.run(&["backup", &guest.reference(), "--detach"])?.trim().to_owned());
    }
    let serving = drs.serve()?;
    for job in jobs {
        memory::finish(&drs, &job)?;
    }
    let name = format!("peak memory, {TOGETHER} jobs, libvirt disks of {SMALL_DISK_MIB} MiB");
    table.at_most(name, mib(serving.peak_bytes()?), memory::limit(TOGETHER), "MiB");
    Ok(())
}

fn lab_hosts(lab: &Lab, drs: &Product) -> Result<()> {
    for (host, site) in HOSTS.into_iter().zip(["dc", "dr"]) {
        let of_host = |key| lab.of_host(key, host);
        drs.run(&[
            "host",
            "add",
            host,
            "--site",
            site,
            "--slots",
            "4",
            "--address",
            of_host("ADDR"),
            "--key",
            lab.value("KEY_FILE"),
            "--images",
            of_host("IMAGES"),
            "--accept-key",
            of_host("FINGERPRINT"),
        ])?;
    }
    Ok(())
}

/// A running guest whose disk is full behind its first MiB: half random bytes, half text.
fn dense_guest(lab: &'static Lab, disk_mib: u32) -> Result<Guest> {
    let guest = lab.stopped("tick", disk_mib);
    let images = lab.of_host("IMAGES", HOSTS[0]);
    let convert = |from: &str, to: &str| {
        let image = |format: &str| format!("{images}/{}.{format}", guest.name);
        lab.run(&["ssh", HOSTS[0], "qemu-img", "convert", "-O", to, &image(from), &image(to)]);
        lab.run(&["ssh", HOSTS[0], "rm", &image(from)]);
    };
    convert("qcow2", "raw");
    let seen_here = Path::new(lab.value("LAB_DIR")).join(HOSTS[0]).join("images");
    fill(&seen_here.join(format!("{}.raw", guest.name)), disk_mib)?;
    convert("raw", "qcow2");
    lab.run(&["ssh", HOSTS[0], "virsh", "-q", "start", &guest.name]);
    guest.marker_seen(HOSTS[0]);
    Ok(guest)
}

fn fill(image: &Path, disk_mib: u32) -> Result<()> {
    const HALF: usize = 512 * 1024;
    let mut random = File::open("/dev/urandom")?;
    let mut file = OpenOptions::new().write(true).open(image)?;
    file.seek(SeekFrom::Start(2 * HALF as u64))?;
    let mut block = vec![0; HALF];
    for n in 1..disk_mib {
        random.read_exact(&mut block)?;
        file.write_all(&block)?;
        let line =
            format!("entry of the accounts of the year {n}, carried over to the next page\n");
        let text: Vec<u8> = line.bytes().cycle().take(HALF).collect();
        file.write_all(&text)?;
    }
    Ok(file.sync_all()?)
}

/// A constant script with its arguments, as a line for the host's shell.
fn script(text: &str, args: &[&str]) -> String {
    Argv::new("sh").arg("-c").arg(text).arg("sh").args(args.iter().copied()).quoted()
}
