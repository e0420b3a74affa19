//! The job store. What its operations decide is compared with the reference; here is the rest.

use drs_model::{
    FencingToken, Job, JobId, JobSpec, JobState, Phase, PointId, Resource, SignedDuration,
    StepMark, StepRecord, Timestamp,
};
use drs_protocol::store::{
    BeatAnswer, CancelAnswer, ClaimAnswer, CreateAnswer, Driving, HandOver, Outcome,
    ReassertAnswer, RefenceAnswer, SettleAnswer,
};
use tokio::task::JoinSet;

use super::{TTL, Verdict, Violation, at, backup, broken, checks, holds, name, same};
use crate::{Backend, BackendError, JobFilter, Wait};

checks![
    a_created_job_reads_back_as_it_was,
    a_job_that_is_created_twice_stays_as_it_is,
    times_are_kept_to_the_nanosecond,
    sixteen_claims_at_once_make_one_driver,
    sixteen_jobs_of_one_vm_claimed_at_once_run_one_at_a_time,
    a_store_that_knows_nothing_says_so,
    a_job_is_brought_back_from_its_message_and_from_its_worker,
    a_message_that_nobody_claims_is_published_again_after_twice_as_long_each_time,
    a_message_that_never_reached_the_broker_is_published_again_after_the_same_time,
    a_cancel_whose_message_is_lost_waits_no_longer_than_a_new_job,
    jobs_are_listed_newest_first_in_pages,
    a_list_is_narrowed_to_phases_to_a_vm_and_to_a_host,
    an_unknown_cursor_gives_an_empty_page,
    a_parked_job_tells_what_it_waits_for_and_its_place,
];

async fn created(backend: &Backend, jobs: &[Job]) -> Verdict {
    for job in jobs {
        same("create", &backend.store.create(job).await?, &CreateAnswer::Created)?;
    }
    Ok(())
}

async fn claimed(
    backend: &Backend,
    now: Timestamp,
    job: &Job,
    worker: &str,
) -> Result<Job, Violation> {
    match backend.store.claim(now, &job.into(), worker, TTL).await? {
        ClaimAnswer::Claimed(job) => Ok(*job),
        other => broken(format!("not claimed: {other:?}")),
    }
}

async fn ids(backend: &Backend, filter: JobFilter) -> Result<Vec<JobId>, BackendError> {
    Ok(backend.store.list(&filter).await?.iter().map(|job| job.id).collect())
}

async fn a_created_job_reads_back_as_it_was(backend: Backend) -> Verdict {
    let job = backup("a", "dc/büro pc (1)", 5)?;
    created(&backend, std::slice::from_ref(&job)).await?;
    same("get", &backend.store.get(job.id).await?, &Some(job))?;
    same("get", &backend.store.get(JobId::from_key("none")).await?, &None)
}

async fn a_job_that_is_created_twice_stays_as_it_is(backend: Backend) -> Verdict {
    let (first, second) = (backup("a", "dc/web", 1)?, backup("a", "dc/db", 2)?);
    created(&backend, std::slice::from_ref(&first)).await?;
    let again = backend.store.create(&second).await?;
    same("create", &again, &CreateAnswer::Exists(Box::new(first.clone())))?;
    same("get", &backend.store.get(first.id).await?, &Some(first))
}

async fn times_are_kept_to_the_nanosecond(backend: Backend) -> Verdict {
    let instant = |nanosecond| {
        Timestamp::new(1_700_000_000, nanosecond).or_else(|error| broken(error.to_string()))
    };
    let mut job = backup("a", "dc/web", 1)?;
    job.state = JobState::Queued { not_before: instant(2)? };
    created(&backend, std::slice::from_ref(&job)).await?;
    let early = backend.store.claim(instant(1)?, &(&job).into(), "w", TTL).await?;
    same("one nanosecond early", &early, &ClaimAnswer::Waiting)?;
    let lease_from = instant(2)?;
    claimed(&backend, lease_from, &job, "w").await?;
    let end = lease_from + TTL;
    let before = end - SignedDuration::from_nanos(1);
    same("reaped early", &backend.store.reap(before, 9).await?.len(), &0)?;
    same("reaped in time", &backend.store.reap(end, 9).await?.len(), &1)
}

