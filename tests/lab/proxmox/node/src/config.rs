//! A guest's configuration file: a description, `key: value` lines, and sections that come after them.

use std::collections::BTreeMap;

/// A configuration as it is written: description first, keys sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// The description's lines, encoded as in the file.
    description: Vec<String>,
    /// What counts now.
    pub(crate) values: BTreeMap<String, String>,
    /// `[PENDING]` and snapshots, with their heads.
    sections: String,
}

impl Config {
    pub(crate) fn parse(text: &str) -> Self {
        let (head, sections) = match text.find("\n[").or(text.starts_with('[').then_some(0)) {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let mut config = Self { sections: sections.trim_start().to_owned(), ..Self::default() };
        for line in head.lines() {
            if let Some(words) = line.strip_prefix('#') {
                config.description.push(words.to_owned());
            } else if let Some((key, value)) = line.split_once(':') {
                config.values.insert(key.trim().to_owned(), value.trim().to_owned());
            }
        }
        config
    }

    pub(crate) fn text(&self) -> String {
        let comments: String = self.description.iter().map(|line| format!("#{line}\n")).collect();
        let values: String = self.values.iter().map(|(k, v)| format!("{k}: {v}\n")).collect();
        let gap = if self.sections.is_empty() { "" } else { "\n" };
        format!("{comments}{values}{gap}{}", self.sections)
    }

    /// A line among the description's, encoded.
    pub(crate) fn comment(&mut self, line: &str) {
        self.description.push(encoded(line));
    }

    /// The description in plain text.
    pub(crate) fn description(&self) -> Option<String> {
        (!self.description.is_empty()).then(|| decoded(&self.description.join("\n")))
    }

    /// Replaces the description by plain text.
    pub(crate) fn describe(&mut self, text: &str) {
        self.description = text.lines().map(encoded).collect();
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.values.insert(key.to_owned(), value.into());
    }

    pub(crate) fn number(&self, key: &str, default: u64) -> u64 {
        self.get(key).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    /// Changes are waiting for the next start.
    pub(crate) fn has_pending(&self) -> bool {
        self.sections.contains("[PENDING]")
    }

    /// There are snapshots.
    pub(crate) fn has_snapshots(&self) -> bool {
        self.sections.lines().any(|line| line.starts_with('[') && line != "[PENDING]")
    }

    /// The guest's disks in the order of their names as text, CD-ROM drives left out.
    pub(crate) fn disks(&self) -> Vec<(String, Volume)> {
        self.volumes(is_disk_key)
    }

    /// A container's root file system and mount points that are volumes or binds.
    pub(crate) fn mount_points(&self) -> Vec<(String, Volume)> {
        let mut found = self.volumes(|key| key == "rootfs" || numbered(key, &["mp"]));
        found.sort_by_key(|(key, _)| key != "rootfs");
        found
    }

    fn volumes(&self, wanted: impl Fn(&str) -> bool) -> Vec<(String, Volume)> {
        let chosen = self.values.iter().filter(|(key, _)| wanted(key));
        let read = chosen.map(|(key, value)| (key.clone(), Volume::parse(value)));
        read.filter(|(_, volume)| !volume.is_cdrom()).collect()
    }

    /// The disk that `boot` names first, or the first disk.
    pub(crate) fn boot_disk(&self) -> Option<(String, Volume)> {
        let disks = self.disks();
        let order = self.get("boot").and_then(|boot| boot.strip_prefix("order="));
        let first = order.and_then(|order| {
            order.split(';').find_map(|key| disks.iter().find(|(name, _)| name == key))
        });
        first.or(disks.first()).cloned()
    }
}

/// A value like `local:112/vm-112-disk-0.raw,size=8M,backup=0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    /// What comes before the first comma.
    pub(crate) id: String,
    options: Vec<(String, String)>,
}

impl Volume {
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = text.split(',');
        let id = parts.next().unwrap_or_default();
        let id = id.strip_prefix("file=").or(id.strip_prefix("volume=")).unwrap_or(id);
        let option = |part: &str| {
            let (key, value) = part.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        };
        Self { id: id.to_owned(), options: parts.filter_map(option).collect() }
    }

