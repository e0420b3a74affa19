//! What is told of an archive.

use std::path::Path;

use drs_model::Timestamp;
use drs_runtime::clock;
use drs_vma::{Header, Report};
use serde::Serialize;
use uuid::Uuid;

use super::source::Source;
use crate::output::table::{Table, sheet};
use crate::output::{plain, units};

/// An archive as its header describes it.
#[derive(Serialize)]
pub(super) struct ArchiveView {
    archive: String,
    compression: String,
    uuid: Uuid,
    created_at: Option<Timestamp>,
    configs: Vec<ConfigView>,
    disks: Vec<DiskView>,
}

#[derive(Serialize)]
struct ConfigView {
    name: String,
    size_bytes: usize,
}

#[derive(Serialize)]
struct DiskView {
    id: u8,
    name: String,
    size_bytes: u64,
}

impl ArchiveView {
    pub(super) fn of(source: &Source, header: &Header) -> Self {
        let configs = header.configs.iter();
        let disks = header.devices.iter();
        Self {
            archive: source.name.clone(),
            compression: source.compression.to_string(),
            uuid: Uuid::from_bytes(header.uuid),
            created_at: Timestamp::from_second(header.created_at).ok(),
            configs: configs
                .map(|config| ConfigView {
                    name: config.name.clone(),
                    size_bytes: config.data.len(),
                })
                .collect(),
            disks: disks
                .map(|disk| DiskView {
                    id: disk.id,
                    name: disk.name.clone(),
                    size_bytes: disk.size_bytes,
                })
                .collect(),
        }
    }

    fn head(&self) -> String {
        let created = self.created_at.map_or_else(|| "unknown".to_owned(), clock::local);
        sheet([
            ("archive", plain(&self.archive)),
            ("compression", self.compression.clone()),
            ("made", created),
            ("uuid", self.uuid.to_string()),
        ])
    }

    pub(super) fn text(&self) -> String {
        let configs =
            self.configs.iter().fold(Table::new(["CONFIGURATION", "SIZE"]), |table, config| {
                table.row([plain(&config.name), units::bytes(config.size_bytes as u64)])
            });
        let disks = self.disks.iter().fold(Table::new(["DISK", "ID", "SIZE"]), |table, disk| {
            table.row([plain(&disk.name), disk.id.to_string(), units::bytes(disk.size_bytes)])
        });
        format!("{}\n{configs}\n{disks}", self.head())
    }
}

/// What reading a whole archive found.
#[derive(Serialize)]
pub(super) struct VerifyView {
    #[serde(flatten)]
    archive: ArchiveView,
    sound: bool,
    /// The format has none; only the digests tell whether data changed.
    data_checksums: bool,
    archive_bytes: u64,
    contents: Vec<DigestView>,
}

#[derive(Serialize)]
struct DigestView {
    disk: String,
    data_bytes: u64,
    digest: String,
}

impl VerifyView {
    pub(super) fn of(source: &Source, report: &Report) -> Self {
        let contents = report.devices.iter();
        Self {
            archive: ArchiveView::of(source, &report.header),
            sound: true,
            data_checksums: false,
            archive_bytes: report.archive_bytes,
            contents: contents
                .map(|content| DigestView {
                    disk: content.device.name.clone(),
                    data_bytes: content.data_bytes,
                    digest: content.digest.to_string(),
                })
                .collect(),
        }
    }

    pub(super) fn text(&self) -> String {
        let headings = Table::new(["DISK", "DATA", "DIGEST"]);
        let contents = self.contents.iter().fold(headings, |table, content| {
            let data = units::bytes(content.data_bytes);
            table.row([plain(&content.disk), data, content.digest.clone()])
        });
        format!(
            "{}\n{contents}\n\
             sound and complete: every header, and every cluster of every disk exactly once ({} read)\n\
             The format keeps no checksum of the data: compare the digests with those of another time.",
            self.archive.head(),
            units::bytes(self.archive_bytes)
        )
    }
}

/// What was laid out.
#[derive(Serialize)]
pub(super) struct ExtractView {
    #[serde(flatten)]
    archive: ArchiveView,
    directory: String,
    /// Names of the files in it.
    files: Vec<String>,
}

impl ExtractView {
    pub(super) fn of(source: &Source, header: &Header, directory: &Path) -> Self {
        let disks = header.devices.iter().map(|disk| format!("disk-{}.raw", disk.name));
        let configs = header.configs.iter().map(|config| config.name.clone());
        Self {
            archive: ArchiveView::of(source, header),
            directory: directory.display().to_string(),
            files: disks.chain(configs).collect(),
        }
    }

    pub(super) fn text(&self) -> String {
        let files: String = self.files.iter().map(|file| format!("\n  {}", plain(file))).collect();
        let (archive, directory) = (plain(&self.archive.archive), plain(&self.directory));
        format!("extracted {archive} into {directory}:{files}")
    }
}
