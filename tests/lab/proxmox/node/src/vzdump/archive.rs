//! The files of one backup: the archive, what it is called while it is written, and its log.

use std::fs::{self, File};

use crate::failure::{Done, Failure};
use crate::guests::{Guest, Kind};
use crate::node::{Civil, Node};

use super::Job;

/// Names as on a real node; the files lie where the node has them.
#[derive(Debug)]
pub(super) struct Archive {
    /// The archive when it is whole.
    pub(super) target: String,
    /// The archive while it is written.
    pub(super) partial: String,
    /// The folder for the configuration, removed in the end.
    pub(super) tmp: String,
    pub(super) log: String,
}

impl Archive {
    pub(super) fn of(job: &Job, guest: &Guest, now: Civil) -> Self {
        let stem = format!("{}/vzdump-{}-{}-{}", job.dump, guest.kind.word(), guest.id, now.name());
        let form = if guest.kind == Kind::Qemu { ".vma" } else { ".tar" };
        let ending = job.compressor.ending();
        let inner = if ending.is_empty() { "" } else { form };
        let tmp = job.tmp.as_ref().map_or_else(
            || format!("{stem}.tmp"),
            |tmp| format!("{tmp}/vzdumptmp{}_{}", std::process::id(), guest.id),
        );
        Self {
            target: format!("{stem}{form}{ending}"),
            partial: format!("{stem}{inner}.dat"),
            tmp,
            log: format!("{stem}.log"),
        }
    }

    /// The file to write to. The name has a resolution of one second, so it may be taken.
    pub(super) fn create(&self, node: &Node) -> Done<File> {
        if node.file(&self.target).exists() {
            let text = format!("unable to create archive '{}': File exists", self.target);
            return Err(Failure::new(text));
        }
        Ok(File::create(node.file(&self.partial))?)
    }

    /// Gives the archive its name; its size in the words of vzdump.
    pub(super) fn complete(&self, node: &Node) -> Done<String> {
        let partial = node.file(&self.partial);
        let size = fs::metadata(&partial)?.len();
        fs::rename(partial, node.file(&self.target))?;
        Ok(size_words(size))
    }

    pub(super) fn discard(&self, node: &Node) {
        fs::remove_file(node.file(&self.partial)).ok();
    }

    pub(super) fn remove_tmp(&self, node: &Node) {
        fs::remove_dir_all(node.file(&self.tmp)).ok();
    }
}

fn size_words(bytes: u64) -> String {
    let gigabytes = bytes as f64 / f64::from(1 << 30);
    match bytes >> 20 {
        0 => format!("{}KB", bytes >> 10),
        megabytes @ 1..1024 => format!("{megabytes}MB"),
        1024..1_048_576 => format!("{gigabytes:.2}GB"),
        _ => format!("{:.2}TB", gigabytes / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_cut_to_whole_units() {
        assert_eq!(size_words(188), "0KB");
        assert_eq!(size_words(14_257), "13KB");
        assert_eq!(size_words(1_270_012), "1MB");
        assert_eq!(size_words(3 << 29), "1.50GB");
    }
}
