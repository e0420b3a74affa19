//! A backup job's lines: to the task's log, and with the time to the log file beside the archive.

use std::fs::File;
use std::io::Write;

use crate::failure::Done;
use crate::node::Node;
use crate::task::Journal;

pub(super) struct Log<'a> {
    pub(super) node: &'a Node,
    pub(super) journal: &'a mut Journal,
    /// The file of the guest in hand.
    pub(super) file: Option<File>,
}

impl Log<'_> {
    pub(super) fn info(&mut self, text: &str) -> Done {
        self.write("INFO", text)
    }

    pub(super) fn error(&mut self, text: &str) -> Done {
        self.write("ERROR", text)
    }

    pub(super) fn warn(&mut self, text: &str) -> Done {
        self.journal.warnings += 1;
        self.write("WARN", text)
    }

    /// A line about the job, which is not the guest's.
    pub(super) fn job(&mut self, level: &str, text: &str) -> Done {
        text.lines().try_for_each(|line| self.journal.line(&format!("{level}: {line}")))
    }

    fn write(&mut self, level: &str, text: &str) -> Done {
        let stamp = self.node.now().stamp();
        if let Some(file) = &mut self.file {
            for line in text.lines() {
                // The log shares its disk with the archive, which may be full.
                writeln!(file, "{stamp} {level}: {line}").ok();
            }
        }
        self.job(level, text)
    }
}
