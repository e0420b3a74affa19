//! What goes on beside a drive and keeps it waiting for nothing, however long a server is silent: progress is
//! told, and a request to cancel is looked for.

use std::time::Duration;

use drs_backend::{Backend, Happening};
use drs_model::{Job, Progress};
use drs_runtime::clock;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::activity::Aside;
use crate::reporter::Reporter;

/// How often a request to cancel is looked for; the next renewal of the lease would tell it too.
const CANCEL_LOOK: Duration = Duration::from_secs(2);
/// How often progress is written while it changes.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// How often other programs are told of progress.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Goes on until it is dropped. What was written of the progress is noted in `seen`.
pub(super) async fn of(
    backend: Backend,
    report: Reporter,
    job: Job,
    seen: &mut watch::Receiver<Progress>,
    asides: UnboundedSender<Aside>,
) {
    tokio::join!(tell_progress(&backend, &report, &job, seen), look(&backend, &job, &asides));
}

async fn tell_progress(
    backend: &Backend,
    report: &Reporter,
    job: &Job,
    seen: &mut watch::Receiver<Progress>,
) {
    let (mut rhythm, mut told_at) = (every(PROGRESS_EVERY), Instant::now());
    loop {
        rhythm.tick().await;
        let noted = report.flush(seen).await;
        if let Some(progress) = noted.filter(|_| told_at.elapsed() >= TELL_EVERY) {
            told_at = Instant::now();
            backend.announce(job, clock::now(), Happening::Progress(progress)).await;
        }
    }
}

async fn look(backend: &Backend, job: &Job, asides: &UnboundedSender<Aside>) {
    let mut rhythm = every(CANCEL_LOOK);
    loop {
        rhythm.tick().await;
        let record = backend.store.get(job.id).await;
        let asked = record.is_ok_and(|job| job.is_some_and(|job| job.cancel_requested));
        if asked {
            asides.send(Aside::CancelAsked).ok();
        }
    }
}

/// Ticks in this rhythm, the first time after one such span.
fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
