//! Which runs there are, whatever happens to the schedulers.

use std::collections::BTreeSet;

use drs_backend::submit;
use drs_model::{Fire, FireOutcome, JobId, JobSpec, SignedDuration, Timestamp};

use super::bench::{Bench, Candidate, time};

/// The runs of a schedule at these times.
fn runs(name: &str, times: &[Timestamp]) -> BTreeSet<JobId> {
    times.iter().map(|at| Fire::job_id(&name.parse().expect("a name"), *at)).collect()
}

async fn step_all(bench: &Bench, candidates: &mut [Candidate]) {
    for candidate in candidates {
        bench.step(candidate).await;
    }
}

#[tokio::test]
async fn every_time_fires_once_while_schedulers_are_killed_and_frozen() {
    let bench = Bench::new("2026-11-22T01:00:05Z").await;
    let schedule = bench.schedule("*/30 * * * * *", "UTC").await;
    let begun = bench.now();
    let mut candidates: Vec<Candidate> =
        ["a", "b", "c"].iter().map(|name| bench.candidate(name)).collect();
    for second in 0_i64..600 {
        bench.pass(1);
        // Every 40 s the first one, which mostly leads, is killed and another one started. The 20 s before
        // that the first one is frozen, and so is the one that comes after it for 10 s; then that goes on
        // as if nothing had happened.
        if second % 40 == 0 {
            candidates.remove(0);
            candidates.push(bench.candidate(&format!("after-{second}")));
        }
        let frozen = usize::from(second % 40 >= 20 || second % 40 < 10);
        step_all(&bench, &mut candidates[frozen..]).await;
        bench.end_jobs().await;
    }
    let mut times = Vec::new();
    let mut after = begun;
    while let Some(at) = schedule.calendar.next(after).filter(|at| *at <= bench.now()) {
        times.push(at);
        after = at;
    }
    assert_eq!(times.len(), 20);
    let submitted: BTreeSet<JobId> = bench.jobs().await.iter().map(|job| job.id).collect();
    assert_eq!(submitted, runs("nightly", &times));
}

#[tokio::test]
async fn two_leaders_at_one_time_submit_one_job() {
    let bench = Bench::new("2026-11-22T01:59:50Z").await;
    let schedule = bench.schedule("0 * * * *", "UTC").await;
    let (mut frozen, mut next) = (bench.candidate("a"), bench.candidate("b"));
    bench.step(&mut frozen).await;
    bench.pass(20);
    bench.step(&mut next).await;
    assert_eq!(bench.jobs().await.len(), 1);
    // The first one submits what it had seen to be due before it was frozen.
    let spec = JobSpec::backup("dc/web".parse().expect("a VM"));
    let id = Fire::job_id(&schedule.name, time("2026-11-22T02:00:00Z"));
    submit(&bench.backend, id, spec, None, bench.now()).await.expect("submitted");
    bench.look_alone(&mut frozen).await;
    assert_eq!(bench.jobs().await.len(), 1);
}

#[tokio::test]
async fn who_does_not_lead_submits_nothing() {
    let bench = Bench::new("2026-11-22T01:59:59Z").await;
    bench.schedule("0 * * * *", "UTC").await;
    let (mut leader, mut other) = (bench.candidate("a"), bench.candidate("b"));
    bench.step(&mut leader).await;
    bench.pass(1);
    bench.step(&mut other).await;
    assert_eq!(bench.jobs().await.len(), 0);
    bench.step(&mut leader).await;
    assert_eq!(bench.jobs().await.len(), 1);
}

#[tokio::test]
async fn who_ends_in_order_is_followed_at_once() {
    let bench = Bench::new("2026-11-22T01:59:59Z").await;
    bench.schedule("0 * * * *", "UTC").await;
    let mut leader = bench.candidate("a");
    bench.step(&mut leader).await;
    bench.end(leader).await;
    bench.pass(1);
    bench.step(&mut bench.candidate("b")).await;
    assert_eq!(bench.jobs().await.len(), 1);
}

