//! Points at which a test can end the process as a power cut would.
//!
//! | point | between |
//! |---|---|
//! | `KIND/STEP/planned`, `/done`, `/undone` | the entry in the saga's log and what follows it |
//! | `KIND/STEP/midway` | the parts of a step |
//! | `claim/before`, `/after` | message, claim and drive |
//! | `start/before`, `/after` | a detached command on its host and the answer of the guard |
//! | `ack/before`, `/after` | the host's acceptance and the end of the message |
//! | `finish/before`, `/after` | the last entry of the log and the end of the job in the store |
//! | `hand_over/before`, `/after` | the end of driving and the note of it in the store |
//! | `publish/before`, `/after` | a waiter that was woken in the store and its message |

/// Ends the process with SIGKILL when the environment names this point of a saga.
#[cfg(feature = "crash-points")]
pub(crate) fn point(kind: drs_model::JobKind, step: &str, moment: &str) {
    at(&format!("{kind}/{step}/{moment}"));
}

/// Ends the process with SIGKILL when the environment names this point.
#[cfg(feature = "crash-points")]
pub(crate) fn at(here: &str) {
    if drs_runtime::environment::crash_point().as_deref() == Some(here) {
        use rustix::process::{Signal, getpid, kill_process};
        if kill_process(getpid(), Signal::KILL).is_err() {
            std::process::abort();
        }
    }
}

/// Nothing, in a binary for use.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn point(_kind: drs_model::JobKind, _step: &str, _moment: &str) {}

/// Nothing, in a binary for use.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn at(_here: &str) {}
