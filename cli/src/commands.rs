//! The commands: each takes what was said on the command line and answers.

mod api;
mod archive;
mod backup;
mod completions;
mod dead;
mod host;
mod init;
mod job;
mod pair;
mod point;
mod power;
mod replicate;
mod restore;
mod schedule;
mod scheduler;
mod serve;
mod site;
mod vm;
mod worker;

use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::opened::Opened;
use crate::output::Output;
use crate::place::Place;

/// Runs the command. `opened` is there for the commands that work on a data directory.
pub(crate) async fn run(cli: Cli, output: Output, opened: Option<Opened>) -> Outcome<Exit> {
    let globals = &cli.globals;
    let Some(command) = cli.command else {
        output.text(&Cli::command().render_help().to_string())?;
        return Ok(Exit::Success);
    };
    match command {
        Command::Init { vault } => init::run(globals, output, vault),
        Command::Archive(command) => archive::run(output, command).await,
        Command::Completions { shell } => completions::run(output, shell),
        Command::Serve => serve::run(place(opened)?, output).await,
        Command::Worker(args) => worker::run(place(opened)?, output, args).await,
        Command::Scheduler => scheduler::run(place(opened)?, output).await,
        Command::Api => api::run(place(opened)?, output).await,
        other => with_place(place(opened)?, output, other).await,
    }
}

fn place(opened: Option<Opened>) -> Outcome<Place> {
    let missing = || drs_model::Fault::internal("the data directory was not opened");
    Place::open(opened.ok_or_else(missing)?)
}

async fn with_place(place: Place, output: Output, command: Command) -> Outcome<Exit> {
    match command {
        Command::Host(command) => host::run(&place, output, command).await,
        Command::Site(command) => site::run(&place, output, command).await,
        Command::Vm(command) => vm::run(&place, output, command).await,
        Command::Pair(command) => pair::run(&place, output, command).await,
        Command::Schedule(command) => schedule::run(&place, output, command).await,
        Command::Backup(args) => backup::run(&place, output, args).await,
        Command::Restore(args) => restore::run(&place, output, args).await,
        Command::Replicate(args) => replicate::run(&place, output, args).await,
        Command::Point(command) => point::run(&place, output, command).await,
        Command::Job(command) => job::run(&place, output, command).await,
        Command::Power(command) => power::run(&place, output, command).await,
        Command::Dead(command) => dead::run(&place, output, command).await,
        Command::Init { .. }
        | Command::Serve
        | Command::Worker(_)
        | Command::Scheduler
        | Command::Api
        | Command::Archive(_)
        | Command::Rsh(_)
        | Command::Completions { .. } => {
            Err(drs_model::Fault::internal("this command needs no data directory").into())
        }
    }
}
