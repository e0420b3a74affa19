//! The volumes of a restored VM: planned, allocated, filled from the archive.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use drs_vma::{Header, Reader};

use crate::config::{self, Config};
use crate::failure::{Done, Failure};
use crate::guests::Kind;
use crate::interrupt;
use crate::node::{self, Node};
use crate::storage;
use crate::task::Journal;

use super::Restore;
use super::rewrite::{self, Map};

const CLUSTER: u64 = 65_536;

/// One disk that comes back.
struct Volume {
    device: u8,
    map: Map,
    size: u64,
    /// Empty until it is allocated.
    id: String,
    path: String,
    /// What is written: the volume, or a raw file that becomes it.
    raw: PathBuf,
}

pub(super) struct Volumes<'a> {
    node: &'a Node,
    guest: u32,
    all: Vec<Volume>,
    /// Which clusters of each device have data.
    touched: Vec<Vec<bool>>,
}

impl<'a> Volumes<'a> {
    /// Every device has a map line and every map line a device; the storages are there.
    pub(super) fn plan(restore: &Restore<'a>, header: &Header, conf: &str) -> Done<Self> {
        let maps = rewrite::maps(conf);
        let mut all = Vec::new();
        for device in &header.devices {
            let name = &device.name;
            let mut map =
                maps.iter().find(|map| map.device == *name).cloned().ok_or_else(|| {
                    let text = format!("found no device mapping information for device '{name}'");
                    Failure::new(text)
                })?;
            if let Some(storage) = restore.given.value("storage") {
                storage.clone_into(&mut map.storage);
            } else if map.storage.is_empty() {
                "local".clone_into(&mut map.storage);
            }
            if map.format != "qcow2" {
                "raw".clone_into(&mut map.format);
            }
            let (id, path, raw) = (String::new(), String::new(), PathBuf::new());
            all.push(Volume { device: device.id, map, size: device.size_bytes, id, path, raw });
        }
        for map in &maps {
            if !all.iter().any(|volume| volume.map.key == map.key) {
                let text = format!("archive does not contain data for drive '{}'", map.key);
                return Err(Failure::new(text));
            }
        }
        for volume in &all {
            let storage = storage::find(restore.node, &volume.map.storage)?;
            if !storage.holds("images") {
                let text = format!("storage '{}' does not support vm images", storage.id);
                return Err(Failure::new(text));
            }
        }
        let touched = vec![Vec::new(); 256];
        Ok(Self { node: restore.node, guest: restore.guest.id, all, touched })
    }

    /// Makes the volumes and says where each device goes.
    pub(super) fn allocate(&mut self, journal: &mut Journal) -> Done {
        for volume in &mut self.all {
            let storage = storage::find(self.node, &volume.map.storage)?;
            let format = volume.map.format.as_str();
            let id = storage.next_volume(self.node, Kind::Qemu, self.guest, format);
            volume.path = storage::path(self.node, &id)?;
            let size = volume.size.div_ceil(1024) * 1024;
            journal.line(&formatting(&volume.path, format, size))?;
            let path = self.node.new_file(&volume.path)?;
            volume.raw = path.clone();
            volume.id = id;
            File::create_new(&path)?.set_len(if format == "raw" { size } else { 0 })?;
            if format != "raw" {
                volume.raw = path.with_extension("restore");
                File::create(&volume.raw)?.set_len(size)?;
            }
            journal.line(&format!("new volume ID is '{}'", volume.id))?;
        }
        for volume in &self.all {
            let (device, path) = (&volume.map.device, &volume.path);
            journal.line(&format!("map '{device}' to '{path}' (write zeros = 0)"))?;
        }
        Ok(())
    }

    /// Copies the data out of the archive.
    pub(super) fn fill<R: Read>(
        &mut self,
        restore: &Restore<'_>,
        reader: &mut Reader<R>,
        journal: &mut Journal,
    ) -> Done {
        let clusters: u64 = self.all.iter().map(|volume| volume.size / CLUSTER).sum();
        if clusters == 0 && !self.all.is_empty() {
            // The real reader divides by it.
            return Err(Failure::new("got signal 8"));
        }
        let mut files = Vec::new();
        for volume in &self.all {
            files.push((volume.device, OpenOptions::new().write(true).open(&volume.raw)?));
        }
        let mut pace = Pace { began: Instant::now(), clusters, said: 0, percent: 0 };
        loop {
            interrupt::check()?;
            let piece = reader.next().map_err(|error| {
                journal.line(&format!("vma: restore failed - {error}")).ok();
                Failure::new("exit code 133")
            })?;
            if clusters > 0 {
                pace.say(reader.totals().clusters, journal)?;
            }
            let Some(piece) = piece else { break };
            if let Some((_, file)) = files.iter().find(|(device, _)| *device == piece.device) {
                file.write_all_at(&piece.data, piece.offset)?;
            }
            self.touch(piece.device, piece.offset, piece.data.len() as u64);
            pace.wait(restore.bandwidth, reader.totals().clusters)?;
        }
        for (_, file) in &files {
            file.sync_data()?;
        }
        self.summary(reader, journal)?;
        self.convert()
    }

