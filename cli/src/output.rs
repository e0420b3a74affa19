//! What a command says: the answer on standard output, everything else on standard error.

pub(crate) mod table;
pub(crate) mod units;
pub(crate) mod view;

use std::io::{self, IsTerminal, Write};

use drs_model::{Fault, FaultCode};
use serde::Serialize;
use serde_json::json;

use crate::failure::{Failure, Outcome};

/// Where a command's answer and messages go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether standard error shows a moving progress bar.
    pub(crate) fn is_live(self) -> bool {
        io::stderr().is_terminal()
    }

    /// The command's answer: one JSON document, or text for people.
    pub(crate) fn answer(
        self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Outcome<()> {
        if !self.json {
            return self.text(&text());
        }
        let line = serde_json::to_string_pretty(document)
            .map_err(|error| Fault::internal(format!("the answer cannot be written: {error}")))?;
        self.text(&line)
    }

    /// One of many answers that come one after the other: a line each, with `--json` an object.
    pub(crate) fn line(
        self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Outcome<()> {
        if !self.json {
            return self.text(&text());
        }
        let line = serde_json::to_string(document)
            .map_err(|error| Fault::internal(format!("the answer cannot be written: {error}")))?;
        self.text(&line)
    }

    /// Text on standard output, with a line break behind it unless it is empty.
    pub(crate) fn text(self, text: &str) -> Outcome<()> {
        let text = text.trim_end_matches('\n');
        let mut stdout = io::stdout().lock();
        let written = if text.is_empty() { Ok(()) } else { writeln!(stdout, "{text}") };
        match written.and_then(|()| stdout.flush()) {
            // Who reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Fault::permanent(
                FaultCode::Internal,
                format!("standard output cannot be written: {error}"),
                "What was asked for is done; send its answer to where it can be written.",
            )
            .into()),
            Ok(()) => Ok(()),
        }
    }

    /// A message beside the answer.
    pub(crate) fn say(self, text: &str) {
        // There is nowhere to tell that standard error is closed.
        drop(writeln!(io::stderr(), "{}", plain(text)));
    }

    /// Tells why the command failed.
    pub(crate) fn failure(self, failure: &Failure) {
        let Failure { fault, details, .. } = failure;
        if self.json {
            let error = json!({"error": {
                "code": fault.code,
                "message": fault.message,
                "details": details,
                "remedy": fault.remedy,
            }});
            drop(writeln!(io::stderr(), "{error}"));
            return;
        }
        self.say(&format!("error: {}", fault.message));
        for detail in details {
            self.say(&format!("  - {detail}"));
        }
        if !fault.remedy.is_empty() {
            self.say(&format!("  do: {}", fault.remedy));
        }
        self.say(&format!("  code: {}", code(fault)));
    }

    /// Shows what will be removed and asks whether it may be, unless `yes` was said before.
    pub(crate) fn confirmed(self, plan: &str, yes: bool) -> Outcome<()> {
        if yes {
            return Ok(());
        }
        plan.lines().for_each(|line| self.say(line));
        match ask("Remove it for good?") {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::invalid("not removed", "")),
            None => Err(Failure::invalid(
                "nobody can be asked here whether to remove it",
                "Say so with `--yes`; `--dry-run` shows what is removed.",
            )),
        }
    }
}

/// Asks a question that is answered with yes or no; `None` when nobody is there to ask.
fn ask(question: &str) -> Option<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return None;
    }
    drop(write!(io::stderr(), "{question} [y/N] "));
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    Some(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes"))
}

/// A fault's code as scripts compare it.
pub(crate) fn code(fault: &Fault) -> String {
    serde_json::to_value(fault.code)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Text that cannot steer a terminal: control characters are replaced.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// What is wrong with a command line; `command` is as much of it as names the command.
pub(crate) fn usage_failure(error: &clap::Error, command: &str) -> Failure {
    let rendered = error.render().to_string();
    let mut parts = rendered.split("\n\n");
    let first: Vec<&str> = parts.next().unwrap_or_default().lines().map(str::trim).collect();
    let message = first.join(" ").trim_start_matches("error: ").to_owned();
    // Clap's other tips are about passing an unknown option as a value.
    let similar = parts.find_map(|part| part.trim().strip_prefix("tip: a similar "));
    let hint = similar.map(|tip| format!(" A similar {}.", tip.trim())).unwrap_or_default();
    Failure::invalid(message, format!("See `{command} --help`.{hint}"))
}
