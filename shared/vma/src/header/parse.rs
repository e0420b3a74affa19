//! The header, read and checked.

use std::collections::BTreeSet;
use std::io::Read;

use super::{Config, Device, Header, check_name};
use crate::error::{Damage, Limit, NameFault, VmaError};
use crate::format::*;

/// Reads the header from the start of an archive and checks all of it; gives its length too.
pub(crate) fn read(input: &mut impl Read) -> Result<(Header, u64), VmaError> {
    let mut bytes = Vec::new();
    fill(input, &mut bytes, HEADER_FIXED)?;
    let damaged = |at: usize, damage| Err(VmaError::damaged(at, damage));
    if bytes_at(&bytes, 0) != Some(HEADER_MAGIC) {
        return damaged(0, Damage::NotVma);
    }
    let version = number(&bytes, AT_VERSION)?;
    if version != VERSION {
        return damaged(AT_VERSION, Damage::Version(version));
    }
    if bytes.len() < HEADER_FIXED {
        return truncated(bytes.len(), HEADER_FIXED);
    }
    let stated = number(&bytes, AT_HEADER_SIZE)?;
    let size = stated as usize;
    if size < HEADER_FIXED {
        return damaged(AT_HEADER_SIZE, Damage::HeaderSize(stated));
    }
    if size > HEADER_MAX {
        let limit = Limit::Header(u64::from(stated));
        return Err(VmaError::Limit { at: AT_HEADER_SIZE as u64, limit });
    }
    fill(input, &mut bytes, size)?;
    if bytes.len() < size {
        return truncated(bytes.len(), size);
    }
    if bytes_at(&bytes, AT_HEADER_MD5) != Some(md5_without(AT_HEADER_MD5, &bytes)) {
        return damaged(AT_HEADER_MD5, Damage::HeaderChecksum);
    }
    Ok((Parser::new(&bytes)?.header()?, u64::from(stated)))
}

/// Reads until `bytes` has `size` of them or the input ends.
fn fill(input: &mut impl Read, bytes: &mut Vec<u8>, size: usize) -> Result<(), VmaError> {
    let more = (size - bytes.len()) as u64;
    match input.take(more).read_to_end(bytes) {
        Ok(_) => Ok(()),
        Err(source) => Err(VmaError::Read { at: bytes.len() as u64, source }),
    }
}

fn truncated<T>(got: usize, wanted: usize) -> Result<T, VmaError> {
    let (got, wanted) = (got as u64, wanted as u64);
    let damage = Damage::Truncated { part: "the header", got, wanted };
    Err(VmaError::Damaged { at: got, damage })
}

fn number(bytes: &[u8], at: usize) -> Result<u32, VmaError> {
    u32_at(bytes, at).map_or_else(|| truncated(bytes.len(), at + 4), Ok)
}

/// Looks up what the tables point to.
struct Parser<'a> {
    bytes: &'a [u8],
    blobs: &'a [u8],
    blobs_at: usize,
    /// Bytes of texts handed out. Each is used once, so their sum cannot exceed the table.
    used: usize,
}

impl<'a> Parser<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, VmaError> {
        let (offset, size) = (number(bytes, AT_BLOBS)?, number(bytes, AT_BLOBS_SIZE)?);
        let blobs_at = offset as usize;
        let end = blobs_at.checked_add(size as usize);
        let blobs = end.and_then(|end| bytes.get(blobs_at..end));
        match blobs.filter(|_| blobs_at >= HEADER_FIXED) {
            Some(blobs) => Ok(Self { bytes, blobs, blobs_at, used: 0 }),
            None => Err(VmaError::damaged(AT_BLOBS, Damage::BlobTable { offset, size })),
        }
    }

    fn header(mut self) -> Result<Header, VmaError> {
        let short = || VmaError::damaged(self.bytes.len(), Damage::NotVma);
        let uuid = bytes_at(self.bytes, AT_UUID).ok_or_else(short)?;
        let created_at = bytes_at(self.bytes, AT_CREATED).map(i64::from_be_bytes);
        let created_at = created_at.ok_or_else(short)?;
        let (configs, devices) = (self.configs()?, self.devices()?);
        Ok(Header { uuid, created_at, configs, devices })
    }

    fn configs(&mut self) -> Result<Vec<Config>, VmaError> {
        let (mut configs, mut names) = (Vec::new(), BTreeSet::new());
        for index in 0..TABLE {
            let (name_at, data_at) = (AT_CONFIG_NAMES + 4 * index, AT_CONFIG_DATA + 4 * index);
            match (number(self.bytes, name_at)?, number(self.bytes, data_at)?) {
                (0, 0) => {}
                (0, _) | (_, 0) => {
                    return Err(VmaError::damaged(name_at, Damage::HalfConfig(index)));
                }
                (name, data) => {
                    let name = self.name(name, "name of a configuration", &mut names)?;
                    let data = self.blob(data, "content of a configuration")?.to_vec();
                    configs.push(Config { name, data });
                }
            }
        }
        Ok(configs)
    }

    fn devices(&mut self) -> Result<Vec<Device>, VmaError> {
        let (mut devices, mut names) = (Vec::new(), BTreeSet::new());
        for id in 0..=u8::MAX {
            let entry = AT_DEVICES + DEVICE_ENTRY * usize::from(id);
            let name = number(self.bytes, entry)?;
            let size = u64_at(self.bytes, entry + DEVICE_ENTRY_SIZE).unwrap_or_default();
            let damage = match (id, name, size) {
                (_, 0, 0) => continue,
                (0 | u8::MAX, _, _) => Damage::DeviceId(id),
                (_, 0, _) => Damage::NamelessDevice(id),
                _ => {
                    let name = self.name(name, "name of a device", &mut names)?;
                    if size <= DEVICE_SIZE_MAX {
                        devices.push(Device { id, name, size_bytes: size });
                        continue;
                    }
                    Damage::DeviceSize { name, size }
                }
            };
            return Err(VmaError::damaged(entry, damage));
        }
        Ok(devices)
    }

    /// The name at `offset` of the table, new among `names`.
    fn name(
        &mut self,
        offset: u32,
        part: &'static str,
        names: &mut BTreeSet<String>,
    ) -> Result<String, VmaError> {
        let at = self.blobs_at + offset as usize;
        let fault = |fault| VmaError::damaged(at, Damage::Name { part, fault });
        let blob = self.blob(offset, part)?;
        let text = blob.strip_suffix(&[0]).and_then(|name| std::str::from_utf8(name).ok());
        let name = text.ok_or_else(|| fault(NameFault::Form))?;
        check_name(name).map_err(fault)?;
        if !names.insert(name.to_owned()) {
            return Err(VmaError::damaged(at, Damage::NameTwice(name.to_owned())));
        }
        Ok(name.to_owned())
    }

    /// The text at `offset` of the table, which counts as used from now on.
    fn blob(&mut self, offset: u32, part: &'static str) -> Result<&'a [u8], VmaError> {
        let blob = self.lookup(offset);
        self.used += blob.map_or(0, |blob| blob.len() + 2);
        match blob.filter(|_| self.used <= self.blobs.len()) {
            Some(blob) => Ok(blob),
            None => {
                let at = self.blobs_at as u64 + u64::from(offset);
                Err(VmaError::Damaged { at, damage: Damage::Blob { part } })
            }
        }
    }

    fn lookup(&self, offset: u32) -> Option<&'a [u8]> {
        let length = bytes_at(self.blobs, offset as usize).map(u16::from_le_bytes)?;
        let start = offset as usize + 2;
        self.blobs.get(start..start.checked_add(usize::from(length))?)
    }
}
