//! Programs of this machine.

use std::io::ErrorKind;
use std::process::{Child, Command};

/// What to run when a program is missing.
const REMEDY: &str = "run tests/lab/setup servers";

/// A program of this machine, not started yet.
#[expect(clippy::disallowed_methods, reason = "servers for tests are started here")]
pub(crate) fn program(name: &str) -> Command {
    Command::new(name)
}

/// Starts it; a program that is not installed is a panic that says what to do.
pub(crate) fn start(command: &mut Command) -> Child {
    match command.spawn() {
        Ok(child) => child,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            panic!("{} is not installed: {REMEDY}", command.get_program().display())
        }
        Err(e) => panic!("{} does not start: {e}", command.get_program().display()),
    }
}

/// Runs it to its end and gives what it printed; anything but success is a panic with its words.
pub(crate) fn must(command: &mut Command) -> String {
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => panic!("{} does not start: {e}: {REMEDY}", command.get_program().display()),
    };
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{} {}: {printed}{}",
        command.get_program().display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}
