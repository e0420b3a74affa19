//! How a command ends badly: what it says and the exit code it leaks.

use std::fmt::Display;
use std::io;

/// A command's failure. The code is what the real commands let escape (255, or some errno).
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) text: String,
}

/// What every step of a command answers.
pub(crate) type Done<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { code: 255, text: text.into() }
    }

    pub(crate) fn with_code(code: i32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// A parameter that does not verify. `gap` is the empty line that some of these messages have.
    pub(crate) fn parameter(name: &str, message: &str, gap: bool, usage: &str) -> Self {
        let gap = if gap { "\n" } else { "" };
        let text = format!("400 Parameter verification failed.\n{name}: {message}\n{gap}{usage}");
        Self { code: 2, text }
    }

    /// The same failure with the words of a step before it.
    pub(crate) fn within(self, context: impl Display) -> Self {
        Self { code: self.code, text: format!("{context}: {}", self.text) }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(message(&error))
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// The system's words for an error, as the C library prints them.
pub(crate) fn message(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
