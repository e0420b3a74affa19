//! The command line about backups, restores, points, jobs and power.

use clap::{ArgGroup, Args, Subcommand};
use drs_model::{PairName, Phase, VmName, VmRef};

use super::catalog::Mapping;
use super::values::{self, IdPrefix, PointChoice, Source, Target};

/// How a job is submitted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Submission {
    /// Print the job's id and do not wait for it
    #[arg(long)]
    pub detach: bool,
    /// An idempotency key of your choice: the same key is the same job, never a second one
    #[arg(long, value_name = "IDEMPOTENCY_KEY",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub key: Option<String>,
}

/// Make a recovery point of a VM
///
/// The VM runs on meanwhile. The point counts only when every byte is in the vault; its time is the
/// instant at which the disks were frozen.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  drs backup dc1/web1
  drs backup web --detach --key nightly-2026-11-22   (the source of the pair web)")]
pub(crate) struct BackupArgs {
    /// The VM, or a pair, whose source is meant
    #[arg(value_name = "HOST/VM|PAIR")]
    pub source: Source,
    #[command(flatten)]
    pub submission: Submission,
    /// Show what would be backed up, and stop
    #[arg(long)]
    pub dry_run: bool,
}

/// Make a VM from a recovery point
///
/// Nothing is ever overwritten: a VM or disk of that name on the target host is an error. The new
/// VM's disks are written under other names and checked before they are put in place.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("where").required(true).args(["pair", "to"])),
    after_help = "\
Examples:
  drs restore latest --pair web --start
  drs restore 0199a5c1 --to rc1 --network br0=br-recovery --dry-run
  drs restore latest:dc1/web1 --to dc1 --as web1-copy --new-macs"
)]
pub(crate) struct RestoreArgs {
    /// A point's id or its beginning, `latest` (with --pair), or `latest:HOST/VM`
    #[arg(value_name = "POINT|latest")]
    pub point: PointChoice,
    /// Restore to the target of this pair, with its mapping
    #[arg(long, conflicts_with_all = ["networks", "storage", "new_macs"])]
    pub pair: Option<PairName>,
    /// Restore to this host
    #[arg(long, value_name = "HOST[/NAME]")]
    pub to: Option<Target>,
    #[command(flatten)]
    pub mapping: Mapping,
    /// Give the VM this name
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<VmName>,
    /// Start the VM when it is there
    #[arg(long)]
    pub start: bool,
    #[command(flatten)]
    pub submission: Submission,
    /// Show what would be made, and stop
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PointCommand {
    /// List the recovery points, oldest first
    #[command(after_help = "Example:\n  drs point list --vm dc1/web1")]
    List {
        /// Only the points of this VM
        #[arg(long, value_name = "HOST/VM")]
        vm: Option<VmRef>,
    },
    /// Show a recovery point
    #[command(after_help = "Example:\n  drs point show 0199a5c1")]
    Show {
        /// The point's id or its beginning
        id: IdPrefix,
    },
    /// Re-read a recovery point and compare it with its manifest
    #[command(after_help = "Example:\n  drs point verify 0199a5c1")]
    Verify {
        /// The point's id or its beginning
        id: IdPrefix,
        #[command(flatten)]
        submission: Submission,
    },
    /// Remove a recovery point for good
    ///
    /// Shows what it removes and asks on a terminal; elsewhere it needs --yes. A point that an
    /// unfinished job reads is never removed, the last good one of a VM only with --last.
    #[command(after_help = "\
Examples:
  drs point remove 0199a5c1 --dry-run
  drs point remove 0199a5c1 --yes")]
    Remove {
        /// The point's id or its beginning
        id: IdPrefix,
        /// Show what would be removed, and stop
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Remove it even when it is the last good point of its VM
        #[arg(long)]
        last: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// List the jobs, newest first
    #[command(after_help = "Example:\n  drs job list --state running --state parked")]
    List {
        /// Only jobs in this state (may be given several times)
        #[arg(long = "state", value_name = "STATE", value_parser = values::phase())]
        states: Vec<Phase>,
        /// Only jobs about this VM
        #[arg(long, value_name = "HOST/VM")]
        vm: Option<VmRef>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50,
              value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show a job: where it stands, what it waits for, its steps
    #[command(after_help = "Example:\n  drs job show 0199a5c1")]
    Show {
        /// The job's id or its beginning
        id: IdPrefix,
    },
    /// Print a job's log
    #[command(after_help = "Example:\n  drs job log 0199a5c1 --follow")]
    Log {
        /// The job's id or its beginning
        id: IdPrefix,
        /// Go on until the job is over
        #[arg(long, short)]
        follow: bool,
    },
    /// Watch a job until it is over; ends as the job ends (see exit codes)
    #[command(after_help = "Example:\n  drs job watch 0199a5c1")]
    Watch {
        /// The job's id or its beginning
        id: IdPrefix,
    },
    /// Let a job that waits for a decision go on from where it stands
    ///
    /// For when you have mended what it could not: a host without rights, a guest that would not thaw.
    #[command(after_help = "Example:\n  drs job retry 0199a5c1")]
    Retry {
        /// The job's id or its beginning
        id: IdPrefix,
    },
    /// Cancel a job; what it did so far is taken back
    #[command(after_help = "Example:\n  drs job cancel 0199a5c1")]
    Cancel {
        /// The job's id or its beginning
        id: IdPrefix,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PowerCommand {
    /// Start a VM
    #[command(after_help = "Example:\n  drs power start rc1/web1")]
    Start(PowerArgs),
    /// Ask the guest to shut down and wait until the VM is off
    #[command(after_help = "Example:\n  drs power shutdown dc1/web1")]
    Shutdown(PowerArgs),
    /// Cut the VM's power at once
    #[command(after_help = "Example:\n  drs power stop dc1/web1")]
    Stop(PowerArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PowerArgs {
    /// The VM
    #[arg(value_name = "HOST/VM")]
    pub vm: VmRef,
    #[command(flatten)]
    pub submission: Submission,
}
