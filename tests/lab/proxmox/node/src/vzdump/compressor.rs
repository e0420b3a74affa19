//! The programs that compress an archive while it is written, and where the archive goes.

use std::fs::File;
use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::failure::{Done, Failure, message};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Compressor {
    None,
    Gzip,
    Lzop,
    /// With so many threads.
    Zstd(String),
}

impl Compressor {
    /// By the value of `--compress`, and that of `--zstd`.
    pub(super) fn named(name: &str, threads: Option<&str>) -> Option<Self> {
        match name {
            "0" => Some(Self::None),
            "1" | "lzo" => Some(Self::Lzop),
            "gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd(threads.unwrap_or("1").to_owned())),
            _ => None,
        }
    }

    /// What it adds to a name.
    pub(super) fn ending(&self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Lzop => ".lzo",
            Self::Zstd(_) => ".zst",
        }
    }

    /// Its command line.
    pub(super) fn argv(&self) -> Vec<String> {
        let argv: &[&str] = match self {
            Self::None => &["cat"],
            Self::Gzip => &["gzip", "--rsyncable"],
            Self::Lzop => &["lzop"],
            Self::Zstd(threads) => return vec!["zstd".to_owned(), format!("--threads={threads}")],
        };
        argv.iter().map(|word| (*word).to_owned()).collect()
    }
}

/// Where the bytes of an archive go.
#[derive(Debug)]
pub(super) enum Sink {
    File(File),
    Stdout(io::Stdout),
    Program(Option<ChildStdin>, Child),
}

impl Sink {
    /// To this file, or to standard output.
    pub(super) fn open(compressor: &Compressor, file: Option<File>) -> Done<Self> {
        if *compressor == Compressor::None {
            return Ok(file.map_or_else(|| Self::Stdout(io::stdout()), Self::File));
        }
        let argv = compressor.argv();
        let (program, args) = argv.split_first().ok_or_else(|| Failure::new("no compressor"))?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(file.map_or_else(Stdio::inherit, Stdio::from))
            .spawn()
            .map_err(|error| Failure::from(error).within(program))?;
        Ok(Self::Program(child.stdin.take(), child))
    }

    /// Ends the archive. What a program complains of is a line of the log by then.
    pub(super) fn close(self) -> Done {
        match self {
            Self::File(file) => file.sync_all().map_err(failed),
            Self::Stdout(mut out) => out.flush().map_err(failed),
            Self::Program(input, mut child) => {
                drop(input);
                if child.wait()?.success() {
                    return Ok(());
                }
                Err(Failure::new("vma_queue_write: write error - Broken pipe"))
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stdout(out) => out.write(bytes),
            Self::Program(Some(input), _) => input.write(bytes),
            Self::Program(None, _) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(_) | Self::Program(..) => Ok(()),
            Self::Stdout(out) => out.flush(),
        }
    }
}

/// An error in the words of QEMU's archive writer.
pub(super) fn failed(error: io::Error) -> Failure {
    Failure::new(format!("vma_queue_write: write error - {}", message(&error)))
}
