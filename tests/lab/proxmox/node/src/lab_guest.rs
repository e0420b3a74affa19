//! `lab-guest VMID KIND [options]`: makes a test guest, switched off. No command of a real node.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};

use crate::arguments::{self, Arguments, Known, Takes};
use crate::config::{Config, size_bytes, size_text};
use crate::failure::{Done, Failure};
use crate::guests::{Guest, Kind};
use crate::node::{Node, new_uuid};
use crate::storage;

const USAGE: &str = "lab-guest <vmid> boot|writer|diskless|template|ct [OPTIONS]";
const KNOWN: &Known = &[
    ("name", Takes::Value),
    ("size", Takes::Value),
    ("data", Takes::Value),
    ("storage", Takes::Value),
    ("format", Takes::Value),
    ("disk2", Takes::Value),
    ("excluded", Takes::Value),
    ("bridge", Takes::Value),
    ("agent", Takes::Flag),
    ("unprivileged", Takes::Flag),
    ("seed", Takes::Value),
    ("on", Takes::Value),
    ("ha", Takes::Flag),
];
/// Boot sectors, beside the program.
const BOOT: &str = "/lab/boot";
/// Data and holes alternate in stretches of this size.
const STRETCH: u64 = 256 << 10;

pub(crate) fn main(node: &Node, args: &[String]) -> Done {
    let given = Arguments::read(args, KNOWN, USAGE)?;
    let [id, form] = &given.words[..] else { return Err(Failure::new(USAGE)) };
    let id = arguments::vmid(id, USAGE)?;
    let kind = if form == "ct" { Kind::Lxc } else { Kind::Qemu };
    let on = given.value("on").unwrap_or(&node.name).to_owned();
    let guest = Guest { kind, id, node: on };
    if crate::guests::find(node, id).is_some() {
        return Err(Failure::new(format!("there is a guest {id} already")));
    }
    let config = match form.as_str() {
        "ct" => container(node, &guest, &given)?,
        "boot" | "writer" | "diskless" | "template" => machine(node, &guest, form, &given)?,
        other => return Err(Failure::new(format!("no guest of kind '{other}': {USAGE}"))),
    };
    guest.write(node, &config)?;
    if given.is_on("ha") {
        let file = node.new_file("/etc/pve/ha/resources.cfg")?;
        let mut file = fs::OpenOptions::new().append(true).create(true).open(file)?;
        writeln!(file, "vm: {id}\n\tstate started\n")?;
    }
    Ok(())
}

fn machine(node: &Node, guest: &Guest, form: &str, given: &Arguments) -> Done<Config> {
    let id = guest.id;
    let mut config = Config::default();
    config.describe(&format!("test guest {id}"));
    let name = given.value("name").map_or_else(|| format!("{form}-{id}"), str::to_owned);
    let bridge = given.value("bridge").unwrap_or("vmbr0");
    let mac = format!("BC:24:11:{:02X}:{:02X}:{:02X}", id >> 16 & 255, id >> 8 & 255, id & 255);
    for (key, value) in [
        ("agent", if given.is_on("agent") { "1" } else { "0" }),
        ("boot", "order=scsi0"),
        ("cores", "1"),
        ("cpu", "qemu64"),
        ("kvm", "0"),
        ("memory", "64"),
        ("name", &name),
        ("net0", &format!("virtio={mac},bridge={bridge}")),
        ("ostype", "l26"),
        ("scsihw", "virtio-scsi-single"),
        ("serial0", "socket"),
        ("smbios1", &format!("uuid={}", new_uuid()?)),
        ("sockets", "1"),
        ("vga", "serial0"),
        ("vmgenid", &new_uuid()?),
    ] {
        config.set(key, value);
    }
    if form == "diskless" {
        config.values.remove("boot");
        return Ok(config);
    }
    let size = size(given.value("size").unwrap_or(if form == "writer" { "68M" } else { "8M" }))?;
    let prefix = if form == "template" { "base" } else { "vm" };
    if form == "template" {
        config.set("template", "1");
    }
    let sector = if form == "writer" { "writer.bin" } else { "boot.bin" };
    let mut disk = Disk { node, given, guest: id, prefix, number: 0 };
    config.set("scsi0", disk.make(size, Some(sector))?);
    if let Some(size2) = given.value("disk2") {
        config.set("virtio1", disk.make(self::size(size2)?, None)?);
    }
    if let Some(excluded) = given.value("excluded") {
        config.set("scsi1", format!("{},backup=0", disk.make(self::size(excluded)?, None)?));
    }
    Ok(config)
}

fn size(text: &str) -> Done<u64> {
    size_bytes(text).ok_or_else(|| Failure::new(format!("'{text}' is no size")))
}

struct Disk<'a> {
    node: &'a Node,
    given: &'a Arguments,
    guest: u32,
    prefix: &'a str,
    number: u32,
}

