use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drs_model::guard::GuardExit;
use drs_model::{FencingToken, Grip, GuardAnswer, GuardStatus, JobId};
use drs_transport::{Argv, Hold, HostGuard, ShellGuard, TransportError};
use tokio::io::AsyncReadExt;

use crate::sshd::{Sshd, eventually, kill, local, must};

const STEP: &str = "check disks";
const STEP_FILE: &str = "check%20disks";
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn grip(job: &str, fence: u64) -> Grip {
    grip_of("web1", job, fence)
}

pub(crate) fn grip_of(vm: &str, job: &str, fence: u64) -> Grip {
    let vm = format!("dc1/{vm}").parse().expect("a VM");
    Grip { job: JobId::from_key(job), fence: FencingToken(fence), vm }
}

pub(crate) fn sh(script: &str) -> Argv {
    Argv::new("sh").args(["-c", script])
}

/// A host with its guard and its state directory.
pub(crate) struct Host {
    pub(crate) sshd: Sshd,
    pub(crate) guard: Arc<ShellGuard>,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::on(Sshd::start())
    }

    pub(crate) fn on(sshd: Sshd) -> Self {
        let guard = Arc::new(ShellGuard::new(sshd.remote()));
        Self { sshd, guard }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.sshd.path(name)
    }

    /// A command that appends a line to a file.
    pub(crate) fn note(&self, name: &str) -> Argv {
        sh("echo x >>\"$0\"").arg(self.path(name).to_str().expect("text"))
    }

    pub(crate) fn noted(&self, name: &str) -> usize {
        fs::read_to_string(self.path(name)).unwrap_or_default().lines().count()
    }

    fn record(&self, grip: &Grip, file: &str) -> String {
        let path = self.path(&format!("state/job/{}/{STEP_FILE}/{file}", grip.job));
        fs::read_to_string(path).unwrap_or_default()
    }

    /// The journal of a VM without times, after checking that nothing in it overlaps.
    fn journal(&self, vm: &str) -> Vec<String> {
        let text =
            fs::read_to_string(self.path(&format!("state/journal/{vm}"))).expect("a journal");
        let mut lines = Vec::new();
        let mut last_ms = 0;
        for (at, line) in text.lines().enumerate() {
            let (ms, rest) = line.split_once(' ').expect("a time");
            let ms: u64 = ms.parse().expect("milliseconds");
            assert!(ms > 1_700_000_000_000 && ms >= last_ms, "{text}");
            last_ms = ms;
            assert!(rest.ends_with(if at % 2 == 0 { " begin" } else { " end" }), "{text}");
            lines.push(rest.to_owned());
        }
        for pair in lines.chunks(2) {
            if let [begin, end] = pair {
                assert_eq!(begin.replace(" begin", " end"), *end, "{text}");
            }
        }
        lines
    }

    async fn start(&self, grip: &Grip, argv: &Argv) -> GuardAnswer {
        self.guard.start(grip, STEP, argv).await.expect("an answer")
    }

    async fn status(&self, grip: &Grip) -> GuardStatus {
        self.guard.status(grip, STEP).await.expect("a status")
    }

    async fn until(&self, grip: &Grip, status: GuardStatus) {
        let what = format!("{status:?}");
        eventually(&what, async || self.status(grip).await == status).await;
    }

    pub(crate) async fn hold(&self, grip: &Grip, at_loss: Option<&Argv>) -> Option<Box<dyn Hold>> {
        let (answer, hold) = self.guard.hold(grip, at_loss).await.expect("an answer");
        assert_eq!(answer == GuardAnswer::Started, hold.is_some());
        hold
    }

    async fn hold_refused(&self, grip: &Grip) -> GuardAnswer {
        let (answer, hold) = self.guard.hold(grip, None).await.expect("an answer");
        assert!(hold.is_none(), "{answer:?}");
        answer
    }

    pub(crate) async fn run(&self, grip: &Grip, argv: &Argv) -> Result<String, TransportError> {
        self.guard.run(grip, argv, Bytes::new(), LIMIT).await.map(|output| output.text())
    }
}

const fn exit(code: i32) -> GuardExit {
    GuardExit::Code(code)
}

/// A command that runs until its file appears (or the test is over).
fn until_file(host: &Host, name: &str) -> Argv {
    sh("echo up; until [ -e \"$0\" ] || [ ! -d \"${0%/*}\" ]; do sleep 0.05; done; exit 4")
        .arg(host.path(name).to_str().expect("text"))
}