async fn sixteen_claims_at_once_make_one_driver(backend: Backend) -> Verdict {
    for round in 0..20 {
        let job = backup(&format!("{round}"), &format!("h{round}/vm"), round)?;
        created(&backend, std::slice::from_ref(&job)).await?;
        let mut claims = JoinSet::new();
        for worker in 0..16 {
            let (store, message) = (backend.store.clone(), (&job).into());
            claims.spawn(async move {
                store.claim(at(100), &message, &format!("w{worker}"), TTL).await
            });
        }
        let mut drivers = Vec::new();
        let mut refused = Vec::new();
        for answer in claims.join_all().await {
            match answer? {
                ClaimAnswer::Claimed(job) => drivers.push(job.state),
                ClaimAnswer::Leased { worker } => refused.push(worker),
                other => return broken(format!("{other:?}")),
            }
        }
        same("drivers", &drivers.len(), &1)?;
        let driver = drivers[0].lease().map(|lease| lease.worker.clone());
        holds("the others are told who", refused.iter().all(|w| Some(w) == driver.as_ref()))?;
    }
    Ok(())
}

async fn sixteen_jobs_of_one_vm_claimed_at_once_run_one_at_a_time(backend: Backend) -> Verdict {
    let mut waiting = Vec::new();
    for i in 0..16 {
        waiting.push(backup(&format!("{i}"), "dc/web", i)?);
    }
    let mut last = FencingToken::default();
    let mut now = at(100);
    while !waiting.is_empty() {
        let mut claims = JoinSet::new();
        for job in &waiting {
            let (store, message) = (backend.store.clone(), job.into());
            claims.spawn(async move { store.claim(now, &message, "w", TTL).await });
        }
        let mut driven = Vec::new();
        for answer in claims.join_all().await {
            if let ClaimAnswer::Claimed(job) = answer? {
                driven.push(job);
            }
        }
        same("jobs that run on the VM", &driven.len(), &1)?;
        let job = &driven[0];
        holds("the fencing token grows", job.fence > last)?;
        last = job.fence;
        let who = Driving { job: job.id, worker: "w", fence: job.fence };
        now += SignedDuration::from_secs(1);
        let settled = backend.store.finish(now, who, &Outcome::Succeeded).await?;
        holds("it ends", matches!(settled, SettleAnswer::Settled { .. }))?;
        waiting.retain(|waiting| waiting.id != job.id);
    }
    Ok(())
}

async fn a_store_that_knows_nothing_says_so(backend: Backend) -> Verdict {
    let who = Driving { job: JobId::from_key("a"), worker: "w", fence: FencingToken(3) };
    same("beat", &backend.store.beat(at(1), who, TTL, true).await?, &BeatAnswer::Unknown)?;
    let finish = backend.store.finish(at(1), who, &Outcome::Succeeded).await?;
    same("finish", &finish, &SettleAnswer::Unknown)?;
    let refence = backend.store.refence(at(1), who, FencingToken(9)).await?;
    same("refence", &refence, &RefenceAnswer::Unknown)?;
    same("reap", &backend.store.reap(at(1), 9).await?, &Vec::new())?;
    same("sweep", &backend.store.sweep(at(1), TTL, 9).await?, &Vec::new())?;
    same("bury", &backend.store.bury(at(1), "w").await?, &0)
}

