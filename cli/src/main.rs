//! The `drs` command: reads the command line, wires the adapters, and shows what became of it.

mod args;
mod cluster;
mod commands;
mod embedded;
mod exit;
mod failure;
mod find;
mod opened;
mod output;
mod place;
mod servers;
mod submission;
mod watch;
mod watched;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use exit::Exit;
use failure::Outcome;
use opened::Opened;
use output::Output;
use tracing::Instrument;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    if let Some(Command::Rsh(args)) = &cli.command {
        return ExitCode::from(drs_transport::relay::rsh(&args.socket, &args.words));
    }
    let output = Output::new(cli.globals.json);
    ended(output, run(cli, output))
}

fn run(cli: Cli, output: Output) -> Outcome<Exit> {
    // Telemetry has a thread of its own: it begins before the runtime and ends after it.
    let (opened, telemetry) = Opened::of(&cli)?.unzip();
    let outcome = in_runtime(cli, output, opened);
    if let Some(telemetry) = telemetry {
        telemetry.end();
    }
    outcome
}

fn in_runtime(cli: Cli, output: Output, opened: Option<Opened>) -> Outcome<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| drs_model::Fault::internal(format!("no threads: {error}")))?;
    let span = opened.as_ref().map_or_else(tracing::Span::none, Opened::span);
    runtime.block_on(commands::run(cli, output, opened).instrument(span))
}

fn ended(output: Output, outcome: Outcome<Exit>) -> ExitCode {
    let exit = outcome.unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit
    });
    ExitCode::from(exit.code())
}

/// The command line cannot be understood, or it asks for help or the version.
fn refused(error: &clap::Error) -> ExitCode {
    if error.exit_code() == 0 {
        let output = Output::new(false);
        return ended(output, output.text(&error.render().to_string()).map(|()| Exit::Success));
    }
    let words = words();
    let output = Output::new(words.iter().any(|word| word == "--json"));
    ended(output, Err(output::usage_failure(error, &args::command_of(&words))))
}

/// The command line behind the program's name.
fn words() -> Vec<String> {
    std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect()
}
