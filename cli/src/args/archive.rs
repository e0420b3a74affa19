//! The command line about Proxmox VE's backup archives as files.

use std::path::PathBuf;

use clap::Subcommand;

/// A disk of a new archive, `NAME=FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskFile {
    pub name: String,
    pub path: PathBuf,
}

impl std::str::FromStr for DiskFile {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok(Self { name: name.to_owned(), path: path.into() })
            }
            _ => Err("write NAME=FILE, for example drive-scsi0=disk.raw".into()),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// Show what an archive holds, from its header alone
    #[command(after_help = "\
Examples:
  drs archive list vzdump-qemu-112-2026_11_22-01_50_08.vma.zst
  ssh node cat /var/lib/vz/dump/some.vma | drs archive list -")]
    List {
        /// The archive (.vma, .vma.zst, .vma.gz, .vma.lzo), or - for standard input
        file: PathBuf,
    },
    /// Read an archive to its end and say whether it is sound and complete
    ///
    /// Every header, the place and number of every cluster and every checksum that there is are
    /// checked. The format keeps no checksum of the data itself, so a digest of every disk is printed:
    /// compare it with the one of another time to see whether the data changed. A compressed archive is
    /// protected by the checksums of its compression as well.
    #[command(after_help = "\
Example:
  drs archive verify vzdump-qemu-112-2026_11_22-01_50_08.vma.zst")]
    Verify {
        /// The archive, or - for standard input
        file: PathBuf,
    },
    /// Lay an archive out as files: a sparse raw file for each disk, and the configurations
    #[command(after_help = "\
Example:
  drs archive extract vzdump-qemu-112-2026_11_22-01_50_08.vma.zst /srv/vm112")]
    Extract {
        /// The archive, or - for standard input
        file: PathBuf,
        /// A directory that does not exist yet
        directory: PathBuf,
    },
    /// Make an archive that qmrestore takes, of a configuration and raw disks
    ///
    /// The configuration needs a line for each disk that says where it belongs, as vzdump writes it:
    /// #qmdump#map:scsi0:drive-scsi0:STORAGE:raw:
    #[command(after_help = "\
Example:
  drs archive create vzdump-qemu-112-2026_11_22-12_00_00.vma.zst \\
      --config qemu-server.conf --disk drive-scsi0=disk.raw")]
    Create {
        /// The archive, ending in .vma or .vma.zst, or - for standard output; a file that is there is
        /// never overwritten
        file: PathBuf,
        /// A configuration file, under its own name: qemu-server.conf, qemu-server.fw (may be given
        /// several times)
        #[arg(long = "config", value_name = "FILE", required = true)]
        configs: Vec<PathBuf>,
        /// A disk: its name in the archive and a raw file or block device (may be given several times)
        #[arg(long = "disk", value_name = "NAME=FILE")]
        disks: Vec<DiskFile>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_a_name_and_a_file() {
        let disk = |text: &str| text.parse::<DiskFile>().map(|disk| (disk.name, disk.path));
        let is = |name: &str, path: &str| Ok((name.to_owned(), PathBuf::from(path)));
        assert_eq!(disk("drive-scsi0=disk.raw"), is("drive-scsi0", "disk.raw"));
        assert_eq!(disk("drive-scsi0=/a=b/c d"), is("drive-scsi0", "/a=b/c d"));
        for text in ["", "disk.raw", "=disk.raw", "drive-scsi0="] {
            assert!(disk(text).is_err(), "{text}");
        }
    }
}