#[tokio::test]
async fn twenty_workers_start_a_command_once() {
    let host = Arc::new(Host::new());
    let argv = until_file(&host, "go");
    let calls: Vec<_> = (0..20)
        .map(|i| {
            let (host, argv) = (host.clone(), argv.clone());
            tokio::spawn(async move { host.guard.start(&grip("a", 1 + i / 10), STEP, &argv).await })
        })
        .collect();
    let (mut started, mut attached) = (0, 0);
    for call in calls {
        match call.await.expect("no panic").expect("an answer") {
            GuardAnswer::Started => started += 1,
            GuardAnswer::Attached => attached += 1,
            GuardAnswer::Stale(seen) => assert_eq!(seen, FencingToken(2)),
            answer => panic!("{answer:?}"),
        }
    }
    assert_eq!(started, 1);
    assert!(attached >= 9, "{attached}");
    let a = grip("a", 2);
    assert_eq!(host.status(&a).await, GuardStatus::Running);
    fs::write(host.path("go"), "").expect("written");
    host.until(&a, GuardStatus::Exit(exit(4))).await;
    assert_eq!(host.start(&a, &argv).await, GuardAnswer::Exit(exit(4)));
    assert_eq!(host.record(&a, "starts").lines().count(), 1);
    assert_eq!(host.guard.log(&a, STEP, 0).await.expect("a log"), "up\n");
    assert_eq!(host.guard.log(&a, STEP, 1).await.expect("a log"), "p\n");
    assert_eq!(host.guard.log(&a, STEP, 3).await.expect("a log"), "");
    assert_eq!(host.guard.log(&a, "other", 0).await.expect("no log"), "");
    assert_eq!(host.journal("web1").len(), 2);
}

#[tokio::test]
async fn a_command_that_ends_at_once_is_not_started_again_by_those_who_come_then() {
    let host = Arc::new(Host::new());
    let a = grip("a", 1);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (host, a) = (host.clone(), a.clone());
            tokio::spawn(async move { host.start(&a, &host.note("ran")).await })
        })
        .collect();
    for call in calls {
        let answer = call.await.expect("no panic");
        assert!(!matches!(answer, GuardAnswer::Busy(_) | GuardAnswer::Stale(_)), "{answer:?}");
    }
    host.until(&a, GuardStatus::Exit(exit(0))).await;
    assert_eq!((host.noted("ran"), host.record(&a, "starts").lines().count()), (1, 1));
}

/// While one job has the VM, nothing of another runs or is taken back there.
async fn nothing_runs_beside(host: &Host, a: &Grip, b: &Grip) {
    let refused = host.run(b, &host.note("ran")).await;
    assert!(matches!(refused, Err(TransportError::Busy { job, .. }) if job == a.job));
    let refused = host.guard.serve(b, &host.note("ran")).await.err();
    assert!(matches!(refused, Some(TransportError::Busy { job, .. }) if job == a.job));
    assert_eq!(host.guard.cancel(b, STEP).await.expect("an answer"), GuardAnswer::Busy(a.job));
    assert_eq!(host.run(a, &Argv::new("echo").arg("hi")).await.expect("not fenced"), "hi\n");
    assert_eq!(host.noted("ran"), 0);
}

