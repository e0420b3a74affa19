//! The node this command runs on: its name, its files, its clock and the lab's settings.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::failure::Done;

/// Everything a command knows of its surroundings. Paths are those of a real node; under a test they lie
/// below the directory `DRS_LAB_ROOT`.
pub(crate) struct Node {
    root: PathBuf,
    /// The node's name in the cluster.
    pub(crate) name: String,
    /// Seconds that local time is ahead of UTC.
    ahead: i64,
}

impl Node {
    pub(crate) fn here() -> Done<Self> {
        let root = std::env::var_os("DRS_LAB_ROOT").map_or_else(|| "/".into(), PathBuf::from);
        let name = match std::env::var("DRS_LAB_NODE") {
            Ok(name) => name,
            Err(_) => fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned(),
        };
        let date = Command::new("date").arg("+%z").output()?;
        Ok(Self { root, name, ahead: zone(&String::from_utf8_lossy(&date.stdout)) })
    }

    /// Where a file of the node lies.
    pub(crate) fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        match path.as_ref().strip_prefix("/") {
            Ok(below) => self.root.join(below),
            Err(_) => path.as_ref().to_owned(),
        }
    }

    /// A file of the node with its folder made.
    pub(crate) fn new_file(&self, path: impl AsRef<Path>) -> Done<PathBuf> {
        let file = self.file(path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(file)
    }

    /// A line `key: value` of /etc/drs-lab.cfg, by which a test changes how the node behaves.
    pub(crate) fn setting(&self, key: &str) -> Option<String> {
        let text = fs::read_to_string(self.file("/etc/drs-lab.cfg")).ok()?;
        let value = |line: &str| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned());
        text.lines().find_map(value)
    }

    /// A setting in seconds; fractions count.
    pub(crate) fn seconds(&self, key: &str, default: f64) -> Duration {
        let given = self.setting(key).and_then(|text| text.parse().ok());
        Duration::from_secs_f64(given.unwrap_or(default))
    }

    /// The bridges that /etc/network/interfaces defines.
    pub(crate) fn bridges(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file("/etc/network/interfaces")).unwrap_or_default();
        let name = |line: &str| line.strip_prefix("iface ")?.split(' ').next().map(str::to_owned);
        text.lines().filter_map(name).filter(|name| name.starts_with("vmbr")).collect()
    }

    pub(crate) fn local(&self, epoch: i64) -> Civil {
        Civil::of(epoch + self.ahead)
    }

    pub(crate) fn now(&self) -> Civil {
        self.local(epoch())
    }

    /// Seconds since 1970 of a local time.
    pub(crate) fn epoch_of(&self, local: &Civil) -> i64 {
        local.seconds() - self.ahead
    }
}

/// Seconds since 1970 now.
pub(crate) fn epoch() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

fn zone(text: &str) -> i64 {
    let number: i64 = text.trim().parse().unwrap_or_default();
    (number / 100) * 3600 + (number % 100) * 60
}

/// A date and time of day without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

impl Civil {
    fn of(seconds: i64) -> Self {
        let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let z = days + 719_468;
        let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month, day: day_of_year - (153 * shifted + 2) / 5 + 1, second_of_day }
    }

    fn seconds(&self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let shifted = (self.month + 9) % 12;
        let day_of_year = (153 * shifted + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        (era * 146_097 + day_of_era - 719_468) * 86_400 + self.second_of_day
    }

    /// The time in an archive's name, `2026_11_22-01_50_08`.
    pub(crate) fn in_name(text: &str) -> Option<Self> {
        let numbers: Vec<i64> =
            text.split(['_', '-']).map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let [year, month, day, hour, minute, second] = numbers[..] else { return None };
        Some(Self { year, month, day, second_of_day: hour * 3600 + minute * 60 + second })
    }

    fn clock(&self, colon: char) -> String {
        let s = self.second_of_day;
        format!("{:02}{colon}{:02}{colon}{:02}", s / 3600, s / 60 % 60, s % 60)
    }

    /// `2026-11-22 01:50:08`
    pub(crate) fn stamp(&self) -> String {
        format!("{:04}-{:02}-{:02} {}", self.year, self.month, self.day, self.clock(':'))
    }

    /// `2026_11_22-01_50_08`
    pub(crate) fn name(&self) -> String {
        format!("{:04}_{:02}_{:02}-{}", self.year, self.month, self.day, self.clock('_'))
    }

    /// `Sun Nov 22 01:50:08 2026`
    pub(crate) fn asctime(&self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let pick = |names: &[&'static str], index: i64| {
            usize::try_from(index).ok().and_then(|i| names.get(i).copied()).unwrap_or("???")
        };
        let day = pick(&DAYS, self.seconds().div_euclid(86_400).rem_euclid(7));
        let month = pick(&MONTHS, self.month - 1);
        format!("{day} {month} {:2} {} {}", self.day, self.clock(':'), self.year)
    }
}

/// A fresh uuid, as text.
pub(crate) fn new_uuid() -> Done<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned())
}

/// Runs a program of the node to its end; its own words when it fails.
pub(crate) fn program<S: AsRef<OsStr>>(name: &str, args: &[S]) -> Done<Vec<u8>> {
    let output = Command::new(name).args(args).output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(crate::failure::Failure::new(format!(
        "command '{name}' failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_time_goes_there_and_back() {
        for epoch in [0, 951_782_400, 1_706_700_600, 1_795_312_208, 4_107_542_399] {
            let civil = Civil::of(epoch);
            assert_eq!(civil.seconds(), epoch);
            assert_eq!(Civil::in_name(&civil.name()), Some(civil));
        }
        let civil = Civil::of(1_795_312_208);
        assert_eq!(civil.name(), "2026_11_22-01_50_08");
        assert_eq!(civil.stamp(), "2026-11-22 01:50:08");
        assert_eq!(civil.asctime(), "Sun Nov 22 01:50:08 2026");
    }

    #[test]
    fn a_zone_is_east_or_west() {
        assert_eq!([zone("+0000\n"), zone("+0530"), zone("-0330")], [0, 19_800, -12_600]);
    }
}
