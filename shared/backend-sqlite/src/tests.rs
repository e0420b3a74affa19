use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use drs_model::{
    Host, HypervisorKind, Job, JobClass, JobId, JobSpec, Phase, SignedDuration, Timestamp,
};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tempfile::TempDir;

use super::*;
use crate::failure::Failure;
use crate::writer::Durability;
use drs_backend::{BackendError, JobFilter};

fn fresh() -> (TempDir, SqliteBackend) {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = SqliteBackend::open(&folder.path().join("drs.db")).expect("a new file");
    (folder, backend)
}

fn host(name: &str) -> Host {
    Host {
        name: name.parse().expect("a name"),
        site: "site".parse().expect("a name"),
        kind: HypervisorKind::Simulated,
        address: "vms=1".into(),
        key_file: None,
        host_keys: Vec::new(),
        image_dir: None,
        dump_dir: None,
        slots: 2,
        bytes_per_second: None,
    }
}

fn job(key: &str) -> Job {
    let spec = JobSpec::Inspect { host: "dc".parse().expect("a name") };
    Job::new(JobId::from_key(key), spec, Vec::new(), Timestamp::UNIX_EPOCH)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[tokio::test]
async fn the_file_and_what_lies_beside_it_is_for_its_owner_alone() {
    let (folder, backend) = fresh();
    backend.backend().catalog.add_host(&host("dc")).await.expect("added");
    for name in ["drs.db", "drs.db-wal", "drs.db-shm"] {
        assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
    }
    let path = folder.path().join("copied.db");
    fs::write(&path, "").expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened up");
    SqliteBackend::open(&path).expect("opened");
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("drs.db");
    let connection = Connection::open(&path).expect("a file");
    connection.execute_batch("CREATE TABLE future (x); PRAGMA user_version = 99").expect("made");
    drop(connection);
    let before = fs::read(&path).expect("read");
    match SqliteBackend::open(&path).map(|_| ()) {
        Err(BackendError::TooNew { what, found: 99, known }) => {
            assert_eq!(
                (what, known),
                (path.display().to_string(), schema::MIGRATIONS.len() as i64)
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&path).expect("read"), before);
}

#[test]
fn what_is_no_sqlite_file_is_damaged_and_not_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in [("short", "x".into()), ("long", "no database\n".repeat(1000))] {
        let path = folder.path().join(name);
        fs::write(&path, &content).expect("written");
        let refused = SqliteBackend::open(&path).map(|_| ());
        assert!(matches!(refused, Err(BackendError::Damaged { .. })), "{name}: {refused:?}");
        assert_eq!(fs::read_to_string(&path).expect("read"), content);
    }
}

#[test]
fn a_folder_that_is_not_there_or_cannot_be_written_is_unavailable_with_the_reason() {
    for path in ["/nowhere/drs.db", "/proc/drs.db", "/"] {
        match SqliteBackend::open(Path::new(path)).map(|_| ()) {
            Err(BackendError::Unavailable { what, reason }) => {
                assert_eq!(what, path);
                assert!(!reason.is_empty());
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_was_there_stays() {
    let (_folder, backend) = fresh();
    let store = backend.backend().store;
    store.create(&job("before")).await.expect("created");
    let limit = |sql: &'static str| {
        backend.database.write(Durability::Full, move |connection| {
            Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?)
        })
    };
    // SQLite's own limit answers exactly like a disk without space.
    limit("PRAGMA max_page_count = 1").await.expect("limited to what it has");
    let full = loop {
        let line = drs_backend::NewLine {
            at: Timestamp::UNIX_EPOCH,
            level: drs_model::LogLevel::Info,
            attempt: 1,
            text: "x".repeat(2000),
        };
        if let Err(error) = backend.backend().events.log(JobId::from_key("log"), line).await {
            break error;
        }
    };
    match full {
        BackendError::Unavailable { reason, .. } => assert!(reason.contains("full"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(store.get(job("before").id).await.expect("read").is_some());
    limit("PRAGMA max_page_count = 1000000").await.expect("space again");
    store.create(&job("after")).await.expect("created");
}

#[tokio::test]
async fn of_operations_in_one_transaction_only_the_failing_one_is_undone() {
    let (_folder, backend) = fresh();
    let (release, held) = std::sync::mpsc::channel::<()>();
    // The first keeps the writer busy until the others wait behind it.
    let first = backend.database.write(Durability::Full, move |_| Ok(held.recv().is_ok()));
    let others = (0..40).map(|i| {
        let name = format!("h{i}");
        backend.database.write(Durability::Full, move |connection| {
            let sql = "INSERT INTO host (name, record) VALUES (?1, '')";
            connection.execute(sql, [&name])?;
            if i % 4 == 0 { Err(Failure::record("test", "refused")) } else { Ok(()) }
        })
    });
    let mut others: Vec<_> = others.map(Box::pin).collect();
    let mut first = Box::pin(first);
    std::future::poll_fn(|context| {
        assert!(first.as_mut().poll(context).is_pending());
        for other in &mut others {
            assert!(other.as_mut().poll(context).is_pending());
        }
        std::task::Poll::Ready(())
    })
    .await;
    release.send(()).expect("released");
    assert!(first.await.expect("done"));
    for (i, other) in others.into_iter().enumerate() {
        assert_eq!(other.await.is_err(), i % 4 == 0);
    }
    let hosts = backend.database.read(|connection| {
        Ok(connection.query_row("SELECT count(*) FROM host", [], |row| row.get::<_, i64>(0))?)
    });
    assert_eq!(hosts.await.expect("read"), 30);
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_file_is_opened_again() {
    let (folder, backend) = fresh();
    backend.backend().store.create(&job("a")).await.expect("created");
    backend.backend().dispatch.publish(&(&job("a")).into()).await.expect("published");
    let again = SqliteBackend::open(&folder.path().join("drs.db")).expect("opened").backend();
    assert_eq!(again.store.get(job("a").id).await.expect("read"), Some(job("a")));
    let classes = [JobClass::Normal];
    let delivery = again.dispatch.next(&classes, Duration::ZERO).await.expect("an answer");
    assert_eq!(delivery.map(|delivery| delivery.message.id), Some(job("a").id));
}

#[tokio::test]
async fn a_message_that_is_not_acknowledged_comes_again_after_a_minute() {
    let (_folder, backend) = fresh();
    let now = Timestamp::now();
    let take = |after: i64| {
        let at = now + SignedDuration::from_secs(after);
        backend.take_at(at, vec![JobClass::Normal])
    };
    backend.backend().dispatch.publish(&(&job("a")).into()).await.expect("published");
    assert!(take(0).await.expect("an answer").is_some());
    assert!(take(59).await.expect("an answer").is_none());
    let again = take(60).await.expect("an answer").expect("the message");
    backend.backend().dispatch.ack(again).await.expect("acknowledged");
    assert!(take(600).await.expect("an answer").is_none());
}

/// The plan of a query, one line for each table it touches.
fn plan(connection: &Connection, sql: &str, values: Vec<Value>) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(sql);
    let values =
        if values.is_empty() { vec![Value::Null; statement.parameter_count()] } else { values };
    let rows = statement.query_map(params_from_iter(values), |row| row.get(3)).expect(sql);
    rows.collect::<Result<_, _>>().expect(sql)
}

#[tokio::test]
async fn no_query_reads_a_whole_table() {
    use crate::{catalog, dispatch, events, job_store, rows};
    let constant = [
        rows::JOB,
        rows::PUT,
        rows::HOLDERS,
        rows::HOLD,
        rows::RELEASE,
        rows::WAITERS,
        rows::FENCE,
        rows::LAPSED,
        rows::LEASED,
        rows::OWED,
        rows::AWAITED,
        job_store::POSITION,
        job_store::COUNT,
        dispatch::FORGET_TAKEN,
        dispatch::PUBLISH,
        dispatch::NEXT,
        dispatch::TAKE,
        dispatch::ACK,
        catalog::HOST,
        catalog::PAIR,
        catalog::PAIR_OF_HOST,
        events::LAST_SEQ,
        events::ADD_LINE,
        events::DROP_LINE,
        events::LINES,
        events::SET_PROGRESS,
        events::PROGRESS,
    ];
    let phases = vec![Phase::Running, Phase::Claimed];
    let before = Some(JobId::from_key("a"));
    let filter = JobFilter::default();
    let lists = [
        filter.clone(),
        JobFilter { before, ..filter.clone() },
        JobFilter { phases: phases.clone(), before, ..filter.clone() },
        JobFilter { phases, subject: Some("dc/web".into()), before, ..filter.clone() },
        JobFilter { subject: Some("dc".into()), before, ..filter },
    ];
    let (_folder, backend) = fresh();
    let plans = backend.database.read(move |connection| {
        let mut plans: Vec<(String, Vec<String>)> = constant
            .iter()
            .map(|sql| ((*sql).to_owned(), plan(connection, sql, Vec::new())))
            .collect();
        for list in &lists {
            let (sql, values) = job_store::list_query(list);
            plans.push((sql.clone(), plan(connection, &sql, values)));
        }
        Ok(plans)
    });
    for (sql, plan) in plans.await.expect("plans") {
        println!("{sql}\n    {}", plan.join("\n    "));
        let in_order = sql.starts_with("SELECT record FROM job ") && !sql.contains("WHERE");
        for line in plan.iter().filter(|line| line.starts_with("SCAN")) {
            let harmless = line == "SCAN awaited" || line == "SCAN CONSTANT ROW";
            let newest_first = in_order && line.contains("USING INDEX job_by_age");
            assert!(harmless || newest_first, "{sql}\n{plan:#?}");
        }
    }
}

#[tokio::test]
async fn reads_that_nobody_goes_on_with_keep_no_reader_from_others() {
    let (_folder, backend) = fresh();
    let store = backend.backend().store;
    let mut begun: Vec<_> = (0..5).map(|_| store.get(JobId::from_key("a"))).collect();
    for reading in &mut begun {
        tokio::select! {
            biased;
            _ = reading => {}
            () = std::future::ready(()) => {}
        }
    }
    let read = tokio::time::timeout(Duration::from_secs(30), store.get(JobId::from_key("b"))).await;
    assert!(matches!(read, Ok(Ok(None))), "{read:?}");
}