#[tokio::test]
async fn one_job_per_vm_and_older_claims_are_refused() {
    let host = Host::new();
    let (a, b) = (grip("a", 5), grip("b", 6));
    let argv = until_file(&host, "go");
    assert_eq!(host.start(&a, &argv).await, GuardAnswer::Started);
    assert_eq!(host.start(&b, &argv).await, GuardAnswer::Busy(a.job));
    assert_eq!(host.hold_refused(&b).await, GuardAnswer::Busy(a.job));
    assert_eq!(host.hold_refused(&a).await, GuardAnswer::Attached);
    let answer = host.guard.start(&a, "another step", &argv).await.expect("an answer");
    assert_eq!(answer, GuardAnswer::Busy(a.job), "one command at a time");
    nothing_runs_beside(&host, &a, &b).await;
    // Another VM is another matter.
    let (c, d) = (grip_of("web2", "c", 6), grip_of("web2", "d", 7));
    let other = host.hold(&c, None).await.expect("it is free");
    nothing_runs_beside(&host, &c, &d).await;
    other.release().await.expect("given back");
    assert_eq!(host.run(&d, &Argv::new("echo").arg("hi")).await.expect("it is free"), "hi\n");

    fs::write(host.path("go"), "").expect("written");
    host.until(&a, GuardStatus::Exit(exit(4))).await;
    eventually("the VM is free", async || host.start(&b, &argv).await != GuardAnswer::Busy(a.job))
        .await;
    host.until(&b, GuardStatus::Exit(exit(4))).await;
    let stale = GuardAnswer::Stale(FencingToken(6));
    assert_eq!(host.start(&a, &argv).await, stale);
    assert_eq!(host.hold_refused(&a).await, stale);
    assert_eq!(host.guard.cancel(&a, STEP).await.expect("an answer"), stale);
    let refused = host.run(&a, &host.note("ran")).await;
    assert!(matches!(refused, Err(TransportError::Stale { seen: 6, .. })), "{refused:?}");
    let refused = host.guard.serve(&a, &host.note("ran")).await.err();
    assert!(matches!(refused, Some(TransportError::Stale { seen: 6, .. })), "{refused:?}");
    assert_eq!(host.noted("ran"), 0);
    assert_eq!(host.journal("web1").len(), 4);
}

#[tokio::test]
async fn a_killed_command_vanished_and_may_start_again_a_reboot_is_told_apart() {
    let host = Host::new();
    let a = grip("a", 1);
    assert_eq!(host.status(&a).await, GuardStatus::Unknown);
    let argv = sh("echo $$ >\"$0\"; exec sleep 600").arg(host.path("pid").to_str().expect("text"));
    assert_eq!(host.start(&a, &argv).await, GuardAnswer::Started);
    eventually("it runs", async || host.noted("pid") == 1).await;
    let command = fs::read_to_string(host.path("pid")).expect("a pid").trim().to_owned();
    let holder = fs::read_to_string(host.path("state/vm/web1/holder")).expect("a holder");
    let runner = holder.split_whitespace().nth(3).expect("a pid").to_owned();
    assert_ne!(command, runner);

    kill("KILL", &runner);
    eventually("the runner is gone", async || !PathBuf::from(format!("/proc/{runner}")).exists())
        .await;
    assert_eq!(host.status(&a).await, GuardStatus::Running, "the command itself goes on");
    assert_eq!(host.hold_refused(&grip("b", 2)).await, GuardAnswer::Busy(a.job));
    kill("KILL", &command);
    host.until(&a, GuardStatus::Vanished).await;

    let boot = host.path(&format!("state/job/{}/{STEP_FILE}/boot", a.job));
    fs::write(&boot, "an earlier boot\n").expect("written");
    assert_eq!(host.status(&a).await, GuardStatus::Rebooted);
    assert_eq!(host.start(&a, &sh("exit 0")).await, GuardAnswer::Started);
    host.until(&a, GuardStatus::Exit(exit(0))).await;
    assert_eq!(host.record(&a, "starts").lines().count(), 2);
    eventually("the end is in the journal", async || host.journal("web1").len() == 4).await;
}

#[tokio::test]
async fn a_cancelled_command_ends_with_all_it_started_and_never_starts_late() {
    let host = Host::new();
    let a = grip("a", 1);
    let argv = sh("sleep 600 & echo $! >\"$0\"; trap '' TERM; sleep 600; sleep 600")
        .arg(host.path("pid").to_str().expect("text"));
    assert_eq!(host.start(&a, &argv).await, GuardAnswer::Started);
    eventually("it runs", async || host.noted("pid") == 1).await;
    let cancelled = GuardAnswer::Exit(GuardExit::Cancelled);
    assert_eq!(host.guard.cancel(&a, STEP).await.expect("an answer"), cancelled);
    let child = fs::read_to_string(host.path("pid")).expect("a pid");
    assert!(!PathBuf::from("/proc").join(child.trim()).exists());
    assert_eq!(host.status(&a).await, GuardStatus::Exit(GuardExit::Cancelled));
    assert_eq!(host.start(&a, &argv).await, cancelled);
    let b = grip("b", 2);
    host.hold(&b, None).await.expect("the VM is free").release().await.expect("given back");
    assert_eq!(host.journal("web1").len(), 4);

    // A tombstone before the start.
    let c = grip("c", 3);
    assert_eq!(host.guard.cancel(&c, STEP).await.expect("an answer"), cancelled);
    assert_eq!(host.start(&c, &host.note("ran")).await, cancelled);
    assert_eq!(host.noted("ran"), 0);
    assert_eq!(host.record(&c, "starts"), "");

    // What ended by itself is cancelled all the same: what it did is taken back.
    let d = grip("d", 4);
    assert_eq!(host.start(&d, &sh("echo one; exit 0")).await, GuardAnswer::Started);
    host.until(&d, GuardStatus::Exit(exit(0))).await;
    assert_eq!(host.guard.cancel(&d, STEP).await.expect("an answer"), cancelled);
    assert_eq!(host.start(&d, &host.note("ran")).await, cancelled);

    // A newer claim starts it again, and hears nothing of the time before.
    let newer = grip("d", 5);
    assert_eq!(host.start(&newer, &sh("echo two; exit 9")).await, GuardAnswer::Started);
    host.until(&newer, GuardStatus::Exit(exit(9))).await;
    assert_eq!(host.record(&newer, "log"), "two\n");
    assert_eq!(host.record(&newer, "starts").lines().count(), 2);
    assert_eq!(host.start(&grip("d", 6), &host.note("ran")).await, GuardAnswer::Exit(exit(9)));
    assert_eq!(host.noted("ran"), 0);
}

