//! `drs archive`: Proxmox VE's backup archives as files, without a host and without a data directory.

mod create;
mod failure;
mod progress;
mod source;
mod view;

use std::path::Path;

use drs_vma::Reader;

use self::failure::{failed, file_failed};
use self::progress::Bar;
use self::source::Source;
use self::view::{ArchiveView, ExtractView, VerifyView};
use crate::args::archive::ArchiveCommand;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::Output;

pub(super) fn run(output: Output, command: ArchiveCommand) -> Outcome<Exit> {
    match command {
        ArchiveCommand::List { file } => list(output, &file),
        ArchiveCommand::Verify { file } => verify(output, &file),
        ArchiveCommand::Extract { file, directory } => extract(output, &file, &directory),
        ArchiveCommand::Create { file, configs, disks } => {
            create::run(output, &file, configs, disks)
        }
    }
}

fn list(output: Output, file: &Path) -> Outcome<Exit> {
    let (source, reader) = open(file)?;
    let view = ArchiveView::of(&source, reader.header());
    output.answer(&view, || view.text())?;
    Ok(Exit::Success)
}

fn verify(output: Output, file: &Path) -> Outcome<Exit> {
    let (source, reader) = open(file)?;
    let mut bar = Bar::new(output, "verify");
    let report = drs_vma::verify(reader, |progress| bar.show(progress));
    bar.end();
    let report = report.map_err(|error| failed(&source.name, &error))?;
    let view = VerifyView::of(&source, &report);
    output.answer(&view, || view.text())?;
    Ok(Exit::Success)
}

fn extract(output: Output, file: &Path, directory: &Path) -> Outcome<Exit> {
    if directory.symlink_metadata().is_ok() {
        return Err(drs_model::Fault::permanent(
            drs_model::FaultCode::AlreadyExists,
            format!("{} exists already", directory.display()),
            "Nothing is overwritten: name a directory that does not exist.",
        )
        .into());
    }
    let (source, reader) = open(file)?;
    let header = reader.header().clone();
    let mut bar = Bar::new(output, "extract");
    let extracted = drs_vma::extract(reader, directory, |progress| bar.show(progress));
    bar.end();
    extracted.map_err(|error| failed(&source.name, &error))?;
    let view = ExtractView::of(&source, &header, directory);
    output.answer(&view, || view.text())?;
    Ok(Exit::Success)
}

/// Opens an archive and reads its header.
fn open(file: &Path) -> Outcome<(Source, Reader<source::Input>)> {
    let (source, input) = Source::open(file)?;
    let reader = Reader::open(input).map_err(|error| failed(&source.name, &error))?;
    Ok((source, reader))
}

/// A file that cannot be used.
fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    file_failed(path, error)
}
