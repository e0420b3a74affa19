//! What becomes of jobs that are over, what is told of those that wait, and how a scheduler ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use drs_backend::{
    Announcement, Backend, BackendError, Feed, Happening, History, JobFilter, submit,
};
use drs_model::{Job, JobId, JobSpec, Phase, SignedDuration};
use drs_protocol::store::{ClaimAnswer, JobMessage, LeadAnswer};
use drs_runtime::{Shutdown, clock};

use super::bench::{Bench, LEASE};
use crate::figures::{Waiting, waiting};
use crate::recorder::Recorder;
use crate::{Scheduler, SchedulerConfig};

/// A history and a listener in memory, which can be out of reach.
#[derive(Default)]
struct Outside {
    records: Mutex<BTreeMap<JobId, Job>>,
    told: Mutex<Vec<Announcement>>,
    feed_is_down: AtomicBool,
}

#[async_trait]
impl History for Outside {
    async fn record(&self, job: &Job) -> Result<(), BackendError> {
        self.records.lock().expect("a lock").insert(job.id, job.clone());
        Ok(())
    }

    async fn find(&self, id: JobId) -> Result<Option<Job>, BackendError> {
        Ok(self.records.lock().expect("a lock").get(&id).cloned())
    }

    async fn past(&self, _: &JobFilter) -> Result<Vec<Job>, BackendError> {
        Ok(self.records.lock().expect("a lock").values().cloned().collect())
    }
}

#[async_trait]
impl Feed for Outside {
    async fn announce(&self, announcement: &Announcement) -> Result<(), BackendError> {
        if self.feed_is_down.load(Ordering::SeqCst) {
            let (what, reason) = ("the feed".into(), "it is down".into());
            return Err(BackendError::Unavailable { what, reason });
        }
        self.told.lock().expect("a lock").push(announcement.clone());
        Ok(())
    }
}

async fn with_outside(bench: &Bench) -> (Arc<Outside>, Backend) {
    let outside = Arc::new(Outside::default());
    let (history, feed): (Arc<dyn History>, Arc<dyn Feed>) = (outside.clone(), outside.clone());
    let backend = Backend { history: Some(history), feed: Some(feed), ..bench.backend.clone() };
    (outside, backend)
}

async fn ended_job(bench: &Bench, key: &str) -> JobId {
    let (id, spec) = (JobId::from_key(key), JobSpec::backup("dc/web".parse().expect("a VM")));
    submit(&bench.backend, id, spec, None, bench.now()).await.expect("submitted");
    bench.end_jobs().await;
    id
}

#[tokio::test]
async fn a_job_that_is_over_goes_into_history_is_told_of_and_forgotten_in_the_end() {
    let bench = Bench::new("2026-11-22T01:00:00Z").await;
    let (outside, backend) = with_outside(&bench).await;
    let id = ended_job(&bench, "a").await;
    let keep = SignedDuration::from_hours(7 * 24);
    let recorder = Recorder::of(&backend, keep).expect("there is a history");
    assert_eq!(recorder.record().await.expect("recorded"), 1);
    assert_eq!(recorder.record().await.expect("nothing to record"), 0);
    assert_eq!(outside.find(id).await.expect("found").map(|job| job.id), Some(id));
    {
        let told = outside.told.lock().expect("a lock");
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].what, Happening::Ended { phase: Phase::Cancelled, fault: None });
    }
    recorder.prune(bench.now() + keep).await.expect("pruned");
    assert_eq!(bench.jobs().await.len(), 1, "it is kept for that long");
    recorder.prune(bench.now() + keep + SignedDuration::from_secs(1)).await.expect("pruned");
    assert_eq!(bench.jobs().await.len(), 0);
    assert_eq!(backend.job(id).await.expect("found").map(|job| job.id), Some(id));
}

#[tokio::test]
async fn an_end_that_cannot_be_told_is_told_later_and_the_job_is_kept_until_then() {
    let bench = Bench::new("2026-11-22T01:00:00Z").await;
    let (outside, backend) = with_outside(&bench).await;
    let id = ended_job(&bench, "a").await;
    let recorder = Recorder::of(&backend, SignedDuration::ZERO).expect("there is a history");
    outside.feed_is_down.store(true, Ordering::SeqCst);
    assert!(recorder.record().await.is_err());
    recorder.prune(bench.now() + SignedDuration::from_hours(1)).await.expect("pruned");
    assert_eq!(bench.jobs().await.len(), 1);
    outside.feed_is_down.store(false, Ordering::SeqCst);
    // Two schedulers at one time may both tell.
    let other = Recorder::of(&backend, SignedDuration::ZERO).expect("there is a history");
    let (one, two) = tokio::join!(recorder.record(), other.record());
    assert!(one.is_ok() && two.is_ok());
    let told = outside.told.lock().expect("a lock");
    assert!(told.iter().all(|told| told.job == id) && (1..=2).contains(&told.len()));
}

#[tokio::test]
async fn jobs_that_wait_are_counted_by_what_they_wait_for() {
    let bench = Bench::new("2026-11-22T01:00:00Z").await;
    let spec = JobSpec::backup("dc/web".parse().expect("a VM"));
    for key in ["a", "b", "c", "d"] {
        let (id, now) = (JobId::from_key(key), bench.now());
        let submitted =
            submit(&bench.backend, id, spec.clone(), None, now).await.expect("submitted");
        let message = JobMessage::from(submitted.job());
        if key == "d" {
            continue;
        }
        let claim = bench.backend.store.claim(now, &message, "w", LEASE).await.expect("claimed");
        assert_eq!(matches!(claim, ClaimAnswer::Claimed(_)), key == "a");
    }
    let expected = Waiting { vm: 2, worker: 1, ..Waiting::default() };
    assert_eq!(waiting(&bench.backend).await.expect("figures"), expected);
}

#[tokio::test]
async fn a_scheduler_submits_what_is_due_and_gives_its_term_back_when_it_ends() {
    let bench = Bench::new(&clock::now().to_string()).await;
    bench.schedule("* * * * * *", "UTC").await;
    let shutdown = Shutdown::new();
    let scheduler = Scheduler::new(SchedulerConfig::named("a"), bench.backend.clone());
    let running = tokio::spawn(scheduler.run(shutdown.clone()));
    while bench.jobs().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = bench.backend.store.lead(clock::now(), "b", LEASE).await.expect("an answer");
    assert!(matches!(answer, LeadAnswer::Following(_)), "{answer:?}");
    shutdown.drain();
    running.await.expect("it ends");
    let answer = bench.backend.store.lead(clock::now(), "b", LEASE).await.expect("an answer");
    assert!(matches!(answer, LeadAnswer::Leading(_)), "{answer:?}");
}
