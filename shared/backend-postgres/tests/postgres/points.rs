//! The recovery points that dashboards see.

use drs_backend::History;
use drs_model::{
    Consistency, DiskContent, Job, JobId, JobSpec, JobState, SignedDuration, StepMark, StepRecord,
    Timestamp,
};
use serde_json::{Value, json};

use crate::{connect, fresh, sql};

const POINTS: &str = "\
    SELECT id, host, vm, extract(epoch FROM consistent_at)::int, consistency, \
           extract(epoch FROM completed_at)::int, size_bytes, stored_bytes \
    FROM drs.point ORDER BY completed_at";

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn step(name: &str, output: Value) -> StepRecord {
    StepRecord { step: name.into(), mark: StepMark::Done, output, at: at(5) }
}

fn disk(size_bytes: u64) -> DiskContent {
    DiskContent {
        name: "vda".into(),
        size_bytes,
        data_bytes: 1,
        stored_bytes: 7,
        digest: String::new(),
    }
}

fn backup(key: &str, steps: Vec<StepRecord>) -> Job {
    let vm = "dc/web".parse().expect("a VM");
    let job = Job::new(JobId::from_key(key), JobSpec::backup(vm), Vec::new(), at(1));
    Job { state: JobState::Succeeded, updated_at: at(100), steps, ..job }
}

#[tokio::test]
async fn a_backup_that_succeeded_leaves_its_point() {
    let url = fresh();
    let history = connect(&url).await.expect("connected");
    let frozen = json!({ "consistent_at": at(10), "consistency": Consistency::FileSystem });
    let copied = |at| json!({ "disks": [disk(20), disk(30)], "completed_at": at });
    let stream =
        backup("stream", vec![step("export", frozen.clone()), step("copy", copied(at(11)))]);
    let located = json!({ "path": "/x", "size_bytes": 1, "export": frozen });
    let staged = backup("staged", vec![step("locate", located), step("copy", copied(at(12)))]);
    let silent = backup("silent", Vec::new());
    for job in [&stream, &staged, &silent, &stream] {
        history.record(job).await.expect("recorded");
    }
    let wanted = format!(
        "{}|dc|web|10|file_system|11|50|14\n{}|dc|web|10|file_system|12|50|14\n\
         {}|dc|web|||100||",
        stream.id, staged.id, silent.id
    );
    assert_eq!(sql(&url, POINTS).await, wanted);
}

#[tokio::test]
async fn what_made_no_point_leaves_none() {
    let url = fresh();
    let history = connect(&url).await.expect("connected");
    let failed = Job { state: JobState::Failed, ..backup("failed", Vec::new()) };
    let inspect = Job {
        spec: JobSpec::Inspect { host: "dc".parse().expect("a name") },
        ..backup("inspect", Vec::new())
    };
    for job in [&failed, &inspect] {
        history.record(job).await.expect("recorded");
    }
    assert_eq!(sql(&url, POINTS).await, "");
}

#[tokio::test]
async fn the_latest_end_decides_whether_there_is_a_point() {
    let url = fresh();
    let history = connect(&url).await.expect("connected");
    let first = backup("a", Vec::new());
    let later = Job { state: JobState::Failed, updated_at: at(200), ..first.clone() };
    let latest = Job { updated_at: at(300), ..first.clone() };
    for (job, points) in [(&first, 1), (&later, 0), (&first, 0), (&latest, 1), (&later, 1)] {
        history.record(job).await.expect("recorded");
        assert_eq!(sql(&url, POINTS).await.lines().count(), points, "after {}", job.updated_at);
    }
}
