//! `drs archive`: Proxmox VE's backup archives as files, without a host and without a data directory.

mod create;
mod failure;
mod progress;
mod source;
mod view;

use std::path::Path;
use std::thread;
use std::time::Duration;

use drs_model::Fault;
use drs_runtime::{Shutdown, signals};
use drs_vma::Reader;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::failure::{failed, file_failed};
use self::progress::Bar;
use self::source::{Input, Source};
use self::view::{ArchiveView, ExtractView, VerifyView};
use crate::args::archive::ArchiveCommand;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::output::Output;

/// How long work that was interrupted may take to remove what it made. It looks after itself between
/// any two reads or writes; only a disk that does not answer takes longer.
const GRACE: Duration = Duration::from_secs(3);

/// Works in a thread of its own, so that SIGINT and SIGTERM are heard: what is unfinished is removed
/// then.
pub(super) async fn run(output: Output, command: ArchiveCommand) -> Outcome<Exit> {
    let shutdown = Shutdown::new();
    signals::stop_on_signals(shutdown.clone(), || ())
        .map_err(|error| Fault::internal(format!("no signal handlers: {error}")))?;
    let (sender, mut ended) = oneshot::channel();
    let stop = shutdown.clone();
    // The receiver is gone only when this process ends.
    let work = move || drop(sender.send(perform(output, command, &stop)));
    thread::Builder::new()
        .name("archive".to_owned())
        .spawn(work)
        .map_err(|error| Fault::internal(format!("no thread: {error}")))?;
    let died = |_| Fault::internal("the thread that worked on the archive died");
    tokio::select! {
        // Work that ends because it was interrupted has not failed.
        biased;
        () = shutdown.stopping() => {}
        outcome = &mut ended => return outcome.map_err(died)?,
    }
    match timeout(GRACE, ended).await {
        Ok(Ok(Ok(exit))) => return Ok(exit),
        Ok(_) => output.say("interrupted: what was unfinished is removed"),
        Err(_) => output
            .say("interrupted: a disk does not answer; a name that ends in .partial may be left"),
    }
    Ok(Exit::Interrupted)
}

fn perform(output: Output, command: ArchiveCommand, stop: &Shutdown) -> Outcome<Exit> {
    match command {
        ArchiveCommand::List { file } => list(output, &file, stop),
        ArchiveCommand::Verify { file } => verify(output, &file, stop),
        ArchiveCommand::Extract { file, directory } => extract(output, &file, &directory, stop),
        ArchiveCommand::Create { file, configs, disks } => {
            create::run(output, &file, configs, disks, stop)
        }
    }
}

fn list(output: Output, file: &Path, stop: &Shutdown) -> Outcome<Exit> {
    let (source, reader) = open(file, stop)?;
    let view = ArchiveView::of(&source, reader.header());
    output.answer(&view, || view.text())?;
    Ok(Exit::Success)
}

fn verify(output: Output, file: &Path, stop: &Shutdown) -> Outcome<Exit> {
    let (source, reader) = open(file, stop)?;
    let bar = Bar::new(output, "verify");
    let report = drs_vma::verify(reader, |progress| bar.show(progress));
    drop(bar);
    let report = report.map_err(|error| failed(&source, &error))?;
    let view = VerifyView::of(&source, &report);
    output.answer(&view, || view.text())?;
    Ok(Exit::Success)
}

fn extract(output: Output, file: &Path, directory: &Path, stop: &Shutdown) -> Outcome<Exit> {
    for path in [directory.to_owned(), directory.with_added_extension("partial")] {
        if path.symlink_metadata().is_ok() {
            return Err(file_failed(&path, &std::io::ErrorKind::AlreadyExists.into()));
        }
    }
    let (source, reader) = open(file, stop)?;
    let header = reader.header().clone();
    let bar = Bar::new(output, "extract");
    let extracted = drs_vma::extract(reader, directory, |progress| bar.show(progress));
    drop(bar);
    extracted.map_err(|error| failed(&source, &error))?;
    let view = ExtractView::of(&source, &header, directory);
    output.answer(&view, || view.text())?;
    Ok(Exit::Success)
}

/// Opens an archive and reads its header.
fn open(file: &Path, stop: &Shutdown) -> Outcome<(Source, Reader<Input>)> {
    let (source, input) = Source::open(file, stop)?;
    let reader = Reader::open(input).map_err(|error| failed(&source, &error))?;
    Ok((source, reader))
}