impl Disk<'_> {
    /// Makes an image and gives the drive's value.
    fn make(&mut self, size: u64, sector: Option<&str>) -> Done<String> {
        let store = self.given.value("storage").unwrap_or("local");
        let format = self.given.value("format").unwrap_or("raw");
        let (guest, prefix, number) = (self.guest, self.prefix, self.number);
        self.number += 1;
        let id = format!("{store}:{guest}/{prefix}-{guest}-disk-{number}.{format}");
        let path = self.node.new_file(storage::path(self.node, &id)?)?;
        let raw = path.with_extension("making");
        let share = self.given.value("data").unwrap_or("40%").trim_end_matches('%').parse();
        let share: u64 = share.map_err(|_| Failure::new("--data is a percentage"))?;
        let seed = self.given.value("seed").and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
        let mut file = File::create(&raw)?;
        fill(
            &mut file,
            size,
            share.min(100),
            seed << 32 | u64::from(guest) << 8 | u64::from(number),
        )?;
        if let Some(sector) = sector {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&fs::read(format!("{BOOT}/{sector}"))?)?;
        }
        drop(file);
        if format == "raw" {
            fs::rename(&raw, &path)?;
        } else {
            let (from, to) = (raw.display().to_string(), path.display().to_string());
            crate::node::program("qemu-img", &["convert", "-f", "raw", "-O", format, &from, &to])?;
            fs::remove_file(&raw)?;
        }
        Ok(format!("{id},size={}", size_text(size)))
    }
}

/// Pseudo-random data in so many percent of the stretches, holes in the others. The first stretch has data.
fn fill(file: &mut File, size: u64, share: u64, seed: u64) -> Done {
    file.set_len(size)?;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut owed = 100;
    let mut at = 0;
    let mut stretch = Vec::new();
    while at < size {
        let length = STRETCH.min(size - at);
        if owed >= 100 {
            owed -= 100;
            stretch.clear();
            while (stretch.len() as u64) < length {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                stretch.extend_from_slice(&state.to_le_bytes());
            }
            stretch.truncate(usize::try_from(length).unwrap_or_default());
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&stretch)?;
        }
        owed += share;
        at += length;
    }
    Ok(())
}

fn container(node: &Node, guest: &Guest, given: &Arguments) -> Done<Config> {
    let id = guest.id;
    let store = given.value("storage").unwrap_or("local");
    let volume = format!("{store}:{id}/vm-{id}-disk-0.raw");
    let size = given.value("size").unwrap_or("64M");
    let mut config = Config::default();
    let bridge = given.value("bridge").unwrap_or("vmbr0");
    let mac = format!("BC:24:11:CA:{:02X}:{:02X}", id >> 8 & 255, id & 255);
    let name = given.value("name").map_or_else(|| format!("ct-{id}"), str::to_owned);
    for (key, value) in [
        ("arch", "amd64"),
        ("cores", "1"),
        ("hostname", &name),
        ("memory", "128"),
        ("net0", &format!("name=eth0,bridge={bridge},hwaddr={mac},ip=dhcp,type=veth")),
        ("ostype", "debian"),
        ("rootfs", &format!("{volume},size={size}")),
        ("swap", "64"),
    ] {
        config.set(key, value);
    }
    if given.is_on("unprivileged") {
        config.set("unprivileged", "1");
    }
    let root = node.file(storage::folder_of(node, &volume)?);
    let share = given.value("data").unwrap_or("5%").trim_end_matches('%').parse().unwrap_or(5);
    plant(&root.display().to_string(), &name, self::size(size)? * share / 100)?;
    Ok(config)
}

/// A small tree with what archives get wrong: links, holes, devices, owners, attributes, access lists.
fn plant(root: &str, name: &str, bytes: u64) -> Done {
    const TREE: &str = r#"
set -e
umask 022
mkdir -p "$1" && cd "$1"
mkdir -p bin dev etc home/app mnt/data proc root sys tmp usr/bin var/run var/tmp
echo "$2" >etc/hostname
echo 'root:x:0:0::/root:/bin/sh' >etc/passwd
echo 12.0 >etc/debian_version
echo hello >home/app/hard.txt
ln home/app/hard.txt home/app/a.txt
ln -s a.txt home/app/sym
mkfifo home/app/fifo
truncate -s 3145728 home/app/sparse.bin && printf 'tail\n' >>home/app/sparse.bin
mknod home/app/null c 1 3 2>/dev/null || true
setfattr -n user.note -v kept home/app/hard.txt 2>/dev/null || true
setfacl -m u:1001:r home/app/hard.txt 2>/dev/null || true
chown -hR 1000:1000 home/app
head -c "$3" /dev/urandom >home/data.bin
"#;
    crate::node::program("sh", &["-c", TREE, "sh", root, name, &bytes.to_string()]).map(|_| ())
}
