//! SIGTERM and SIGINT: the first asks, the second insists.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::Shutdown;

/// Exit code of a process that the second signal ended, as a shell tells it of SIGINT.
const INSISTED: i32 = 130;

/// Stops `shutdown` at the first SIGTERM or SIGINT, after calling `first`; ends the process at the
/// second, which leaves its jobs as a kill would: the next worker takes them over.
///
/// # Errors
/// The system gives no signal handler.
pub fn stop_on_signals(
    shutdown: Shutdown,
    first: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        next(&mut term, &mut int).await;
        first();
        shutdown.stop();
        next(&mut term, &mut int).await;
        std::process::exit(INSISTED);
    });
    Ok(())
}

async fn next(term: &mut tokio::signal::unix::Signal, int: &mut tokio::signal::unix::Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
