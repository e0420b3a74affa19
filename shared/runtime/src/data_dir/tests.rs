use super::*;

fn made(folder: &tempfile::TempDir) -> DataDir {
    let new = DataDir::init(&folder.path().join("drs"), "# empty\n").expect("it is new");
    new.finish().expect("it can be written")
}

#[test]
fn a_directory_is_made_once_and_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let dir = made(&folder);
    assert_eq!(DataDir::open(dir.root()).expect("it is there"), dir);
    let mode = fs::metadata(dir.root()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let again = DataDir::init(dir.root(), "").expect_err("it is there already");
    assert_eq!(again.fault().code, FaultCode::AlreadyExists);
    assert_eq!(fs::read_to_string(dir.config()).expect("the configuration"), "# empty\n");
}

#[test]
fn an_interrupted_init_is_no_data_directory_and_is_taken_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("drs");
    let new = DataDir::init(&root, "").expect("it is new");
    fs::write(new.dir().database(), "half").expect("a file");
    drop(new);
    let error = DataDir::open(&root).expect_err("it was never finished");
    assert_eq!(error.fault().code, FaultCode::NotInitialised);
    DataDir::init(&root, "").expect("it is taken up").finish().expect("it can be written");
    DataDir::open(&root).expect("it is finished");
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("thesis.txt"), "dear").expect("a file");
    let error = DataDir::init(folder.path(), "").expect_err("it is not empty");
    assert!(error.to_string().contains("thesis.txt"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn a_newer_and_a_damaged_format_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = made(&folder);
    for (text, code) in [
        ("drs-data 2\n", FaultCode::DataTooNew),
        ("drs-data x\n", FaultCode::StoreFailed),
        ("", FaultCode::StoreFailed),
    ] {
        fs::write(dir.format(), text).expect("a file");
        assert_eq!(DataDir::open(dir.root()).expect_err(text).fault().code, code);
    }
}

// An flock belongs to the open file, so two in one process exclude each other as two processes do.
#[test]
fn one_serve_at_a_time_and_the_second_names_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = made(&folder);
    assert!(!dir.is_served().expect("it can be asked"));
    let first = dir.serve_lock().expect("nobody has it");
    assert!(dir.is_served().expect("it can be asked"));
    let fault = dir.serve_lock().expect_err("the first has it").fault();
    assert_eq!(fault.code, FaultCode::AlreadyRunning);
    assert!(fault.message.contains(&std::process::id().to_string()), "{fault}");
    drop(first);
    assert!(!dir.is_served().expect("it can be asked"));
    dir.serve_lock().expect("it is free again");
}

#[test]
fn a_living_worker_is_not_dead_and_a_dead_one_is_found_until_it_is_buried() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = made(&folder);
    let alive = dir.worker_lock("alive").expect("a lock");
    fs::write(dir.workers().join("dead.lock"), "").expect("a file");
    let names = |dead: &[DeadWorker]| -> Vec<String> {
        dead.iter().map(|worker| worker.name().to_owned()).collect()
    };
    let dead = dir.dead_workers().expect("a list");
    assert_eq!(names(&dead), ["dead"]);
    assert!(dir.dead_workers().expect("a list").is_empty(), "it is being dealt with");
    drop(dead);
    for worker in dir.dead_workers().expect("a list") {
        worker.buried();
    }
    assert!(dir.dead_workers().expect("a list").is_empty());
    drop(alive);
    assert_eq!(fs::read_dir(dir.workers()).expect("a folder").count(), 0);
}