async fn a_job_is_brought_back_from_its_message_and_from_its_worker(backend: Backend) -> Verdict {
    let from_message = claimed(&backend, at(1), &backup("a", "dc/web", 1)?, "w").await?;
    same("get", &backend.store.get(from_message.id).await?, &Some(from_message.clone()))?;
    let known = Job { fence: FencingToken(40), ..backup("b", "dc/db", 1)? };
    let answer = backend.store.reassert(at(2), &known, "w", TTL).await?;
    same("reassert", &answer, &ReassertAnswer::Restored)?;
    let who = Driving { job: known.id, worker: "w", fence: known.fence };
    let beat = backend.store.beat(at(3), who, TTL, true).await?;
    same("beat", &beat, &BeatAnswer::Kept { cancel: false })?;
    let next = claimed(&backend, at(4), &backup("c", "dr/web", 1)?, "w").await?;
    holds("no token is given twice", next.fence > known.fence)
}

/// How long a message is not claimed before it is published again the first time.
const STALE: SignedDuration = SignedDuration::from_secs(30);

/// Waits for `pause` after `last`: nothing is to be published before, the job then. Returns that time.
async fn swept_after(
    backend: &Backend,
    job: JobId,
    last: Timestamp,
    pause: i64,
) -> Result<Timestamp, Violation> {
    let due = last + SignedDuration::from_secs(pause);
    let early = backend.store.sweep(due - SignedDuration::from_nanos(1), STALE, 9).await?;
    same(&format!("swept before {pause} s"), &early, &Vec::new())?;
    let swept = backend.store.sweep(due, STALE, 9).await?;
    let ids: Vec<JobId> = swept.iter().map(|job| job.id).collect();
    same(&format!("swept after {pause} s"), &ids, &vec![job])?;
    Ok(due)
}

async fn a_message_that_nobody_claims_is_published_again_after_twice_as_long_each_time(
    backend: Backend,
) -> Verdict {
    let job = backup("a", "dc/web", 1)?;
    created(&backend, std::slice::from_ref(&job)).await?;
    let mut last = job.created_at;
    backend.store.published(last, job.id).await?;
    for pause in [30, 60, 120, 240, 480, 630, 630, 630] {
        last = swept_after(&backend, job.id, last, pause).await?;
        backend.store.published(last, job.id).await?;
    }
    let claim = claimed(&backend, last, &job, "w").await?;
    let who = Driving { job: job.id, worker: "w", fence: claim.fence };
    let how = HandOver { not_before: last, fault: None, keep: true, counts: false };
    backend.store.hand_over(last, who, &how).await?;
    // It waits anew, and is owed a message at once.
    for pause in [0, 30, 60] {
        last = swept_after(&backend, job.id, last, pause).await?;
        backend.store.published(last, job.id).await?;
    }
    Ok(())
}

async fn a_message_that_never_reached_the_broker_is_published_again_after_the_same_time(
    backend: Backend,
) -> Verdict {
    let job = backup("a", "dc/web", 1)?;
    created(&backend, std::slice::from_ref(&job)).await?;
    let mut last = job.created_at;
    for pause in [0, 30, 30, 30, 30] {
        last = swept_after(&backend, job.id, last, pause).await?;
    }
    Ok(())
}

async fn a_cancel_whose_message_is_lost_waits_no_longer_than_a_new_job(
    backend: Backend,
) -> Verdict {
    let job = backup("a", "dc/web", 1)?;
    created(&backend, std::slice::from_ref(&job)).await?;
    let claim = claimed(&backend, at(2), &job, "w").await?;
    let who = Driving { job: job.id, worker: "w", fence: claim.fence };
    let step = StepRecord {
        step: "copy".to_owned(),
        mark: StepMark::Planned,
        output: serde_json::Value::Null,
        at: at(3),
    };
    backend.store.log_step(at(3), who, &step).await?;
    let how = HandOver { not_before: at(4), fault: None, keep: true, counts: false };
    backend.store.hand_over(at(4), who, &how).await?;
    backend.store.published(at(5), job.id).await?;
    let hours_later = at(5) + SignedDuration::from_hours(2);
    let asked = backend.store.cancel(hours_later, job.id).await?;
    let asked = matches!(asked, CancelAnswer::Asked { publish: Some(_) });
    holds("a worker is to take it back", asked)?;
    swept_after(&backend, job.id, hours_later, 30).await.map(drop)
}

