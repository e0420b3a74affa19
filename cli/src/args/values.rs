//! Values of the command line that are checked while it is read.

use std::num::NonZeroU64;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use drs_model::{HostName, HypervisorKind, PairName, Phase, ReplacePolicy, VmName, VmRef, Work};

/// What to back up: `HOST/VM`, or the name of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Vm(VmRef),
    Pair(PairName),
}

impl FromStr for Source {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return text.parse().map(Self::Vm).map_err(text_of);
        }
        text.parse().map(Self::Pair).map_err(text_of)
    }
}

/// Where to: `HOST`, or `HOST/VM` to name the VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub host: HostName,
    pub name: Option<VmName>,
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            let VmRef { host, name } = text.parse().map_err(text_of)?;
            return Ok(Self { host, name: Some(name) });
        }
        Ok(Self { host: text.parse().map_err(text_of)?, name: None })
    }
}

/// Which point: `latest`, `latest:HOST/VM`, an id, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PointChoice {
    Latest,
    LatestOf(VmRef),
    Id(IdPrefix),
}

impl FromStr for PointChoice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("latest") {
            Some("") => Ok(Self::Latest),
            Some(rest) => rest
                .strip_prefix(':')
                .ok_or_else(|| "write `latest` or `latest:HOST/VM`".to_owned())?
                .parse()
                .map(Self::LatestOf)
                .map_err(text_of),
            None => text.parse().map(Self::Id),
        }
    }
}

/// An id, or the beginning of one: at least 8 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdPrefix(String);

impl IdPrefix {
    /// Whether this is that id, or its beginning.
    pub(crate) fn fits(&self, id: &impl ToString) -> bool {
        id.to_string().starts_with(&self.0)
    }

    /// The text, in lower case.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdPrefix {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_hexdigit() || c == '-';
        if !(8..=36).contains(&text.len()) || !text.chars().all(allowed) {
            return Err("an id has 36 hexadecimal digits and dashes; its first 8 or more will \
                        do when they are unique"
                .into());
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// One entry of a network mapping, `OLD=NEW`; without NEW it takes the entry out (`pair edit`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkEntry(pub String, pub String);

impl FromStr for NetworkEntry {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (old, new) =
            text.split_once('=').ok_or("write OLD=NEW, for example br0=br-recovery")?;
        let bad = |name: &str| {
            name.len() > 80
                || name.starts_with('-')
                || name.contains(|c: char| c.is_control() || "/'\"<>&".contains(c))
        };
        if old.is_empty() || bad(old) || bad(new) {
            return Err(
                "a network name has 1 to 80 characters, no quotes, no / and no leading -".into()
            );
        }
        Ok(Self(old.to_owned(), new.to_owned()))
    }
}

/// One entry of a storage mapping, `DISK=DIR` or for Proxmox VE `DISK=STORAGE`; without the right side
/// it takes the entry out (`pair edit`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StorageEntry(pub String, pub String);

impl FromStr for StorageEntry {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (disk, folder) =
            text.split_once('=').ok_or("write DISK=DIR, for example vda=/srv/images; on Proxmox VE DISK=STORAGE, for example scsi0=local-lvm")?;
        if disk.is_empty() || !disk.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err("a disk is named as `drs vm show` shows it, for example vda".into());
        }
        if !folder.is_empty() {
            remote_place(folder)?;
        }
        Ok(Self(disk.to_owned(), folder.to_owned()))
    }
}

/// A folder on a host: absolute, without `..` and control characters.
pub(crate) fn remote_folder(text: &str) -> Result<String, String> {
    let plain = !text.contains(char::is_control) && text.split('/').all(|part| part != "..");
    if !text.starts_with('/') || !plain || text.len() > 1024 {
        return Err("a folder on a host begins with / and contains no ..".into());
    }
    Ok(text.to_owned())
}

