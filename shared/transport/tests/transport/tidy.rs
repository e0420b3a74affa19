//! What the guard keeps on a host stays small.

use std::fs;
use std::time::Duration;

use drs_model::{GuardAnswer, GuardStatus};
use drs_transport::{Argv, HostGuard};

use crate::guard::{Host, grip, grip_of, sh};
use crate::sshd::{eventually, local, must};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// The names in a directory, sorted.
fn names(host: &Host, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(host.path(directory)).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn age(host: &Host, path: &str) {
    must(local("touch").args(["-d", "31 days ago"]).arg(host.path(path)));
}

#[tokio::test]
async fn a_job_without_a_detached_command_leaves_no_folder() {
    let host = Host::new();
    let a = grip("a", 1);
    host.hold(&a, None).await.expect("the VM is free").release().await.expect("given back");
    host.run(&a, &Argv::new("true")).await.expect("it runs");
    let served = host.guard.serve(&a, &Argv::new("true")).await.expect("served");
    served.exit.await.expect("its end");
    let status = host.guard.status(&a, "step").await.expect("a status");
    assert_eq!(status, GuardStatus::Unknown);
    assert_eq!(names(&host, "state/job"), [""; 0]);
}

#[tokio::test]
async fn old_folders_and_records_of_an_earlier_boot_are_forgotten() {
    let host = Host::new();
    let (empty, young) = (grip("empty", 1).job, grip("young", 1).job);
    for job in [empty, young] {
        fs::create_dir_all(host.path(&format!("state/job/{job}"))).expect("a directory");
    }
    age(&host, &format!("state/job/{empty}"));
    // Commands that vanished: with an earlier boot, and in this one; and one that runs. A step may
    // have the name of a record.
    let jobs = ["rebooted", "vanished", "runs"].map(|job| grip_of(job, job, 1));
    for grip in &jobs {
        let argv = sh("exec sleep 600");
        let answer = host.guard.start(grip, "exit", &argv).await.expect("an answer");
        assert_eq!(answer, GuardAnswer::Started);
    }
    for grip in &jobs[..2] {
        let holder = format!("state/vm/{}/holder", grip.vm.name);
        let pid = fs::read_to_string(host.path(&holder)).expect("a holder");
        let pid = pid.split_whitespace().nth(3).expect("a pid").to_owned();
        must(local("pkill").args(["-KILL", "-g", &pid]));
        eventually("it vanished", async || {
            host.guard.status(grip, "exit").await.expect("a status") == GuardStatus::Vanished
        })
        .await;
    }
    let boot = format!("state/job/{}/exit/boot", jobs[0].job);
    fs::write(host.path(&boot), "an earlier boot\n").expect("written");
    for grip in &jobs {
        age(&host, &format!("state/job/{}/exit/boot", grip.job));
        age(&host, &format!("state/job/{}/exit", grip.job));
    }

    host.guard.forget(MONTH).await.expect("forgotten");
    let mut kept = [young, jobs[1].job, jobs[2].job].map(|job| job.to_string());
    kept.sort();
    assert_eq!(names(&host, "state/job"), kept);
    host.guard.cancel(&jobs[2], "exit").await.expect("it ends");
}

#[tokio::test]
async fn a_long_journal_is_cut_to_its_latest_lines() {
    let host = Host::new();
    fs::create_dir_all(host.path("state/journal")).expect("a directory");
    let path = host.path("state/journal/web1");
    let lines = |count: usize| -> String { (1..=count).map(|n| format!("line {n}\n")).collect() };
    fs::write(&path, lines(2000)).expect("written");
    let cut = async |fence| -> Vec<String> {
        let hold = host.hold(&grip("a", fence), None).await.expect("the VM is free");
        hold.release().await.expect("given back");
        fs::read_to_string(&path).expect("a journal").lines().map(str::to_owned).collect()
    };
    assert_eq!(cut(1).await.len(), 2002, "so many are kept");
    let journal = cut(2).await;
    assert_eq!(journal.len(), 1002);
    assert_eq!(journal[0], "line 1003");
    assert!(journal[998].ends_with("begin") && journal[1001].ends_with("+hold 2 end"));
    assert_eq!(names(&host, "state/vm/web1"), ["fence", "gate", "holder", "lock"]);
}
