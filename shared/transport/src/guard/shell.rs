//! The guard as a POSIX shell script that is sent with every call; nothing is installed on the host.
//!
//! What the host remembers lies in `/var/lib/drs-guard`, or `~/.local/state/drs-guard` when the login may not
//! write there; `DRS_STATE_DIR` in the environment of the host's login overrides both.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use drs_model::{Grip, GuardAnswer, GuardStatus};
use tokio::time::timeout;
use tracing::{Instrument, Span, info_span};

use super::answer;
use super::hold::ShellHold;
use super::pulse::{Pulse, Served};
use super::{Hold, HostGuard};
use crate::argv::name_of;
use crate::{Argv, Output, Remote, Spawned, TransportError};

const SCRIPT: &str = include_str!("guard.sh");
/// Where the verb stands, behind what loads the script.
const VERB: usize = 5;
/// Where the command begins that a verb runs, behind the verb, job, token, VM and one more argument.
const COMMAND: usize = VERB + 5;
const LOAD: &str = r#"guard=$1; shift; eval "$guard""#;

/// An earlier hold of the same job may take 80 s to give way, a cancelled command 15 s.
const DECISION_LIMIT: Duration = Duration::from_secs(150);
/// The host itself ends a command this much later than we stop waiting for it.
const HOST_GRACE: Duration = Duration::from_secs(5);

/// The guard of a host that is reached through a [`Remote`].
///
/// A served command ([`HostGuard::serve`]) has an empty standard input: its channel is its life
/// line. It also ends when a newer claim takes the VM. Both a hold and a served command end when the
/// host hears no beat of the worker for a while ([`Pulse`]).
pub struct ShellGuard {
    remote: Arc<dyn Remote>,
    pulse: Pulse,
}

impl ShellGuard {
    /// The guard of this host.
    #[must_use]
    pub fn new(remote: Arc<dyn Remote>) -> Self {
        Self::with_pulse(remote, Pulse::default())
    }

    /// The guard of this host, with another pulse.
    #[must_use]
    pub fn with_pulse(remote: Arc<dyn Remote>, pulse: Pulse) -> Self {
        Self { remote, pulse }
    }

    /// Asks for a decision and reads it.
    async fn ask(&self, argv: &Argv, limit: Duration) -> Result<(String, Bytes), TransportError> {
        let output = self.exec(argv, Bytes::new(), limit).await?;
        match answer::split(&output.stdout) {
            Some((line, rest)) => Ok((line, Bytes::copy_from_slice(rest))),
            None => Err(self.unclear(argv, &unexpected(&output))),
        }
    }

    async fn exec(
        &self,
        argv: &Argv,
        stdin: Bytes,
        limit: Duration,
    ) -> Result<Output, TransportError> {
        let answer = self.remote.exec_within(argv, stdin, limit).instrument(self.span(argv));
        answer.await.map_err(|mut error| {
            if let TransportError::TimedOut { command, .. }
            | TransportError::Protocol { command, .. } = &mut error
            {
                *command = summary(argv);
            }
            error
        })
    }

    async fn decide(&self, argv: &Argv) -> Result<GuardAnswer, TransportError> {
        let (line, _) = self.ask(argv, DECISION_LIMIT).await?;
        answer::guard_answer(&line).ok_or_else(|| self.unclear(argv, &line))
    }

    /// Starts a verb that keeps its channel, and reads its first answer.
    async fn open(&self, argv: &Argv) -> Result<(String, Spawned), TransportError> {
        let mut spawned = self.remote.spawn(argv).instrument(self.span(argv)).await?;
        match timeout(DECISION_LIMIT, answer::read_line(&mut spawned.stream)).await {
            Ok(Ok(line)) => Ok((line, spawned)),
            Ok(Err(instead)) => {
                let stderr = spawned.exit.await.map(|(_, stderr)| stderr).unwrap_or_default();
                Err(self.unclear(argv, &format!("{instead}{stderr}")))
            }
            Err(_) => Err(TransportError::TimedOut {
                host: self.remote.host().clone(),
                command: summary(argv),
                limit_s: DECISION_LIMIT.as_secs(),
            }),
        }
    }

    /// The span of a verb.
    fn span(&self, argv: &Argv) -> Span {
        let verb = argv.parts().get(VERB).map(String::as_str).unwrap_or_default();
        let command = match verb {
            "run" | "start" | "serve" => argv.parts().get(COMMAND..),
            _ => None,
        };
        let program = command.map(name_of);
        info_span!("guard", otel.name = format!("guard.{verb}"), host = %self.remote.host(), verb, program)
    }

    /// The refusal of a command whose token is old or whose VM another job has, or of anything else but
    /// the expected answer.
    fn refusal(&self, argv: &Argv, line: &str) -> TransportError {
        let host = self.remote.host().clone();
        match (answer::stale(line), answer::busy(line)) {
            (Some(seen), _) => TransportError::Stale { host, seen: seen.0 },
            (None, Some(job)) => TransportError::Busy { host, job },
            (None, None) => self.unclear(argv, line),
        }
    }

    fn unclear(&self, argv: &Argv, answer: &str) -> TransportError {
        TransportError::Protocol {
            host: self.remote.host().clone(),
            command: summary(argv),
            answer: answer.trim().chars().take(500).collect(),
        }
    }
}