async fn jobs_are_listed_newest_first_in_pages(backend: Backend) -> Verdict {
    let mut jobs = Vec::new();
    for i in 0..7 {
        // Two jobs of one instant: the id decides.
        jobs.push(backup(&format!("{i}"), "dc/web", i / 2)?);
    }
    created(&backend, &jobs).await?;
    jobs.sort_by_key(|job| std::cmp::Reverse((job.created_at, job.id)));
    let mut listed = Vec::new();
    let mut before = None;
    loop {
        let page = ids(&backend, JobFilter { before, limit: 3, ..JobFilter::default() }).await?;
        before = page.last().copied();
        listed.extend(&page);
        if page.len() < 3 {
            break;
        }
    }
    same("all pages", &listed, &jobs.iter().map(|job| job.id).collect::<Vec<_>>())
}

async fn a_list_is_narrowed_to_phases_to_a_vm_and_to_a_host(backend: Backend) -> Verdict {
    let web = backup("web", "dc/web", 1)?;
    let db = backup("db", "dc/db", 2)?;
    let dr = backup("dr", "dr/web", 3)?;
    let spec = JobSpec::Inspect { host: name("dc")? };
    let inspect = Job::new(JobId::from_key("inspect"), spec, Vec::new(), at(4));
    let spec = JobSpec::Verify { point: PointId(JobId::from_key("point").0) };
    let verify = Job::new(JobId::from_key("verify"), spec, Vec::new(), at(5));
    let all = [web, db, dr, inspect, verify];
    created(&backend, &all).await?;
    let [web, db, dr, inspect, verify] = all;
    claimed(&backend, at(6), &web, "w").await?;
    let about = |subject: &str| JobFilter { subject: Some(subject.into()), ..JobFilter::default() };
    same("a VM", &ids(&backend, about("dc/web")).await?, &vec![web.id])?;
    same("part of a name", &ids(&backend, about("dc/we")).await?, &vec![])?;
    same("a host", &ids(&backend, about("dc")).await?, &vec![inspect.id, db.id, web.id])?;
    let phases = |phases: &[Phase]| JobFilter { phases: phases.into(), ..JobFilter::default() };
    same("claimed", &ids(&backend, phases(&[Phase::Claimed])).await?, &vec![web.id])?;
    let both = ids(&backend, phases(&[Phase::Claimed, Phase::Queued])).await?;
    same("two phases", &both, &vec![verify.id, inspect.id, dr.id, db.id, web.id])?;
    let queued = JobFilter { phases: vec![Phase::Queued], ..about("dc") };
    same("both", &ids(&backend, queued).await?, &vec![inspect.id, db.id])
}

async fn an_unknown_cursor_gives_an_empty_page(backend: Backend) -> Verdict {
    created(&backend, &[backup("a", "dc/web", 1)?]).await?;
    let before = Some(JobId::from_key("none"));
    same("page", &ids(&backend, JobFilter { before, ..JobFilter::default() }).await?, &vec![])
}

async fn a_parked_job_tells_what_it_waits_for_and_its_place(backend: Backend) -> Verdict {
    let (a, b, c) =
        (backup("a", "dc/web", 1)?, backup("b", "dc/web", 2)?, backup("c", "dc/web", 3)?);
    claimed(&backend, at(9), &a, "w").await?;
    for waiting in [&c, &b] {
        let answer = backend.store.claim(at(9), &waiting.into(), "w", TTL).await?;
        holds("it is parked", matches!(answer, ClaimAnswer::Parked { .. }))?;
    }
    let resource = Resource::Vm(name("dc/web")?);
    let wait =
        |position| Wait { resource: resource.clone(), holders: vec![a.id], position, waiters: 2 };
    same("the older", &backend.store.wait_of(b.id).await?, &Some(wait(1)))?;
    same("the younger", &backend.store.wait_of(c.id).await?, &Some(wait(2)))?;
    same("the holder", &backend.store.wait_of(a.id).await?, &None)?;
    same("nobody", &backend.store.wait_of(JobId::from_key("none")).await?, &None)
}
