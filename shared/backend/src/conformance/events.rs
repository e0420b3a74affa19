//! Events: logs in order, bounded, and the latest progress.

use drs_model::{JobId, LogLevel, LogLine, Progress};

use super::{Verdict, at, checks, same};
use crate::{Backend, NewLine};

checks![
    lines_come_back_in_order_from_any_place,
    a_line_stays_one_line_and_is_cut,
    the_first_and_the_latest_lines_of_a_long_log_stay,
    logs_of_jobs_are_apart,
    progress_is_the_latest,
];

fn line(text: &str) -> NewLine {
    NewLine { at: at(7), level: LogLevel::Warn, attempt: 2, text: text.into() }
}

async fn texts(
    backend: &Backend,
    job: JobId,
    after: u64,
) -> Result<Vec<String>, crate::BackendError> {
    let lines = backend.events.lines(job, after, 100).await?;
    Ok(lines.into_iter().map(|line| line.text).collect())
}

async fn lines_come_back_in_order_from_any_place(backend: Backend) -> Verdict {
    let job = JobId::from_key("a");
    same("none", &backend.events.lines(job, 0, 9).await?, &vec![])?;
    for text in ["one", "two", "three"] {
        backend.events.log(job, line(text)).await?;
    }
    let first =
        LogLine { seq: 1, at: at(7), level: LogLevel::Warn, attempt: 2, text: "one".into() };
    same("the first", &backend.events.lines(job, 0, 1).await?, &vec![first])?;
    same("the rest", &texts(&backend, job, 1).await?, &vec!["two".into(), "three".into()])?;
    same("behind the end", &texts(&backend, job, 3).await?, &vec![])
}

async fn a_line_stays_one_line_and_is_cut(backend: Backend) -> Verdict {
    let job = JobId::from_key("a");
    backend.events.log(job, line("a\nb\rc")).await?;
    backend.events.log(job, line(&"ü".repeat(NewLine::CHARS_MAX + 1))).await?;
    let wanted = vec!["a b c".into(), "ü".repeat(NewLine::CHARS_MAX)];
    same("lines", &texts(&backend, job, 0).await?, &wanted)
}

async fn the_first_and_the_latest_lines_of_a_long_log_stay(backend: Backend) -> Verdict {
    const WRITTEN: u64 = 10_050;
    let job = JobId::from_key("a");
    for chunk in 0..WRITTEN / 50 {
        // Together, so that an adapter that batches can show it.
        let mut writes = tokio::task::JoinSet::new();
        for i in 0..50 {
            let events = backend.events.clone();
            let text = format!("{}", chunk * 50 + i);
            writes.spawn(async move { events.log(job, line(&text)).await });
        }
        for written in writes.join_all().await {
            written?;
        }
    }
    let kept = backend.events.lines(job, 0, usize::MAX).await?;
    let numbers: Vec<u64> = kept.iter().map(|line| line.seq).collect();
    let wanted: Vec<u64> = (1..=1000).chain(WRITTEN - 8999..=WRITTEN).collect();
    same("how many", &numbers.len(), &wanted.len())?;
    same("which", &numbers, &wanted)
}

async fn logs_of_jobs_are_apart(backend: Backend) -> Verdict {
    let (a, b) = (JobId::from_key("a"), JobId::from_key("b"));
    backend.events.log(a, line("of a")).await?;
    backend.events.log(b, line("of b")).await?;
    same("a", &texts(&backend, a, 0).await?, &vec!["of a".into()])?;
    same("b", &texts(&backend, b, 0).await?, &vec!["of b".into()])
}

async fn progress_is_the_latest(backend: Backend) -> Verdict {
    let job = JobId::from_key("a");
    same("none", &backend.events.progress(job).await?, &None)?;
    for done_bytes in [1, u64::MAX] {
        let progress = Progress { step: "copy".into(), done_bytes, ..Progress::default() };
        backend.events.set_progress(job, &progress).await?;
        same("progress", &backend.events.progress(job).await?, &Some(progress))?;
    }
    Ok(())
}