#[tokio::test]
async fn a_hold_ends_in_order_or_runs_what_it_was_given_for_its_loss() {
    let host = Host::new();
    let (a, b) = (grip("a", 1), grip("b", 2));
    let at_loss = host.note("lost");
    let hold = host.hold(&a, Some(&at_loss)).await.expect("the VM is free");
    assert_eq!(host.hold_refused(&b).await, GuardAnswer::Busy(a.job));
    hold.release().await.expect("given back");
    assert_eq!(host.noted("lost"), 0);

    let hold = host.hold(&b, Some(&at_loss)).await.expect("the VM is free");
    drop(hold);
    let c = grip("c", 3);
    let mut taken = None;
    eventually("the VM is free", async || {
        taken = host.guard.hold(&c, None).await.expect("an answer").1;
        taken.is_some()
    })
    .await;
    assert_eq!(host.noted("lost"), 1, "before the VM was free");
    drop(taken);
    eventually("all is over", async || host.journal("web1").len() == 6).await;
    assert_eq!(host.noted("lost"), 1);
}

#[tokio::test]
async fn a_hold_is_lost_with_its_connection_and_told_to_both_sides() {
    let mut host = Host::new();
    let a = grip("a", 1);
    let hold = host.hold(&a, Some(&host.note("lost"))).await.expect("the VM is free");
    host.sshd.down();
    tokio::time::timeout(LIMIT, hold.lost()).await.expect("the worker is told");
    eventually("the host acts by itself", async || host.noted("lost") == 1).await;
    assert!(hold.release().await.is_err());
    host.sshd.up();
    eventually("the VM is free", async || host.hold(&grip("b", 2), None).await.is_some()).await;
    assert_eq!(host.noted("lost"), 1);
}

#[tokio::test]
async fn an_older_hold_of_the_same_job_cleans_up_before_it_gives_way() {
    let host = Host::new();
    let (old, new) = (grip("a", 1), grip("a", 2));
    let slow = sh("sleep 1; echo x >>\"$0\"").arg(host.path("lost").to_str().expect("text"));
    let first = host.hold(&old, Some(&slow)).await.expect("the VM is free");
    let served = host.guard.serve(&old, &sh("sleep 600")).await.expect("served");
    let second = host.hold(&new, Some(&slow)).await.expect("the older one gives way");
    assert_eq!(host.noted("lost"), 1, "it had cleaned up before");
    tokio::time::timeout(LIMIT, first.lost()).await.expect("the older worker is told");
    tokio::time::timeout(LIMIT, served.exit).await.expect("served no more").expect("its end");
    // A detached command of the job takes over from its hold, too.
    assert_eq!(host.start(&grip("a", 3), &sh("exit 0")).await, GuardAnswer::Started);
    assert_eq!(host.noted("lost"), 2);
    tokio::time::timeout(LIMIT, second.lost()).await.expect("the older worker is told");
    host.until(&grip("a", 3), GuardStatus::Exit(exit(0))).await;
    eventually("all is over", async || host.journal("web1").len() == 6).await;
}