    fn touch(&mut self, device: u8, offset: u64, length: u64) {
        let Some(seen) = self.touched.get_mut(usize::from(device)) else { return };
        for cluster in offset / CLUSTER..(offset + length).div_ceil(CLUSTER) {
            let cluster = usize::try_from(cluster).unwrap_or_default();
            if seen.len() <= cluster {
                seen.resize(cluster + 1, false);
            }
            if let Some(seen) = seen.get_mut(cluster) {
                *seen = true;
            }
        }
    }

    fn summary<R: Read>(&self, reader: &Reader<R>, journal: &mut Journal) -> Done {
        let totals = reader.totals();
        let read = totals.clusters * CLUSTER;
        if read == 0 {
            return Ok(());
        }
        let sparse = read.saturating_sub(totals.data_bytes);
        let share = percent(sparse, read);
        journal.line(&format!("total bytes read {read}, sparse bytes {sparse} ({share}%)"))?;
        if totals.data_bytes == 0 {
            return Ok(());
        }
        let with_data = self.touched.iter().flatten().filter(|seen| **seen).count() as u64;
        let saved = (with_data * CLUSTER).saturating_sub(totals.data_bytes);
        let saved = percent(saved, totals.data_bytes);
        journal.line(&format!("space reduction due to 4K zero blocks {saved}%"))
    }

    fn convert(&self) -> Done {
        for volume in self.all.iter().filter(|volume| volume.map.format != "raw") {
            let (raw, path) = (volume.raw.display().to_string(), self.node.file(&volume.path));
            let path = path.display().to_string();
            let format = volume.map.format.as_str();
            node::program("qemu-img", &["convert", "-f", "raw", "-O", format, &raw, &path])?;
            fs::remove_file(&volume.raw)?;
        }
        Ok(())
    }

    /// Removes what was allocated.
    pub(super) fn discard(&self, journal: &mut Journal) {
        for volume in self.all.iter().filter(|volume| !volume.id.is_empty()) {
            fs::remove_file(&volume.raw).ok();
            if storage::remove(self.node, Kind::Qemu, &volume.id).is_ok() {
                let text = format!("temporary volume '{}' successfully removed", volume.id);
                journal.line(&text).ok();
            }
        }
    }

    /// Each drive's key and its volume.
    pub(super) fn ids(&self) -> Vec<(String, String)> {
        self.all.iter().map(|volume| (volume.map.key.clone(), volume.id.clone())).collect()
    }

    /// Corrects the sizes in the configuration: a volume is a whole number of KiB.
    pub(super) fn rescan(
        &self,
        restore: &Restore<'_>,
        config: &mut Config,
        journal: &mut Journal,
    ) -> Done {
        for volume in &self.all {
            let Some(value) = config.get(&volume.map.key) else { continue };
            let mut drive = config::Volume::parse(value);
            let size = config::size_text(volume.size.div_ceil(1024) * 1024);
            let old = drive.option("size").unwrap_or("0").to_owned();
            if config::size_bytes(&old) != config::size_bytes(&size) {
                let (id, key) = (restore.guest.id, &volume.map.key);
                journal.line(&format!(
                    "VM {id} ({key}): size of disk '{}' updated from {old} to {size}",
                    volume.id
                ))?;
                drive.set_option("size", &size);
                config.set(key, drive.text());
            }
        }
        Ok(())
    }
}

/// How the real reader counts its progress: whole clusters of each device.
struct Pace {
    began: Instant,
    clusters: u64,
    said: u64,
    percent: u64,
}

impl Pace {
    fn say(&mut self, read: u64, journal: &mut Journal) -> Done {
        while self.said < read {
            self.said += 1;
            let percent = self.said * 100 / self.clusters;
            if percent > self.percent {
                self.percent = percent;
                let (bytes, seconds) = (self.said * CLUSTER, self.began.elapsed().as_secs());
                let text =
                    format!("progress {percent}% (read {bytes} bytes, duration {seconds} sec)");
                journal.line(&text)?;
            }
        }
        Ok(())
    }

    fn wait(&self, bandwidth: u64, clusters: u64) -> Done {
        if bandwidth == 0 {
            return Ok(());
        }
        let due = Duration::from_secs_f64((clusters * CLUSTER) as f64 / (bandwidth * 1024) as f64);
        while self.began.elapsed() < due {
            interrupt::check()?;
            let rest = due.saturating_sub(self.began.elapsed());
            std::thread::sleep(rest.min(Duration::from_millis(50)));
        }
        Ok(())
    }
}

/// The line of qemu-img for a new image.
pub(crate) fn formatting(path: &str, format: &str, size: u64) -> String {
    if format == "raw" {
        return format!("Formatting '{path}', fmt=raw size={size} preallocation=off");
    }
    format!(
        "Formatting '{path}', fmt={format} cluster_size=65536 extended_l2=off \
         preallocation=metadata compression_type=zlib size={size} lazy_refcounts=off \
         refcount_bits=16"
    )
}

/// Three significant digits, as `%.3g` prints them.
fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 * 100.0 / whole as f64;
    let digits = match share {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let text = format!("{share:.digits$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
