//! The commands: each takes what was said on the command line and answers.

mod archive;
mod backup;
mod completions;
mod host;
mod init;
mod job;
mod pair;
mod point;
mod power;
mod replicate;
mod restore;
mod serve;
mod site;
mod vm;

use clap::CommandFactory;
use drs_runtime::{Config, DataDir, LogFormat, telemetry};

use crate::args::{Cli, Command, Globals};
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::output::Output;
use crate::place::{Place, data_dir};

/// Runs the command.
pub(crate) async fn run(cli: Cli, output: Output) -> Outcome<Exit> {
    let globals = &cli.globals;
    let Some(command) = cli.command else {
        output.text(&Cli::command().render_help().to_string())?;
        return Ok(Exit::Success);
    };
    match command {
        Command::Init { vault } => init::run(globals, output, vault),
        Command::Archive(command) => archive::run(output, command).await,
        Command::Completions { shell } => completions::run(output, shell),
        Command::Serve => serve::run(open(globals, Log::AsConfigured)?, output).await,
        other => with_place(open(globals, Log::WhatMatters)?, output, other).await,
    }
}

async fn with_place(place: Place, output: Output, command: Command) -> Outcome<Exit> {
    match command {
        Command::Host(command) => host::run(&place, output, command).await,
        Command::Site(command) => site::run(&place, output, command).await,
        Command::Vm(command) => vm::run(&place, output, command).await,
        Command::Pair(command) => pair::run(&place, output, command).await,
        Command::Backup(args) => backup::run(&place, output, args).await,
        Command::Restore(args) => restore::run(&place, output, args).await,
        Command::Replicate(args) => replicate::run(&place, output, args).await,
        Command::Point(command) => point::run(&place, output, command).await,
        Command::Job(command) => job::run(&place, output, command).await,
        Command::Power(command) => power::run(&place, output, command).await,
        Command::Init { .. }
        | Command::Serve
        | Command::Archive(_)
        | Command::Rsh(_)
        | Command::Completions { .. } => {
            Err(drs_model::Fault::internal("this command needs no data directory").into())
        }
    }
}

/// How much is logged to standard error.
enum Log {
    /// What the configuration says: the process is a server.
    AsConfigured,
    /// Warnings alone, and not those of jobs: a person reads the command's own messages there.
    WhatMatters,
}

/// Opens the data directory; the configuration is checked before anything else in it.
fn open(globals: &Globals, log: Log) -> Outcome<Place> {
    let dir = DataDir::open(&data_dir(globals)?)?;
    let config = Config::load(&dir.config())?;
    match log {
        Log::AsConfigured => telemetry::start(&config.log.level, config.log.format),
        Log::WhatMatters => telemetry::start("warn,drs_worker::reporter=off", LogFormat::Text),
    }
    Place::open(dir, config)
}
