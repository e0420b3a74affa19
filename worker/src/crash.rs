//! Points at which a test can end the process as a power cut would.

/// Ends the process with SIGKILL when the environment names this point.
#[cfg(feature = "crash-points")]
pub(crate) fn point(kind: drs_model::JobKind, step: &str, moment: &str) {
    let here = format!("{kind}/{step}/{moment}");
    if drs_runtime::environment::crash_point().as_deref() == Some(here.as_str()) {
        use rustix::process::{Signal, getpid, kill_process};
        if kill_process(getpid(), Signal::KILL).is_err() {
            std::process::abort();
        }
    }
}

/// Nothing, in a binary for use.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn point(_kind: drs_model::JobKind, _step: &str, _moment: &str) {}