    pub(crate) fn text(&self) -> String {
        let options = self.options.iter().map(|(key, value)| format!(",{key}={value}"));
        format!("{}{}", self.id, options.collect::<String>())
    }

    pub(crate) fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn set_option(&mut self, key: &str, value: &str) {
        match self.options.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => value.clone_into(old),
            None => {
                self.options.push((key.to_owned(), value.to_owned()));
                self.options.sort();
            }
        }
    }

    pub(crate) fn drop_option(&mut self, key: &str) {
        self.options.retain(|(name, _)| name != key);
    }

    fn is_cdrom(&self) -> bool {
        self.option("media") == Some("cdrom") || matches!(self.id.as_str(), "none" | "cdrom")
    }

    /// The volume lies on a storage, so it is no bind mount or device.
    pub(crate) fn is_stored(&self) -> bool {
        self.id.contains(':') && !self.id.starts_with('/')
    }

    /// A backup leaves it out.
    pub(crate) fn is_excluded(&self) -> bool {
        self.option("backup") == Some("0")
    }
}

/// A key like `scsi0`.
pub(crate) fn is_disk_key(key: &str) -> bool {
    numbered(key, &["ide", "scsi", "virtio", "sata", "efidisk", "tpmstate"])
}

/// A key that is one of the stems and a number.
pub(crate) fn numbered(key: &str, stems: &[&str]) -> bool {
    let number = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    stems.iter().any(|stem| key.strip_prefix(stem).is_some_and(number))
}

/// A size as a configuration says it: the largest unit that is whole, at least K; else plain bytes.
pub(crate) fn size_text(bytes: u64) -> String {
    for (unit, letter) in [(1 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{letter}", bytes / unit);
        }
    }
    bytes.to_string()
}

/// The bytes of a configuration's size.
pub(crate) fn size_bytes(text: &str) -> Option<u64> {
    let shift = match text.chars().last()? {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return text.parse().ok(),
    };
    text.trim_end_matches(char::is_alphabetic).parse::<u64>().ok().map(|number| number << shift)
}

/// Text on one line, as descriptions are kept and printed.
pub(crate) fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'%' | b':' | 0..=31 | 127.. => format!("%{byte:02X}"),
        _ => char::from(byte).to_string(),
    };
    text.bytes().map(one).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escape = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| byte == b'%') {
            Some(value) => {
                bytes.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_goes_there_and_back() {
        let text =
            "#first line\n#100%25\nmemory: 64\nscsi0: local:1/a.raw,size=8M\n\n[snap]\nmemory: 1\n";
        let config = Config::parse(text);
        assert_eq!(config.text(), text);
        assert_eq!(config.description().as_deref(), Some("first line\n100%"));
        assert_eq!(config.get("memory"), Some("64"));
        assert!(config.has_snapshots());
        assert!(!config.has_pending());
    }

    #[test]
    fn a_drive_that_becomes_a_comment_is_encoded() {
        let mut config = Config::default();
        config.comment("scsi1: local:1/b.raw,backup=0");
        assert_eq!(config.text(), "#scsi1%3A local%3A1/b.raw,backup=0\n");
    }

    #[test]
    fn disks_are_sorted_as_text_and_cdroms_are_none() {
        let text = "scsi10: a:1\nscsi2: a:2\nide2: none,media=cdrom\nrootfs: a:3\nnet0: x\n";
        let names: Vec<String> = Config::parse(text).disks().into_iter().map(|d| d.0).collect();
        assert_eq!(names, ["scsi10", "scsi2"]);
    }

    #[test]
    fn sizes_have_the_largest_whole_unit() {
        assert_eq!(size_text(8 << 20), "8M");
        assert_eq!(size_text(1_573_376), "1573376");
        assert_eq!(size_text(1537 << 10), "1537K");
        assert_eq!(size_bytes("1537K"), Some(1537 << 10));
        assert_eq!(size_bytes("1573376"), Some(1_573_376));
    }
}