#[tokio::test]
async fn a_run_is_skipped_while_the_one_before_is_not_over() {
    let bench = Bench::new("2026-11-22T01:30:00Z").await;
    let schedule = bench.schedule("0 * * * *", "UTC").await;
    let mut leader = bench.candidate("a");
    for _ in 0..3 {
        bench.pass(3600);
        bench.step(&mut leader).await;
    }
    let jobs = bench.jobs().await;
    assert_eq!(jobs.len(), 1);
    let skipped = bench.latest(&schedule).await.expect("a fire");
    assert_eq!(skipped.outcome, FireOutcome::Skipped);
    assert_eq!((skipped.at, skipped.job), (time("2026-11-22T04:00:00Z"), jobs[0].id));
    bench.end_jobs().await;
    bench.pass(3600);
    bench.step(&mut leader).await;
    assert_eq!(bench.jobs().await.len(), 2);
    let latest = bench.latest(&schedule).await.expect("a fire");
    assert_eq!((latest.outcome, latest.at), (FireOutcome::Submitted, time("2026-11-22T05:00:00Z")));
}

#[tokio::test]
async fn a_run_whose_scheduler_died_before_it_noted_it_is_not_over_either() {
    let bench = Bench::new("2026-11-22T01:30:00Z").await;
    let schedule = bench.schedule("0 * * * *", "UTC").await;
    let id = Fire::job_id(&schedule.name, time("2026-11-22T02:00:00Z"));
    let spec = JobSpec::backup("dc/web".parse().expect("a VM"));
    submit(&bench.backend, id, spec, None, bench.now()).await.expect("submitted");
    bench.pass(2 * 3600);
    bench.step(&mut bench.candidate("b")).await;
    assert_eq!(bench.jobs().await.len(), 1);
    let latest = bench.latest(&schedule).await.expect("a fire");
    assert_eq!((latest.outcome, latest.job), (FireOutcome::Skipped, id));
}

#[tokio::test]
async fn after_an_outage_the_latest_missed_run_is_made_up_for_alone() {
    let bench = Bench::new("2026-11-22T01:30:00Z").await;
    bench.schedule("0 * * * *", "UTC").await;
    bench.pass(10 * 3600);
    let mut leader = bench.candidate("a");
    bench.step(&mut leader).await;
    bench.end_jobs().await;
    bench.step(&mut leader).await;
    let jobs: BTreeSet<JobId> = bench.jobs().await.iter().map(|job| job.id).collect();
    assert_eq!(jobs, runs("nightly", &[time("2026-11-22T11:00:00Z")]));
}

#[tokio::test]
async fn a_day_with_a_change_of_the_clock_has_one_run() {
    for (from, at) in [
        ("2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
    ] {
        let bench = Bench::new(from).await;
        bench.schedule("30 2 * * *", "Europe/Berlin").await;
        let mut leader = bench.candidate("a");
        for _ in 0..(24 * 6) {
            bench.pass(600);
            bench.step(&mut leader).await;
            bench.end_jobs().await;
        }
        let jobs: BTreeSet<JobId> = bench.jobs().await.iter().map(|job| job.id).collect();
        assert_eq!(jobs, runs("nightly", &[time(at)]));
    }
}

#[tokio::test]
async fn a_run_that_the_store_lost_is_submitted_again_by_the_next_leader() {
    let bench = Bench::new("2026-11-22T01:59:59Z").await;
    let schedule = bench.schedule("0 * * * *", "UTC").await;
    let mut leader = bench.candidate("a");
    bench.pass(1);
    bench.step(&mut leader).await;
    let id = bench.jobs().await[0].id;
    lose(&bench, id).await;
    bench.step(&mut leader).await;
    assert_eq!(bench.jobs().await.len(), 0, "it is looked for once a minute");
    bench.pass(60);
    bench.step(&mut leader).await;
    assert_eq!(bench.jobs().await[0].id, id);
    lose(&bench, id).await;
    bench.end(leader).await;
    bench.step(&mut bench.candidate("b")).await;
    assert_eq!(bench.jobs().await[0].id, id);
    let fire = bench.latest(&schedule).await.expect("a fire");
    assert_eq!((fire.at, fire.job), (time("2026-11-22T02:00:00Z"), id));
}

/// Makes the store forget a job.
async fn lose(bench: &Bench, id: JobId) {
    bench.end_jobs().await;
    bench.backend.store.recorded(id).await.expect("marked");
    let later = bench.now() + SignedDuration::from_secs(1);
    assert_eq!(bench.backend.store.prune(later, 10).await.expect("pruned"), 1);
}