#[tokio::test]
async fn a_fenced_command_keeps_newer_claims_out_while_it_runs() {
    let host = Arc::new(Host::new());
    let (a, b) = (grip("a", 1), grip("b", 2));
    let input = Bytes::from_static(b"\x00\xff\ndrs-guard: EXIT 0\n");
    let echo = sh("cat; echo problem >&2; exit 6");
    let output = host.guard.run(&a, &echo, input.clone(), LIMIT).await.expect("it runs");
    assert_eq!(
        (output.code, output.stdout, output.stderr.as_str()),
        (6, input.to_vec(), "problem\n")
    );

    let running = {
        let (host, a) = (host.clone(), a.clone());
        let script = sh(
            "touch \"$0\"; until [ -e \"$1\" ] || [ ! -e \"$0\" ]; do sleep 0.05; done",
        )
        .args([host.path("up"), host.path("go")].map(|p| p.to_str().expect("text").to_owned()));
        tokio::spawn(async move { host.run(&a, &script).await })
    };
    eventually("it runs", async || host.path("up").exists()).await;
    // A second one of the same claim runs beside it, a newer claim waits.
    assert_eq!(host.run(&a, &Argv::new("echo").arg("hi")).await.expect("it runs"), "hi\n");
    let newer = {
        let (host, b, go) = (host.clone(), b.clone(), host.path("go"));
        let look = sh("[ -e \"$0\" ] && echo after").arg(go.to_str().expect("text"));
        tokio::spawn(async move { host.run(&b, &look).await })
    };
    eventually("the newer claim waits at the gate", async || {
        let waiting = local("fuser").arg(host.path("state/vm/web1/gate")).output().expect("fuser");
        String::from_utf8_lossy(&waiting.stdout).split_whitespace().count() >= 3
    })
    .await;
    fs::write(host.path("go"), "").expect("written");
    running.await.expect("no panic").expect("it ran");
    assert_eq!(newer.await.expect("no panic").expect("it runs"), "after\n");
    assert!(matches!(host.run(&a, &echo).await, Err(TransportError::Stale { seen: 2, .. })));

    let limit = Duration::from_secs(1);
    let late = host.guard.run(&b, &Argv::new("sleep").arg("600"), Bytes::new(), limit).await;
    assert!(matches!(late, Err(TransportError::TimedOut { .. })), "{late:?}");
    let c = grip("c", 3);
    assert_eq!(host.start(&c, &sh("exit 0")).await, GuardAnswer::Started, "the host ended it");
}

#[tokio::test]
async fn a_served_command_dies_with_its_channel() {
    let host = Host::new();
    let a = grip("a", 1);
    let script = "trap '' TERM; echo $$ >\"$0\"; echo ready; while :; do sleep 0.1; done";
    let script = sh(script).arg(host.path("pid").to_str().expect("text"));
    let mut served = host.guard.serve(&a, &script).await.expect("served");
    let mut ready = [0; 6];
    served.stream.read_exact(&mut ready).await.expect("it is ready");
    assert_eq!(&ready, b"ready\n");
    let pid = fs::read_to_string(host.path("pid")).expect("a pid");
    let process = PathBuf::from("/proc").join(pid.trim());
    assert!(process.exists());
    // It holds nothing: the VM is free for its own job and a newer claim of it.
    host.hold(&a, None).await.expect("it is free").release().await.expect("given back");
    drop(served);
    eventually("it is killed", async || !process.exists()).await;

    let mut served = host.guard.serve(&a, &sh("echo bytes; exit 3")).await.expect("served");
    let mut text = String::new();
    served.stream.read_to_string(&mut text).await.expect("its output");
    assert_eq!(text, "bytes\n");
    assert_eq!(served.exit.await.expect("its end").0, 3);
    let left = fs::read_dir(host.path("state/vm/web1")).expect("a directory");
    let left = left.filter_map(|e| e.ok()?.file_name().into_string().ok());
    assert_eq!(left.filter(|name| name.starts_with("serve.")).count(), 0);
}

