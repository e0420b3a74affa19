//! The command line about schedules.

use clap::{ArgGroup, Args, Subcommand};
use drs_model::{HostName, PairName, ScheduleName, VmRef, Work};

use super::jobs::{Submission, Transport};
use super::values;

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    Add(ScheduleAddArgs),
    /// List the schedules, each with its next and its latest run
    #[command(after_help = "Example:\n  drs schedule list")]
    List,
    /// Show a schedule
    #[command(after_help = "Example:\n  drs schedule show nightly")]
    Show {
        /// The schedule
        name: ScheduleName,
    },
    /// Let nothing of a schedule be due until it is resumed; a run that has begun goes on
    #[command(after_help = "Example:\n  drs schedule pause nightly")]
    Pause {
        /// The schedule
        name: ScheduleName,
    },
    /// Let a paused schedule go on with its next time; what was due meanwhile is not made up for
    #[command(after_help = "Example:\n  drs schedule resume nightly")]
    Resume {
        /// The schedule
        name: ScheduleName,
    },
    /// Do the work of a schedule now, paused or not; its own times stay as they are
    #[command(after_help = "\
Examples:
  drs schedule run nightly
  drs schedule run nightly --detach --key before-the-upgrade")]
    Run {
        /// The schedule
        name: ScheduleName,
        #[command(flatten)]
        submission: Submission,
    },
    /// Remove a schedule; its jobs and recovery points stay
    #[command(after_help = "Example:\n  drs schedule remove nightly")]
    Remove {
        /// The schedule
        name: ScheduleName,
    },
    /// Show the next times of a schedule, or of an expression before there is a schedule
    ///
    /// Each in its time zone and in UTC. Where a clock is put forward or back, it says what becomes of
    /// the time: one that does not exist runs at the next instant that does, one that exists twice runs once.
    #[command(after_help = "\
Examples:
  drs schedule preview nightly
  drs schedule preview --cron '30 2 * * *' --zone Europe/Berlin --count 200")]
    Preview(PreviewArgs),
}

/// Do something again and again
///
/// `drs serve`, or in a cluster `drs scheduler`, submits a job at each time. While the run before is not
/// over, a time is skipped; after an outage the latest missed time is made up for, and none before it.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("subject").required(true).args(["vm", "pair", "host"])),
    after_help = "\
Examples:
  drs schedule add nightly --vm dc1/web1 --work backup --cron '30 2 * * *'
  drs schedule add web-copy --pair web --work replicate --cron '0 */4 * * *'
  drs schedule add all --host dc1 --work backup --limit 50M \\
      --cron '0 1 * * 1-5' --zone Europe/Berlin
  drs schedule add proof --host dc1 --work verify --cron '0 12 * * 0'"
)]
pub(crate) struct ScheduleAddArgs {
    /// What to call it: letters, digits, - _ .
    pub name: ScheduleName,
    /// One VM
    #[arg(long, value_name = "HOST/VM")]
    pub vm: Option<VmRef>,
    /// A pair: its source, and for a replication its counterpart
    #[arg(long)]
    pub pair: Option<PairName>,
    /// Every VM that the host has when the time comes, each as a job of its own
    #[arg(long)]
    pub host: Option<HostName>,
    /// What to do
    ///
    /// backup: a recovery point of each VM. replicate: each pair, as `drs replicate` does it. verify: the
    /// latest good recovery point of each VM is read again.
    #[arg(long, value_parser = values::work())]
    pub work: Work,
    /// When: minute, hour, day of month, month, day of week; six fields begin with seconds
    #[arg(long, value_name = "EXPRESSION")]
    pub cron: String,
    /// The time zone in which the expression is read [default: this machine's, else UTC]
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    #[command(flatten)]
    pub transport: Transport,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["name", "cron"])))]
pub(crate) struct PreviewArgs {
    /// The schedule
    pub name: Option<ScheduleName>,
    /// An expression: minute, hour, day of month, month, day of week; six fields begin with seconds
    #[arg(long, value_name = "EXPRESSION")]
    pub cron: Option<String>,
    /// The time zone in which the expression is read [default: this machine's, else UTC]
    #[arg(long, value_name = "ZONE", conflicts_with = "name")]
    pub zone: Option<String>,
    /// How many times to show
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub count: u32,
}
