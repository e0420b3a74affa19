//! The history: every job that is over, once, as it ended last.

use std::cmp::Reverse;
use std::sync::Arc;

use drs_model::{
    Fault, FaultCode, Job, JobId, JobSpec, JobState, Phase, PointId, SignedDuration, StepMark,
    StepRecord, Timestamp,
};
use serde_json::json;

use super::{Verdict, Violation, at, backup, broken, checks, name, same};
use crate::{Backend, BackendError, History, JobFilter};

checks![
    a_job_reads_back_as_it_is,
    what_was_not_recorded_is_not_there,
    the_same_job_again_changes_nothing,
    a_later_end_replaces_and_an_earlier_one_does_not,
    many_that_record_the_same_jobs_at_once_leave_each_once,
    jobs_come_newest_first_in_pages,
    a_list_is_narrowed_to_phases_to_a_vm_and_to_a_host,
    an_unknown_cursor_gives_an_empty_page,
    a_page_has_its_largest_size,
];

fn history(backend: &Backend) -> Result<Arc<dyn History>, Violation> {
    backend.history.clone().map_or_else(|| broken("there is no history".into()), Ok)
}

/// The job as it is when it ends.
fn ended(job: Job, state: JobState, milliseconds: i64) -> Job {
    Job { state, updated_at: at(milliseconds), ..job }
}

fn succeeded(key: &str, vm: &str, created: i64) -> Result<Job, Violation> {
    Ok(ended(backup(key, vm, created)?, JobState::Succeeded, created + 100))
}

async fn ids(history: &dyn History, filter: JobFilter) -> Result<Vec<JobId>, BackendError> {
    Ok(history.past(&filter).await?.iter().map(|job| job.id).collect())
}

async fn a_job_reads_back_as_it_is(backend: Backend) -> Verdict {
    let history = history(&backend)?;
    let exact = at(5) + SignedDuration::from_nanos(123_456_789);
    let output = json!({ "largest": u64::MAX, "text": "ü \u{0} \n \"quoted\"", "none": null });
    let (step, mark) = ("copy".to_owned(), StepMark::Undone);
    let job = Job {
        attempt: u32::MAX,
        created_at: exact,
        updated_at: Timestamp::MAX,
        started_at: Some(Timestamp::UNIX_EPOCH - SignedDuration::from_nanos(1)),
        cancel_requested: true,
        steps: vec![StepRecord { step, mark, output, at: exact }],
        fault: Some(Fault::permanent(FaultCode::HostFull, "full \u{0}", "Make room.")),
        ..ended(backup("a", "dc/web", 1)?, JobState::Failed, 9)
    };
    history.record(&job).await?;
    same("found", &history.find(job.id).await?, &Some(job.clone()))?;
    same("listed", &history.past(&JobFilter::default()).await?, &vec![job])
}

async fn what_was_not_recorded_is_not_there(backend: Backend) -> Verdict {
    let history = history(&backend)?;
    same("none", &history.past(&JobFilter::default()).await?, &vec![])?;
    history.record(&succeeded("a", "dc/web", 1)?).await?;
    same("another", &history.find(JobId::from_key("b")).await?, &None)
}

async fn the_same_job_again_changes_nothing(backend: Backend) -> Verdict {
    let history = history(&backend)?;
    let job = succeeded("a", "dc/web", 1)?;
    for _ in 0..3 {
        history.record(&job).await?;
        same("listed", &history.past(&JobFilter::default()).await?, &vec![job.clone()])?;
    }
    Ok(())
}

async fn a_later_end_replaces_and_an_earlier_one_does_not(backend: Backend) -> Verdict {
    let history = history(&backend)?;
    let job = backup("a", "dc/web", 1)?;
    let first = ended(job.clone(), JobState::Cancelled, 10);
    let later = ended(Job { attempt: 2, ..job }, JobState::Succeeded, 20);
    for (recorded, kept) in [(&first, &first), (&later, &later), (&first, &later)] {
        history.record(recorded).await?;
        same("found", &history.find(kept.id).await?, &Some(kept.clone()))?;
        let phases = vec![kept.state.phase()];
        let listed = ids(&*history, JobFilter { phases, ..JobFilter::default() }).await?;
        same("listed", &listed, &vec![kept.id])?;
    }
    Ok(())
}

