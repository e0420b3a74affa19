//! Configurations of guests (`qemu-server.conf`, `pct.conf`): read without loss, written back byte for
//! byte.
//!
//! A configuration is a description (`#` lines), then lines `key: value`, then sections
//! (`[PENDING]`, `[special:...]`, snapshots), which begin with a line in brackets. Only what stands
//! before the sections is the guest as it is; the sections are cut off. Lines that are neither are
//! kept and mean nothing.

mod drive;
mod fresh;
mod net;
mod properties;
mod spec;
#[cfg(test)]
mod tests;

use std::fmt;

pub(super) use drive::{is_drive, size_bytes, volume_storage};
pub(super) use fresh::fresh;
pub(super) use net::{is_net, map_network, new_mac, nic, set_mac};
pub(super) use properties::Properties;
pub(super) use spec::spec;

/// A configuration without its sections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// Whole lines with their ends.
    lines: Vec<String>,
}

/// How the lines begin by which `vzdump` tells where each disk came from:
/// `#qmdump#map:VIRTDEV:DEVNAME:STORAGE:FORMAT:`.
const MAP: &str = "#qmdump#map:";

impl Config {
    /// Reads a configuration; every text is one.
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.split_inclusive('\n').take_while(|line| !is_section(line));
        Self { lines: lines.map(str::to_owned).collect() }
    }

    /// The value of a key; the last line counts.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.entries().filter(|(name, _)| *name == key).last().map(|(_, value)| value)
    }

    /// The number that a key's value is.
    pub(super) fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key)?.parse().ok()
    }

    /// Keys and values in the order of the lines.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(|line| entry(line))
    }

    /// Gives a key a value: in its place, or behind the last line of that kind. Control characters
    /// of the value are left out, so that it stays one line.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        let line = format!("{key}: {value}\n");
        let holds = |line: &String| entry(line).is_some_and(|(name, _)| name == key);
        match self.lines.iter().rposition(holds) {
            Some(at) => self.lines[at] = line,
            None => {
                let last = self.lines.iter().rposition(|line| entry(line).is_some());
                let behind_description =
                    || self.lines.iter().take_while(|l| l.starts_with('#') && !l.starts_with(MAP));
                let at = last.map_or_else(|| behind_description().count(), |at| at + 1);
                if let Some(before) = at.checked_sub(1) {
                    end_line(&mut self.lines[before]);
                }
                self.lines.insert(at, line);
            }
        }
    }

    /// Removes a key.
    pub(super) fn remove(&mut self, key: &str) {
        self.lines.retain(|line| entry(line).is_none_or(|(name, _)| name != key));
    }

    /// Removes the lines that `vzdump` adds.
    pub(super) fn remove_maps(&mut self) {
        self.lines.retain(|line| !line.starts_with("#qmdump#") && !line.starts_with("#vzdump#"));
    }

    /// Adds the line by which a restore learns where a disk goes.
    pub(super) fn add_map(&mut self, virtdev: &str, device: &str, storage: &str, format: &str) {
        if let Some(last) = self.lines.last_mut() {
            end_line(last);
        }
        self.lines.push(format!("{MAP}{virtdev}:{device}:{storage}:{format}:\n"));
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| f.write_str(line))
    }
}

fn is_section(line: &str) -> bool {
    line.starts_with('[') && line.trim_end().ends_with(']')
}

fn entry(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let named = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.');
    named.then(|| (key, value.trim()))
}

fn end_line(line: &mut String) {
    if !line.ends_with('\n') {
        line.push('\n');
    }
}
