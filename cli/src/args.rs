//! The command line: what can be said, and its help.

pub(crate) mod archive;
pub(crate) mod catalog;
pub(crate) mod jobs;
pub(crate) mod roles;
pub(crate) mod schedule;
pub(crate) mod values;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use drs_runtime::environment;

use crate::exit::Exit;

const FIRST_STEPS: &str = "\
First steps:
  drs init
  drs host add dc1 --address root@10.0.0.1 --site dc  # shows its key
  drs host add rc1 --address root@10.1.0.1 --site rc
  drs vm list dc1
  drs pair add web --source dc1/web1 --target rc1     # protect a VM
  drs backup web                                      # make a recovery point
  drs restore latest --pair web --start               # at the recovery site

Every command explains itself with --help.";

const SETTINGS: &str = "\
Configuration: drs.toml in the data directory; `drs init` writes it with every
key and its default. The environment stands over it:
  DRS_DATA_DIR        the data directory
  DRS_VAULT           where recovery points are: [vault] path
  DRS_AMQP_URL, DRS_REDIS_URL, DRS_POSTGRES_URL
                      the servers of a cluster: [cluster]
  DRS_AMQP_PASSWORD, DRS_REDIS_PASSWORD, DRS_POSTGRES_PASSWORD
                      their passwords
  DRS_CA_FILE         who may vouch for them: [cluster] ca_file
  DRS_LANES           whose jobs a worker takes: [cluster] lanes, as a,b
  DRS_METRICS         where a role is watched: [telemetry] metrics
  DRS_LOG             what is logged: [log] level
  OTEL_EXPORTER_OTLP_ENDPOINT
                      where traces go: [telemetry] otlp
  SSH_AUTH_SOCK       the SSH agent, for hosts without a key file";

const GLOBAL: &str = "Options of every command";

/// A disaster-recovery switch for virtual machines.
///
/// Backs VMs up while they run, and brings them up again on another host. Without `drs serve` a
/// command runs its job itself; with it, jobs run in the background and every command works
/// beside it. Where one machine is outgrown, any number of `drs scheduler` and `drs worker` share the
/// work of a cluster over RabbitMQ, Redis and PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "drs", version, after_help = FIRST_STEPS, after_long_help = long_help(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Option<Command>,
}

fn long_help() -> String {
    let codes: String = Exit::ALL
        .iter()
        .map(|exit| format!("  {:>3}  {}\n", exit.code(), exit.meaning()))
        .collect();
    format!(
        "{FIRST_STEPS}\n\n{SETTINGS}\n\nExit codes:\n{codes}\nErrors go to standard error: what and why, what to \
         do,\na stable code; with --json its last line is one JSON document instead.\nStandard \
         output carries nothing but what was asked for."
    )
}

/// The command that a command line names, for example `drs pair add`.
pub(crate) fn command_of(words: &[String]) -> String {
    let root = Cli::command();
    let mut here = &root;
    let mut named = vec![here.get_name()];
    for word in words {
        if let Some(command) = here.find_subcommand(word) {
            here = command;
            named.push(here.get_name());
        }
    }
    named.join(" ")
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Globals {
    /// The data directory [default: /var/lib/drs for root, else ~/.local/share/drs]
    #[arg(long, global = true, value_name = "DIR", env = environment::DATA_DIR, help_heading = GLOBAL)]
    pub data_dir: Option<PathBuf>,
    /// Answer with one JSON document; times are UTC, sizes bytes
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
}

/// How rsync calls its remote shell.
#[derive(Debug, Args)]
pub(crate) struct RshArgs {
    /// The socket of the transfer
    #[arg(long)]
    pub socket: PathBuf,
    /// The host, and the command on it
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the data directory and the vault
    #[command(after_help = "Example:\n  drs init --vault /srv/drs-vault")]
    Init {
        /// Keep recovery points here and not in the data directory; its parent must exist
        #[arg(long, value_name = "DIR")]
        vault: Option<PathBuf>,
    },
    /// Run jobs and schedules in the background until SIGTERM or Ctrl-C
    ///
    /// Does what schedules name while it runs. Prints one line when it is ready. At SIGTERM or Ctrl-C
    /// every job is handed over within seconds; it goes on when `drs serve` or the next command that
    /// runs jobs starts.
    #[command(after_help = "Example:\n  drs serve")]
    Serve,
    Worker(roles::WorkerArgs),
    /// Decide what is due, and look after jobs that nobody drives (a cluster's scheduler)
    ///
    /// Run two or three: one leads. When it is told to end (SIGTERM or Ctrl-C) another leads at once; when it
    /// is killed, after its lease (`[scheduler] lease_seconds`, 15 by default). Which of them fires a schedule
    /// makes no difference, and that two do it at one time none either. While none runs, nothing is lost, but no
    /// schedule fires and nobody takes over the jobs of a worker that was killed.
    #[command(after_help = "Example:\n  drs scheduler")]
    Scheduler,
    /// Serve health and figures for now; the REST API is to come (a cluster's front door)
    #[command(after_help = "Example:\n  drs api")]
    Api,
    /// Messages that no worker could understand, or that were delivered too often (in a cluster)
    #[command(subcommand, arg_required_else_help = true)]
    Dead(roles::DeadCommand),
    /// Hypervisor hosts
    #[command(subcommand, arg_required_else_help = true)]
    Host(catalog::HostCommand),
    /// Sites: places whose hosts fail together and share a line
    #[command(subcommand, arg_required_else_help = true)]
    Site(catalog::SiteCommand),
    /// VMs on a host
    #[command(subcommand, arg_required_else_help = true)]
    Vm(catalog::VmCommand),
    /// Replication pairs: a protected VM and where it is restored
    #[command(subcommand, arg_required_else_help = true)]
    Pair(catalog::PairCommand),
    /// Schedules: what is done again and again
    #[command(subcommand, arg_required_else_help = true)]
    Schedule(schedule::ScheduleCommand),
    Backup(jobs::BackupArgs),
    Restore(jobs::RestoreArgs),
    Replicate(jobs::ReplicateArgs),
    /// Recovery points
    #[command(subcommand, arg_required_else_help = true)]
    Point(jobs::PointCommand),
    /// Jobs
    #[command(subcommand, arg_required_else_help = true)]
    Job(jobs::JobCommand),
    /// Start, shut down or stop a VM
    #[command(subcommand, arg_required_else_help = true)]
    Power(jobs::PowerCommand),
    /// Proxmox VE's backup archives as files: look into them, prove, extract and make them
    #[command(subcommand, arg_required_else_help = true)]
    Archive(archive::ArchiveCommand),
    /// What rsync starts as its remote shell: a way onto this program's own SSH connection
    #[command(hide = true)]
    Rsh(RshArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  drs completions bash > /etc/bash_completion.d/drs")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}