async fn many_that_record_the_same_jobs_at_once_leave_each_once(backend: Backend) -> Verdict {
    let history = history(&backend)?;
    let mut records = tokio::task::JoinSet::new();
    for i in 0..30 {
        let job = succeeded(&format!("{}", i % 3), "dc/web", i % 3)?;
        let history = history.clone();
        records.spawn(async move { history.record(&job).await });
    }
    for recorded in records.join_all().await {
        recorded?;
    }
    let wanted: Vec<JobId> = ["2", "1", "0"].into_iter().map(JobId::from_key).collect();
    same("listed", &ids(&*history, JobFilter::default()).await?, &wanted)
}

async fn jobs_come_newest_first_in_pages(backend: Backend) -> Verdict {
    let history = history(&backend)?;
    let mut jobs = Vec::new();
    for i in 0..7 {
        // Two jobs of one instant: the id decides. The order of the ends does not count.
        let job = backup(&format!("{i}"), "dc/web", i / 2)?;
        jobs.push(ended(job, JobState::Succeeded, 100 - i));
    }
    for job in &jobs {
        history.record(job).await?;
    }
    jobs.sort_by_key(|job| Reverse((job.created_at, job.id)));
    let mut listed = Vec::new();
    let mut before = None;
    loop {
        let page = ids(&*history, JobFilter { before, limit: 3, ..JobFilter::default() }).await?;
        before = page.last().copied();
        listed.extend(&page);
        if page.len() < 3 {
            break;
        }
    }
    same("all pages", &listed, &jobs.iter().map(|job| job.id).collect::<Vec<_>>())
}

async fn a_list_is_narrowed_to_phases_to_a_vm_and_to_a_host(backend: Backend) -> Verdict {
    let history = history(&backend)?;
    let over = |key: &str, spec, created| {
        let job = Job::new(JobId::from_key(key), spec, Vec::new(), at(created));
        ended(job, JobState::Succeeded, 50)
    };
    let web = ended(backup("web", "dc/web", 1)?, JobState::Failed, 50);
    let db = over("db", JobSpec::backup(name("dc/db")?), 2);
    let dr = over("dr", JobSpec::backup(name("dr/web")?), 3);
    let inspect = over("inspect", JobSpec::Inspect { host: name("dc")? }, 4);
    let point = PointId(JobId::from_key("point").0);
    let verify = ended(over("verify", JobSpec::Verify { point }, 5), JobState::Cancelled, 50);
    for job in [&web, &db, &dr, &inspect, &verify] {
        history.record(job).await?;
    }
    let about = |subject: &str| JobFilter { subject: Some(subject.into()), ..JobFilter::default() };
    same("a VM", &ids(&*history, about("dc/web")).await?, &vec![web.id])?;
    same("part of a name", &ids(&*history, about("dc/we")).await?, &vec![])?;
    same("a host", &ids(&*history, about("dc")).await?, &vec![inspect.id, db.id, web.id])?;
    let phases = |phases: &[Phase]| JobFilter { phases: phases.into(), ..JobFilter::default() };
    same("failed", &ids(&*history, phases(&[Phase::Failed])).await?, &vec![web.id])?;
    same("running", &ids(&*history, phases(&[Phase::Running])).await?, &vec![])?;
    let both = ids(&*history, phases(&[Phase::Failed, Phase::Cancelled])).await?;
    same("two phases", &both, &vec![verify.id, web.id])?;
    let before = Some(inspect.id);
    let all = JobFilter { phases: vec![Phase::Succeeded], before, limit: 1, ..about("dc") };
    same("all at once", &ids(&*history, all).await?, &vec![db.id])
}

async fn an_unknown_cursor_gives_an_empty_page(backend: Backend) -> Verdict {
    let history = history(&backend)?;
    history.record(&succeeded("a", "dc/web", 1)?).await?;
    let before = Some(JobId::from_key("none"));
    same("page", &ids(&*history, JobFilter { before, ..JobFilter::default() }).await?, &vec![])
}

async fn a_page_has_its_largest_size(backend: Backend) -> Verdict {
    let history = history(&backend)?;
    for i in 0..=JobFilter::LIMIT_MAX {
        history.record(&succeeded(&format!("{i}"), "dc/web", 1)?).await?;
    }
    for (limit, wanted) in [(0, 0), (usize::MAX, JobFilter::LIMIT_MAX)] {
        let page = ids(&*history, JobFilter { limit, ..JobFilter::default() }).await?;
        same("jobs", &page.len(), &wanted)?;
    }
    Ok(())
}
