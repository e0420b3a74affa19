//! What the roles of a cluster take.

use clap::{Args, Subcommand};

/// Take jobs and run them (a cluster's worker)
///
/// Any number of workers share the jobs of a cluster; any of them may be killed at any time. At SIGTERM or
/// Ctrl-C every job is handed over within seconds and goes on under another worker at once. The jobs of a
/// worker that was killed go on when its lease is over (`[worker] lease_seconds`, 60 by default), while a
/// scheduler runs.
///
/// Each worker must have the same vault: `[vault] path` or DRS_VAULT, on every machine the same storage.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  drs worker                          # until it is told to end
  drs worker --idle-exit 300          # ends after 5 minutes without a job
  drs worker --once --idle-exit 10    # one job; its end is the exit code

Exit codes of --once: as of `drs backup` and its like; 75 when no job came
in time, the job waits for its next attempt, or a server of the cluster is
away; 2 when a server refuses (password, virtual host, certificate). Without
--once a worker waits for servers that are away.")]
pub(crate) struct WorkerArgs {
    /// Run one job and end
    #[arg(long)]
    pub once: bool,
    /// End when no job came and none ran for so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub idle_exit: Option<u64>,
}

/// What can be done with messages that no worker could understand, or that were delivered too often.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List them, the oldest first
    #[command(after_help = "Example:\n  drs dead list")]
    List {
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Show one, with its body
    #[command(after_help = "Example:\n  drs dead show 01a201c5-349f-7765-99ec-6de28416b266")]
    Show {
        /// Its id, as `drs dead list` shows it
        id: String,
    },
    /// Put one back into the queue of its job
    #[command(after_help = "Example:\n  drs dead replay 01a201c5-349f-7765-99ec-6de28416b266")]
    Replay {
        /// Its id, as `drs dead list` shows it
        id: String,
    },
    /// Remove one for good
    ///
    /// Shows what it removes and asks on a terminal; elsewhere it needs --yes. Only the message goes: a job
    /// that it tells of stays as it is, and the scheduler orders it again if it still waits.
    #[command(after_help = "\
Examples:
  drs dead drop 01a201c5-349f-7765-99ec-6de28416b266 --dry-run
  drs dead drop 01a201c5-349f-7765-99ec-6de28416b266 --yes")]
    Drop {
        /// Its id, as `drs dead list` shows it
        id: String,
        /// Show what would be removed, and stop
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}
