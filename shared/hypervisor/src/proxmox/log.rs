//! What the log of a run of vzdump tells. Exit codes tell nothing; what is not in the log did not
//! happen.

#[cfg(test)]
mod tests;

use drs_model::Consistency;

use super::guest::Vmid;

/// What the guest's file systems were, at the freeze instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Freeze {
    /// Nothing was tried: no agent, or the guest was off.
    #[default]
    None,
    /// Frozen.
    Done,
    /// vzdump did not try, for this reason.
    Skipped(String),
    /// It tried and failed, for this reason.
    Failed(String),
}

/// What one run of vzdump says of one guest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Account {
    /// The backup of this guest was begun.
    pub(super) begun: bool,
    /// It ended well.
    pub(super) finished: bool,
    /// All of the guest's data was written, whatever failed behind it.
    pub(super) data_complete: bool,
    /// Why it failed.
    pub(super) failure: Option<String>,
    /// The archive's path; none of a stream.
    pub(super) archive: Option<String>,
    /// Length of a container's archive, uncompressed, in bytes.
    pub(super) tar_bytes: Option<u64>,
    /// The guest was off.
    pub(super) was_off: bool,
    /// What became of the freeze.
    pub(super) freeze: Freeze,
    /// What deserves a look, one sentence each.
    pub(super) warnings: Vec<String>,
}

/// Information that the operator should see, by how the line begins. A container whose storage has no
/// snapshots is suspended instead.
const NOTABLE: &[&str] = &[
    "pending configuration changes found",
    "snapshots found",
    "excluding ",
    "mode failure",
    "trying 'stop' mode",
    "suspending guest",
    "stopping virtual guest",
];

/// What a hook that failed behind a container's data was called with.
const LATE_HOOKS: &[&str] = &[" pre-restart ", " post-restart ", " backup-end ", " log-end "];

impl Account {
    /// Reads a log from its beginning, or as much as there is of it.
    pub(super) fn read(vmid: Vmid, log: &str) -> Self {
        let mut account = Self::default();
        let mut before = "";
        for line in log.lines() {
            if let Some(text) = line.strip_prefix("INFO:") {
                account.inform(vmid, text.trim());
                before = text.trim();
            } else if let Some(text) = line.strip_prefix("WARN:") {
                account.warnings.push(format!("vzdump warns: {}", text.trim()));
            } else if let Some(text) = line.strip_prefix("ERROR:") {
                account.complain(vmid, before, text.trim());
            }
        }
        account
    }

    /// What the freeze was worth.
    pub(super) fn consistency(&self) -> Consistency {
        match self.freeze {
            _ if self.was_off => Consistency::Off,
            Freeze::Done => Consistency::FileSystem,
            Freeze::None | Freeze::Skipped(_) | Freeze::Failed(_) => Consistency::Crash,
        }
    }

    fn inform(&mut self, vmid: Vmid, text: &str) {
        if text.starts_with(&format!("Starting Backup of VM {vmid} ")) {
            *self = Self { begun: true, ..Self::default() };
        } else if text.starts_with(&format!("Finished Backup of VM {vmid} ")) {
            self.finished = true;
        } else if let Some(path) = text.strip_prefix("creating vzdump archive '") {
            self.archive = path.strip_suffix('\'').map(str::to_owned);
        } else if text.starts_with("transferred ") || text == "starting diskless backup" {
            self.data_complete = true;
        } else if let Some(sum) = text.strip_prefix("Total bytes written: ") {
            self.tar_bytes = sum.split(' ').next().and_then(|bytes| bytes.parse().ok());
            self.data_complete = self.tar_bytes.is_some();
        } else if text == "status = stopped" {
            self.was_off = true;
        } else if text.starts_with("issuing guest-agent 'fs-freeze'") {
            self.freeze = Freeze::Done;
        } else if text.starts_with("skipping guest") && text.contains("freeze") {
            self.freeze = Freeze::Skipped(skip_reason(text).to_owned());
        } else if NOTABLE.iter().any(|begin| text.starts_with(begin)) {
            self.warnings.push(format!("vzdump says: {text}"));
        }
    }

    fn complain(&mut self, vmid: Vmid, before: &str, text: &str) {
        if let Some(reason) = text.strip_prefix(&format!("Backup of VM {vmid} failed - ")) {
            self.failure = Some(reason.to_owned());
            // A tar tells its sum also when there were files that it could not read.
            let behind = LATE_HOOKS.iter().any(|phase| reason.contains(phase));
            self.data_complete &= self.tar_bytes.is_none() || behind;
        } else if before.starts_with("issuing guest-agent 'fs-freeze'") {
            self.freeze = Freeze::Failed(text.to_owned());
        } else if before.starts_with("issuing guest-agent 'fs-thaw'") {
            self.warnings.push(format!(
                "the guest's file systems may still be frozen (`qm guest cmd {vmid} fsfreeze-thaw`): {text}"
            ));
        }
    }
}

/// Both `skipping guest filesystem freeze - REASON` and the older `skipping guest-agent 'fs-freeze',
/// REASON`.
fn skip_reason(text: &str) -> &str {
    let parts = text.split_once(" - ").or_else(|| text.split_once(", "));
    parts.map_or(text, |(_, reason)| reason.trim_end_matches('?'))
}

/// How far a dump is by its log so far: done and total bytes. None for containers, and for guests so
/// small or so stuck that vzdump has told nothing yet.
pub(super) fn progress(log: &str) -> Option<(u64, u64)> {
    let told = log.lines().rev().find_map(|line| progress_of(line.strip_prefix("INFO:")?.trim()));
    // A guest that writes meanwhile can bring it beyond the total.
    told.map(|(done, total)| (done.min(total), total))
}

/// ` 25% (17.2 MiB of 68.0 MiB) in 3s, ...`, and before Proxmox VE 6.2 `status: 3% (1234/5678), ...`.
fn progress_of(text: &str) -> Option<(u64, u64)> {
    let (percent, rest) = text.strip_prefix("status: ").unwrap_or(text).split_once("% (")?;
    percent.parse::<u32>().ok()?;
    let (amounts, _) = rest.split_once(')')?;
    let (done, total) = match amounts.split_once(" of ") {
        Some((done, total)) => (size(done)?, size(total)?),
        None => {
            let (done, total) = amounts.split_once('/')?;
            (done.parse().ok()?, total.parse().ok()?)
        }
    };
    (total > 0).then_some((done, total))
}

/// `17.2 MiB` in bytes.
fn size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_once(' ')?;
    let power = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].iter().position(|known| *known == unit)?;
    let number: f64 = number.parse().ok().filter(|number: &f64| *number >= 0.0)?;
    Some((number * 1024_f64.powi(i32::try_from(power).ok()?)) as u64)
}
