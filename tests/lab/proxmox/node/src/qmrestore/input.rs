//! The bytes of an archive: a file, a program that decompresses it, or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};

use crate::failure::{Done, Failure};
use crate::node::Node;

/// An archive that is being read.
pub(crate) struct Input {
    bytes: Option<Box<dyn Read + Send>>,
    program: Option<Child>,
}

/// The program that decompresses a file, by its name.
fn program(archive: &str) -> Option<&'static [&'static str]> {
    match archive.rsplit('.').next() {
        Some("zst") => Some(&["zstd", "-q", "-d", "-c"]),
        Some("gz") => Some(&["zcat"]),
        Some("lzo") => Some(&["lzop", "-d", "-c"]),
        Some("bz2") => Some(&["bzcat", "-q"]),
        _ => None,
    }
}

/// The command as the real one prints it.
pub(super) fn command(archive: &str) -> String {
    let tmp = format!("/var/tmp/vzdumptmp{}", std::process::id());
    match program(archive) {
        Some(argv) => {
            format!("{} {archive} | vma extract -v -r {tmp}.fifo - {tmp}", argv.join(" "))
        }
        None => format!("vma extract -v -r {tmp}.fifo {archive} {tmp}"),
    }
}

impl Input {
    pub(crate) fn open(node: &Node, archive: &str) -> Done<Self> {
        if archive == "-" {
            return Ok(Self { bytes: Some(Box::new(io::stdin())), program: None });
        }
        let file = node.file(archive);
        let Some(argv) = program(archive) else {
            return Ok(Self { bytes: Some(Box::new(File::open(file)?)), program: None });
        };
        let (name, args) = argv.split_first().ok_or_else(|| Failure::new("no program"))?;
        let mut child = Command::new(name).args(args).arg(file).stdout(Stdio::piped()).spawn()?;
        let bytes = child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>);
        Ok(Self { bytes, program: Some(child) })
    }

    pub(crate) fn take(&mut self) -> Box<dyn Read + Send> {
        self.bytes.take().unwrap_or_else(|| Box::new(io::empty()))
    }

    /// The program must have ended well.
    pub(super) fn finish(&mut self) -> Done {
        let Some(program) = &mut self.program else { return Ok(()) };
        let status = program.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("exit code {}", status.code().unwrap_or(255))))
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Some(program) = &mut self.program {
            program.kill().ok();
            program.wait().ok();
        }
    }
}