/// Where disks are kept on a host: a folder, or the id of a storage of Proxmox VE.
pub(crate) fn remote_place(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return remote_folder(text);
    }
    let letter = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !letter || !plain || text.len() > 100 {
        return Err(
            "a folder on a host begins with / and contains no ..; a storage id of Proxmox VE \
                    begins with a letter and has letters, digits, - _ ."
                .into(),
        );
    }
    Ok(text.to_owned())
}

/// A limit: so many bytes per second, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub Option<NonZeroU64>);

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const RULE: &str = "write bytes per second as 500K, 50M or 2G (powers of 1024; at least \
                            64K), or none";
        const LEAST: u64 = 64 * 1024;
        if text == "none" {
            return Ok(Self(None));
        }
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor: u64 = match text.strip_prefix(digits).unwrap_or_default() {
            "" => 1,
            "K" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            _ => return Err(RULE.into()),
        };
        let number = Some(digits).filter(|digits| !digits.starts_with('+'));
        let number: u64 = number.and_then(|digits| digits.parse().ok()).ok_or(RULE)?;
        let rate = number.checked_mul(factor).filter(|rate| *rate >= LEAST);
        rate.and_then(NonZeroU64::new).map(|rate| Self(Some(rate))).ok_or_else(|| RULE.to_owned())
    }
}

/// A policy's name.
pub(crate) fn policy() -> impl TypedValueParser<Value = ReplacePolicy> {
    PossibleValuesParser::new(ReplacePolicy::ASKABLE.map(ReplacePolicy::as_str))
        .try_map(|name| name.parse::<ReplacePolicy>())
}

/// A fingerprint as OpenSSH writes it.
pub(crate) fn fingerprint(text: &str) -> Result<String, String> {
    let digest = text.strip_prefix("SHA256:").unwrap_or_default();
    let base64 = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
    if digest.len() != 43 || !digest.chars().all(base64) {
        return Err(
            "a fingerprint is SHA256: and 43 characters, as `ssh-keygen -l` prints it".into()
        );
    }
    Ok(text.to_owned())
}

/// A driver's name.
pub(crate) fn driver() -> impl TypedValueParser<Value = HypervisorKind> {
    PossibleValuesParser::new(HypervisorKind::ALL.map(HypervisorKind::as_str))
        .try_map(|name| name.parse::<HypervisorKind>())
}

/// The name of what a schedule does.
pub(crate) fn work() -> impl TypedValueParser<Value = Work> {
    PossibleValuesParser::new(Work::ALL.map(Work::as_str)).try_map(|name| name.parse::<Work>())
}

/// A job state's name.
pub(crate) fn phase() -> impl TypedValueParser<Value = Phase> {
    PossibleValuesParser::new(Phase::ALL.map(Phase::as_str)).try_map(|name| {
        Phase::ALL.into_iter().find(|phase| phase.as_str() == name).ok_or("no state")
    })
}

fn text_of(error: impl ToString) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_with_a_unit_or_none() {
        let rate = |text: &str| text.parse::<Rate>().map(|rate| rate.0.map_or(0, NonZeroU64::get));
        for (text, bytes) in [
            ("none", 0),
            ("65536", 64 << 10),
            ("64K", 64 << 10),
            ("500KiB", 500 << 10),
            ("50M", 50 << 20),
            ("2G", 2 << 30),
            ("16777215GiB", 16_777_215 << 30),
        ] {
            assert_eq!(rate(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "65535",
            "63K",
            "-1M",
            "+5M",
            "1.5M",
            "50m",
            "50MB",
            "50 M",
            "M",
            "17179869184G",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn disks_go_into_a_folder_or_a_storage() {
        for text in ["/", "/srv/images", "/a b/c", "local-lvm", "ceph_1.pool"] {
            assert_eq!(remote_place(text).as_deref(), Ok(text));
        }
        let long = "x".repeat(101);
        for text in
            ["", "srv/images", "/a/../b", "/a\nb", "-x", "1st", "a b", "a:b", "$(id)", &long]
        {
            assert!(remote_place(text).is_err(), "{text}");
        }
    }
}