#[async_trait]
impl HostGuard for ShellGuard {
    async fn hold(
        &self,
        grip: &Grip,
        at_loss: Option<&Argv>,
    ) -> Result<(GuardAnswer, Option<Box<dyn Hold>>), TransportError> {
        let at_loss = at_loss.map(Argv::parts).unwrap_or_default().to_vec();
        let argv = verb("hold", grip).arg(self.pulse.silence_seconds()).args(at_loss);
        let (line, spawned) = self.open(&argv).await?;
        let answer = answer::guard_answer(&line).ok_or_else(|| self.unclear(&argv, &line))?;
        let hold = (answer == GuardAnswer::Started).then(|| {
            let host = self.remote.host().clone();
            Box::new(ShellHold::new(host, spawned.stream, self.pulse.beats())) as Box<dyn Hold>
        });
        Ok((answer, hold))
    }

    async fn start(
        &self,
        grip: &Grip,
        step: &str,
        argv: &Argv,
    ) -> Result<GuardAnswer, TransportError> {
        let command = argv.parts().to_vec();
        self.decide(&verb("start", grip).arg(file_name(step)).args(command)).await
    }

    async fn status(&self, grip: &Grip, step: &str) -> Result<GuardStatus, TransportError> {
        let argv = verb("status", grip).arg(file_name(step));
        let (line, _) = self.ask(&argv, DECISION_LIMIT).await?;
        answer::status(&line).ok_or_else(|| self.unclear(&argv, &line))
    }

    async fn log(&self, grip: &Grip, step: &str, offset: u64) -> Result<Bytes, TransportError> {
        let first = offset.saturating_add(1).to_string();
        let argv = verb("log", grip).arg(file_name(step)).arg(first);
        let (line, rest) = self.ask(&argv, DECISION_LIMIT).await?;
        if line == "LOG" { Ok(rest) } else { Err(self.unclear(&argv, &line)) }
    }

    async fn cancel(&self, grip: &Grip, step: &str) -> Result<GuardAnswer, TransportError> {
        self.decide(&verb("cancel", grip).arg(file_name(step))).await
    }

    async fn run(
        &self,
        grip: &Grip,
        argv: &Argv,
        stdin: Bytes,
        limit: Duration,
    ) -> Result<Output, TransportError> {
        let seconds = (limit + HOST_GRACE).as_secs().to_string();
        let argv = verb("run", grip).arg(seconds).args(argv.parts().to_vec());
        let output = self.exec(&argv, stdin, limit).await?;
        match answer::split(&output.stdout) {
            Some((line, rest)) if line == "RUN" => {
                Ok(Output { code: output.code, stdout: rest.to_vec(), stderr: output.stderr })
            }
            Some((line, _)) => Err(self.refusal(&argv, &line)),
            None => Err(self.unclear(&argv, &unexpected(&output))),
        }
    }

    async fn serve(&self, grip: &Grip, argv: &Argv) -> Result<Spawned, TransportError> {
        let command = argv.parts().to_vec();
        let argv = verb("serve", grip).arg(self.pulse.silence_seconds()).args(command);
        let (line, Spawned { stream, exit }) = self.open(&argv).await?;
        match line.as_str() {
            "SERVE" => {
                let stream = Box::new(Served::new(stream, self.pulse.beats()));
                Ok(Spawned { stream, exit })
            }
            _ => Err(self.refusal(&argv, &line)),
        }
    }

    async fn forget(&self, older_than: Duration) -> Result<(), TransportError> {
        let minutes = (older_than.as_secs() / 60).to_string();
        let argv = script("forget").args(["-", "0", "-"]).arg(minutes);
        let (line, _) = self.ask(&argv, DECISION_LIMIT).await?;
        if line == "DONE" { Ok(()) } else { Err(self.unclear(&argv, &line)) }
    }
}

fn script(verb: &str) -> Argv {
    Argv::new("sh").args(["-c", LOAD, "drs-guard", SCRIPT, verb])
}

fn verb(verb: &str, grip: &Grip) -> Argv {
    script(verb)
        .arg(grip.job.to_string())
        .arg(grip.fence.to_string())
        .arg(file_name(grip.vm.name.as_str()))
}

/// The command for an error message: without the script.
fn summary(argv: &Argv) -> String {
    let (_, command) = argv.parts().split_at(argv.parts().len().min(VERB));
    let line = Argv::new("drs-guard").args(command.to_vec()).quoted();
    line.chars().take(200).collect()
}

fn unexpected(output: &Output) -> String {
    format!("exit code {}: {}{}", output.code, output.text(), output.stderr)
}

/// A name as a file name: every byte but letters, digits, `_`, `-` and inner dots becomes `%XX`.
fn file_name(name: &str) -> String {
    let mut encoded = String::new();
    for (at, byte) in name.bytes().enumerate() {
        let plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (byte == b'.' && at > 0);
        if plain {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap_or_default();
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_a_file_name_of_its_own() {
        for (name, file) in [
            ("web1", "web1"),
            ("db_01.prod", "db_01.prod"),
            ("büro-pc", "b%C3%BCro-pc"),
            ("Windows Server 2019", "Windows%20Server%202019"),
            ("vm(copy)@x:1+2", "vm%28copy%29%40x%3A1%2B2"),
            ("..", "%2E."),
            ("../../etc", "%2E.%2F..%2Fetc"),
            ("a%20b", "a%2520b"),
        ] {
            assert_eq!(file_name(name), file);
        }
        let names = ["a b", "a%20b", "a_b", "a.b", ".a", "%2Ea", "ä", "a\u{308}", "仮想"];
        let files: HashSet<_> = names.iter().map(|name| file_name(name)).collect();
        assert_eq!(files.len(), names.len());
    }

    #[test]
    fn an_error_shows_the_command_without_the_script() {
        let argv = script("forget").arg("a b");
        assert_eq!(summary(&argv), "drs-guard forget 'a b'");
    }
}
