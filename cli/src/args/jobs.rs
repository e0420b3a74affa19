//! The command line about backups, restores, points, jobs and power.

use clap::{ArgGroup, Args, Subcommand};
use drs_model::{PairName, Phase, ReplacePolicy, Transfer, TransferMethod, VmName, VmRef};

use super::catalog::Mapping;
use super::values::{self, IdPrefix, PointChoice, Rate, Source, Target};

/// How a job is submitted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Submission {
    /// Print the job's id and do not wait for it
    #[arg(long)]
    pub detach: bool,
    /// An idempotency key of your choice: the same key is the same job, never a second one
    ///
    /// A job that failed or was cancelled stays the job of its key, and asking for it again tells how
    /// it ended: to try again, take another key.
    #[arg(long, value_name = "IDEMPOTENCY_KEY",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub key: Option<String>,
}

/// How a job moves data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Transport {
    /// Stage the VM as an archive on its host and on this machine (Proxmox VE only)
    ///
    /// What the host does then outlives this program, and a broken transfer goes on where it
    /// stopped. It needs room for the archive on both sides.
    #[arg(long)]
    pub staged: bool,
    /// Move at most so many bytes per second, for example 50M
    #[arg(long, value_name = "RATE")]
    pub limit: Option<Rate>,
}

impl From<&Transport> for Transfer {
    fn from(transport: &Transport) -> Self {
        let method = if transport.staged { TransferMethod::Staged } else { TransferMethod::Stream };
        Self { method, bytes_per_second: transport.limit.and_then(|rate| rate.0) }
    }
}

/// Make a recovery point of a VM
///
/// The VM runs on meanwhile. The point counts only when every byte is in the vault; its time is the
/// instant at which the disks were frozen.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  drs backup dc1/web1
  drs backup web --detach --key nightly-2026-11-22  # the source of pair web
  drs backup pve1/112 --staged --limit 50M")]
pub(crate) struct BackupArgs {
    /// The VM, or a pair, whose source is meant
    #[arg(value_name = "HOST/VM|PAIR")]
    pub source: Source,
    #[command(flatten)]
    pub transport: Transport,
    #[command(flatten)]
    pub submission: Submission,
    /// Show what would be backed up, and stop
    #[arg(long)]
    pub dry_run: bool,
}

/// Make a VM from a recovery point
///
/// Nothing is ever overwritten: the new VM is made beside what is there, from new disks, and checked. A
/// VM of that name on the target host is an error unless --replace says what becomes of it; a restore
/// that fails leaves it as it was.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("where").required(true).args(["pair", "to"])),
    after_help = "\
Examples:
  drs restore latest --pair web --start
  drs restore 0199a5c1 --to rc1 --network br0=br-recovery --dry-run
  drs restore latest:dc1/web1 --to dc1 --as web1-copy --new-macs
  drs restore latest:pve1/112 --to pve2/212 --storage scsi0=local-lvm
  drs restore latest --pair shop --start --replace stop-and-keep"
)]
pub(crate) struct RestoreArgs {
    /// A point's id or its beginning, `latest` (with --pair), or `latest:HOST/VM`
    #[arg(value_name = "POINT|latest")]
    pub point: PointChoice,
    /// Restore to the target of this pair, with its mapping
    #[arg(long, conflicts_with_all = ["networks", "storage", "new_macs"])]
    pub pair: Option<PairName>,
    /// Restore to this host, as NAME when one is given; on Proxmox VE, NAME is a VMID
    #[arg(long, value_name = "HOST[/NAME]")]
    pub to: Option<Target>,
    #[command(flatten)]
    pub mapping: Mapping,
    /// Give the VM this name; on Proxmox VE, this VMID
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<VmName>,
    /// Start the VM when it is there
    #[arg(long)]
    pub start: bool,
    /// What becomes of a VM that is there already
    ///
    /// keep: it stays, and the new VM gets a name (a VMID) of its own. stop-and-keep: it is shut down
    /// when the new VM is ready, and kept. destroy-after-proof: like that, and destroyed when the new
    /// VM runs (or has passed its check, without --start).
    #[arg(long, value_name = "POLICY", value_parser = values::policy())]
    pub replace: Option<ReplacePolicy>,
    #[command(flatten)]
    pub transport: Transport,
    #[command(flatten)]
    pub submission: Submission,
    /// Show what would be made, and stop
    #[arg(long)]
    pub dry_run: bool,
}

/// Back a pair's source up and bring its counterpart up to date, in one job
///
/// A recovery point is made, and the counterpart at the recovery site is made anew from the
/// same read of the source, checked, and put in the place of the copy of the time before. It is kept
/// off unless --start is given. With --staged the point is made first and restored from then.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  drs replicate web
  drs replicate web --staged --limit 50M --detach")]
pub(crate) struct ReplicateArgs {
    /// The pair
    pub pair: PairName,
    /// Start the counterpart when it is up to date
    #[arg(long)]
    pub start: bool,
    /// What becomes of a counterpart that is not merely a copy of ours that is off
    ///
    /// Without it only such a copy is replaced, and anything else refused.
    #[arg(long, value_name = "POLICY", value_parser = values::policy())]
    pub replace: Option<ReplacePolicy>,
    #[command(flatten)]
    pub transport: Transport,
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
