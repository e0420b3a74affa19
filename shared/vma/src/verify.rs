//! Reads a whole archive and says what is in it.

use std::io::Read;
use std::sync::mpsc::{TrySendError, sync_channel};
use std::thread;

use crate::digest::ContentDigest;
use crate::error::VmaError;
use crate::extent::Extent;
use crate::header::{Device, Header};
use crate::reader::{EXTENTS_AHEAD, Reader};
use crate::totals::{Progress, Totals};

/// What a whole archive holds. That there is a report means: the header and every extent are
/// sound, and every cluster of every device was there exactly once. The *data* may still have
/// changed since it was written, because the format keeps no checksum of it: only a digest that is
/// known from elsewhere tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The archive's header, with all configurations.
    pub header: Header,
    /// The length of the uncompressed archive, in bytes.
    pub archive_bytes: u64,
    /// Extents, clusters and stored bytes of the whole archive.
    pub totals: Totals,
    /// What was found of each device, in the header's order.
    pub devices: Vec<DeviceReport>,
}

/// What a device holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceReport {
    /// The device, as the header has it.
    pub device: Device,
    /// Bytes of it that are stored and not all zeros, by whole blocks; the rest are holes.
    pub data_bytes: u64,
    /// The digest of its whole content.
    pub digest: ContentDigest,
}

/// Reads the archive to its end, with one more thread for the digests. `progress` is called after
/// every extent.
///
/// # Errors
/// The first damage with its place, or a failure of the input.
pub fn verify<R: Read>(
    mut reader: Reader<R>,
    mut progress: impl FnMut(Progress),
) -> Result<Report, VmaError> {
    let header = reader.header().clone();
    let empty: Vec<DeviceReport> = header.devices.iter().map(DeviceReport::empty).collect();
    let (mut devices, mut helped) = (empty.clone(), empty);
    let (sender, receiver) = sync_channel(EXTENTS_AHEAD);
    thread::scope(|scope| {
        let devices = &mut devices;
        scope.spawn(move || receiver.into_iter().for_each(|extent| digest(devices, &extent)));
        while let Some(extent) = reader.next_extent()? {
            match sender.try_send(extent) {
                Ok(()) => {}
                // On a busy machine, waiting to be woken costs more than the digest.
                Err(TrySendError::Full(extent)) => digest(&mut helped, &extent),
                // The other side ends only after this one, or with a panic that the scope passes on.
                Err(TrySendError::Disconnected(_)) => break,
            }
            progress(reader.progress());
        }
        // Dropped before the scope waits for the other side.
        drop(sender);
        Ok(())
    })?;
    devices.iter_mut().zip(&helped).for_each(|(device, more)| device.merge(more));
    let (archive_bytes, totals) = (reader.position(), reader.totals());
    Ok(Report { header, archive_bytes, totals, devices })
}

fn digest(devices: &mut [DeviceReport], extent: &Extent) {
    for (slot, data) in extent.clusters().filter(|(slot, _)| slot.mask != 0) {
        let report = devices.iter_mut().find(|report| report.device.id == slot.device);
        if let Some(report) = report {
            report.data_bytes += report.digest.add(slot, data, report.device.size_bytes);
        }
    }
}

impl DeviceReport {
    fn empty(device: &Device) -> Self {
        Self { device: device.clone(), data_bytes: 0, digest: ContentDigest::default() }
    }

    /// Adds what was found in other extents.
    fn merge(&mut self, others: &Self) {
        self.data_bytes += others.data_bytes;
        self.digest.merge(others.digest);
    }
}
