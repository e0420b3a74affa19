//! Termination signals, turned into a flag that work looks at between its steps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Done, Failure};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on SIGTERM and SIGINT set the flag and call `also`.
pub(crate) fn watch(also: impl Fn() + Send + 'static) -> Done {
    let (ready, is_ready) = mpsc::channel::<Done>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    thread::spawn(move || {
        runtime.block_on(async move {
            let both = signal(SignalKind::terminate())
                .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
            let (mut terminate, mut interrupt) = match both {
                Ok(both) => both,
                Err(error) => {
                    ready.send(Err(error.into())).ok();
                    return;
                }
            };
            ready.send(Ok(())).ok();
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                INTERRUPTED.store(true, Ordering::SeqCst);
                also();
            }
        });
    });
    is_ready.recv().unwrap_or(Ok(()))
}

/// Ends the work in hand when a signal has come.
pub(crate) fn check() -> Done {
    if INTERRUPTED.load(Ordering::SeqCst) {
        return Err(Failure::new("interrupted by signal"));
    }
    Ok(())
}
