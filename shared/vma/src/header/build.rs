//! The header's bytes, laid out as the original's writer does.

use std::io;

use super::{Header, read};
use crate::error::{Damage, Limit, VmaError};
use crate::format::*;

/// The header as it stands in the file. What the reader would refuse is not built.
pub(crate) fn build(header: &Header) -> Result<Vec<u8>, VmaError> {
    let mut fixed = vec![0; HEADER_FIXED];
    put(&mut fixed, 0, &HEADER_MAGIC);
    put(&mut fixed, AT_VERSION, &VERSION.to_be_bytes());
    put(&mut fixed, AT_UUID, &header.uuid);
    put(&mut fixed, AT_CREATED, &header.created_at.to_be_bytes());
    let blobs = tables(&mut fixed, header)?;
    let size = HEADER_FIXED + blobs.room;
    if size > HEADER_MAX {
        return Err(VmaError::Limit { at: 0, limit: Limit::Header(size as u64) });
    }
    put(&mut fixed, AT_BLOBS, &(HEADER_FIXED as u32).to_be_bytes());
    put(&mut fixed, AT_BLOBS_SIZE, &(blobs.bytes.len() as u32).to_be_bytes());
    put(&mut fixed, AT_HEADER_SIZE, &(size as u32).to_be_bytes());
    let mut bytes = fixed;
    bytes.extend_from_slice(&blobs.bytes);
    bytes.resize(size, 0);
    let md5 = md5_without(AT_HEADER_MD5, &bytes);
    put(&mut bytes, AT_HEADER_MD5, &md5);
    read(&mut io::Cursor::new(&bytes))?;
    Ok(bytes)
}

/// Fills the tables of configurations and devices and gives the blobs that they point to.
fn tables(fixed: &mut [u8], header: &Header) -> Result<Blobs, VmaError> {
    let mut blobs = Blobs { bytes: vec![0], room: 0 };
    if header.configs.len() > TABLE {
        return Err(VmaError::Limit { at: 0, limit: Limit::Configs(header.configs.len()) });
    }
    for (index, config) in header.configs.iter().enumerate() {
        let name = blobs.name(&config.name)?;
        put(fixed, AT_CONFIG_NAMES + 4 * index, &name.to_be_bytes());
        let data = blobs.add(&config.data)?;
        put(fixed, AT_CONFIG_DATA + 4 * index, &data.to_be_bytes());
    }
    let mut last = 0;
    for device in &header.devices {
        let entry = AT_DEVICES + DEVICE_ENTRY * usize::from(device.id);
        if device.id <= last {
            return Err(VmaError::damaged(entry, Damage::DeviceId(device.id)));
        }
        last = device.id;
        put(fixed, entry, &blobs.name(&device.name)?.to_be_bytes());
        put(fixed, entry + DEVICE_ENTRY_SIZE, &device.size_bytes.to_be_bytes());
    }
    Ok(blobs)
}

/// The table of texts. The first byte is never used, so that offset 0 can mean none.
struct Blobs {
    bytes: Vec<u8>,
    /// Bytes kept for it, grown as the original does: by whole 512 for each text that does not fit.
    room: usize,
}

impl Blobs {
    fn name(&mut self, name: &str) -> Result<u32, VmaError> {
        self.add(&[name.as_bytes(), &[0]].concat())
    }

    fn add(&mut self, blob: &[u8]) -> Result<u32, VmaError> {
        let at = self.bytes.len();
        let Ok(length) = u16::try_from(blob.len()) else {
            return Err(VmaError::Limit { at: at as u64, limit: Limit::Config(blob.len()) });
        };
        let needed = blob.len() + 2;
        if self.room < at + needed {
            self.room += needed.next_multiple_of(512);
        }
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(blob);
        Ok(at as u32)
    }
}