#[tokio::test]
async fn odd_names_and_noisy_logins_are_no_trouble() {
    let host = Host::new();
    for (at, vm) in
        ["büro-pc", "Windows Server 2019", "vm(copy)@x:1+2", "仮想マシン"].iter().enumerate()
    {
        let a = grip_of(vm, &format!("job {at}"), 1);
        let step = "..";
        let argv = Argv::new("printf").args(["[%s]", vm, "", "a'b"]);
        let answer = host.guard.start(&a, step, &argv).await;
        assert_eq!(answer.expect("an answer"), GuardAnswer::Started, "{vm}");
        eventually("it ended", async || {
            host.guard.status(&a, step).await.expect("a status") == GuardStatus::Exit(exit(0))
        })
        .await;
        let log = host.guard.log(&a, step, 0).await.expect("a log");
        assert_eq!(String::from_utf8_lossy(&log), format!("[{vm}][][a'b]"));
    }
    let noisy = Host::on(Sshd::with("BASH_ENV=/dev/null"));
    let rc = noisy.path("rc");
    fs::write(&rc, "printf 'Welcome!\\nlast login: never'").expect("written");
    let authorized = noisy.path("authorized_keys");
    let key = fs::read_to_string(&authorized).expect("a key");
    let forced =
        format!("command=\". {}; eval \\\"$SSH_ORIGINAL_COMMAND\\\"\" {key}", rc.display());
    fs::write(&authorized, forced).expect("written");
    let a = grip("a", 1);
    assert_eq!(noisy.run(&a, &Argv::new("echo").arg("hi")).await.expect("it runs"), "hi\n");
    let hold = noisy.hold(&a, None).await.expect("it is free");
    hold.release().await.expect("given back");
}

#[tokio::test]
async fn old_records_are_forgotten_and_the_fence_is_not() {
    let host = Host::new();
    let (a, b) = (grip("a", 1), grip("b", 2));
    for grip in [&a, &b] {
        assert_eq!(host.start(grip, &sh("exit 0")).await, GuardAnswer::Started);
        host.until(grip, GuardStatus::Exit(exit(0))).await;
        eventually("the VM is free", async || {
            fs::read_to_string(host.path("state/vm/web1/holder")).is_ok_and(|h| h.contains("ended"))
        })
        .await;
    }
    let record = host.path(&format!("state/job/{}/{STEP_FILE}/exit", a.job));
    must(local("touch").args(["-d", "31 days ago"]).arg(&record));
    host.guard.forget(Duration::from_secs(30 * 86_400)).await.expect("forgotten");
    assert_eq!(host.status(&a).await, GuardStatus::Unknown);
    assert_eq!(host.status(&b).await, GuardStatus::Exit(exit(0)));
    assert_eq!(host.start(&a, &sh("exit 0")).await, GuardAnswer::Stale(FencingToken(2)));
}

/// A directory of the programs of such a host.
pub(crate) fn little_more_than_busybox() -> tempfile::TempDir {
    let tools = tempfile::tempdir().expect("a directory");
    must(local("busybox").args(["--install", "-s"]).arg(tools.path()));
    for tool in ["flock", "setsid"] {
        let link = tools.path().join(tool);
        if !link.exists() {
            std::os::unix::fs::symlink(format!("/usr/bin/{tool}"), link).expect("linked");
        }
    }
    tools
}

#[tokio::test]
async fn a_host_with_little_more_than_busybox_will_do() {
    let tools = little_more_than_busybox();
    let host = Host::on(Sshd::with(&format!("PATH={}", tools.path().display())));
    let a = grip("a", 1);
    let hold = host.hold(&a, Some(&host.note("lost"))).await.expect("the VM is free");
    drop(hold);
    eventually("it cleaned up", async || host.noted("lost") == 1).await;
    let argv = sh("sleep 600; sleep 600");
    eventually("the VM is free", async || host.start(&a, &argv).await == GuardAnswer::Attached)
        .await;
    assert_eq!(host.status(&a).await, GuardStatus::Running);
    let cancelled = GuardAnswer::Exit(GuardExit::Cancelled);
    assert_eq!(host.guard.cancel(&a, STEP).await.expect("an answer"), cancelled);
    let b = grip("b", 2);
    assert_eq!(host.run(&b, &Argv::new("echo").arg("hi")).await.expect("it runs"), "hi\n");
    let mut served = host.guard.serve(&b, &sh("echo up; sleep 600")).await.expect("served");
    let mut up = [0; 3];
    served.stream.read_exact(&mut up).await.expect("it is up");
    drop(served);
    assert_eq!(host.start(&b, &sh("exit 2")).await, GuardAnswer::Started);
    host.until(&b, GuardStatus::Exit(exit(2))).await;
    assert_eq!(host.guard.log(&b, STEP, 0).await.expect("a log"), "");
    host.guard.forget(Duration::from_secs(60)).await.expect("forgotten");
    eventually("all is over", async || host.journal("web1").len() == 6).await;
}
