use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use drs_model::guard::GuardExit;
use drs_model::{FaultClass, FaultCode, FencingToken, GuardAnswer, GuardStatus, JobId, VmRef};
use drs_transport::{Hold, TransportError};
use tempfile::TempDir;

use super::*;
use crate::conformance::{DriverFixture, exercise};

const QUICK: &str = "vms=3,disk_mib=2,disks=2,backup_ms=0,restore_ms=0";

fn open(folder: &TempDir, host: &str, address: &str) -> SimulatedDriver {
    try_open(folder, host, address).expect("a valid description")
}

fn try_open(folder: &TempDir, host: &str, address: &str) -> Result<SimulatedDriver, DriverError> {
    let host = Host {
        name: host.parse().expect("a host name"),
        site: "dc".parse().expect("a site name"),
        kind: HypervisorKind::Simulated,
        address: address.to_owned(),
        key_file: None,
        host_keys: Vec::new(),
        image_dir: None,
        dump_dir: None,
        slots: 2,
        bytes_per_second: None,
    };
    SimulatedDriver::open(host, folder.path())
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn vm(name: &str) -> VmName {
    name.parse().expect("a VM name")
}

fn grip(job: &str, fence: u64, name: &str) -> Grip {
    let vm = VmRef { host: "dc1".parse().expect("a host name"), name: vm(name) };
    Grip { job: JobId::from_key(job), fence: FencingToken(fence), vm }
}

async fn hold(driver: &SimulatedDriver, grip: &Grip) -> Box<dyn Hold> {
    let at_loss = driver.export_at_loss(grip);
    let (answer, hold) = driver.guard().hold(grip, at_loss.as_ref()).await.expect("an answer");
    assert_eq!(answer, GuardAnswer::Started);
    hold.expect("a hold")
}

async fn read_all(driver: &SimulatedDriver, grip: &Grip) -> Result<u64, DriverError> {
    let export = driver.open_export(grip).await?;
    let mut bytes = 0;
    let mut source = driver.read(grip, &export).await?;
    while let Some(piece) = source.next().await? {
        bytes += piece.extent.data.len() as u64;
    }
    assert_eq!(source.position_bytes(), export.description.spec.protected_bytes());
    driver.close_export(grip, ExportEnd::Complete).await?;
    Ok(bytes)
}

struct Pair {
    source: SimulatedDriver,
    target: SimulatedDriver,
    made: AtomicU32,
    _folder: TempDir,
}

#[async_trait]
impl DriverFixture for Pair {
    fn source(&self) -> Arc<dyn Driver> {
        Arc::new(self.source.clone())
    }
    fn target(&self) -> Arc<dyn Driver> {
        Arc::new(self.target.clone())
    }
    fn running_vm(&self) -> VmRef {
        "dc1/vm-001".parse().expect("a VM")
    }
    fn off_vm(&self) -> VmRef {
        "dc1/vm-002".parse().expect("a VM")
    }
    fn fresh_target(&self) -> VmRef {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        format!("rc1/restored-{number}").parse().expect("a VM")
    }
    async fn guest_write(&self) {
        let name = self.running_vm().name;
        let before = self.source.marker(&name).await.expect("a marker");
        while self.source.marker(&name).await.expect("a marker") == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    async fn leftovers(&self, vm: &VmRef) -> Vec<String> {
        let home = if vm.host == self.running_vm().host { &self.source } else { &self.target };
        home.leftovers(&vm.name).await.expect("the state can be read")
    }
}

#[tokio::test]
async fn passes_the_conformance_suite() {
    let folder = folder();
    let (source, target) = (open(&folder, "dc1", QUICK), open(&folder, "rc1", QUICK));
    source
        .power(&grip("off", 1, "vm-002"), &vm("vm-002"), PowerAction::Stop)
        .await
        .expect("switched off");
    let report = exercise(&Pair { source, target, made: AtomicU32::new(1), _folder: folder }).await;
    println!("{report}");
    assert!(report.passed(), "{report}");
    assert!(report.outcomes.len() > 20);
}

#[tokio::test]
async fn the_state_outlives_the_driver_and_is_shared() {
    let folder = folder();
    let first = open(&folder, "dc1", QUICK);
    let off = grip("a", 1, "vm-001");
    first.power(&off, &off.vm.name, PowerAction::Stop).await.expect("switched off");
    let digest = first.digest(&off.vm.name).await.expect("a digest");
    assert_eq!(digest.len(), 2);
    let second = open(&folder, "dc1", QUICK);
    assert_eq!(second.digest(&off.vm.name).await.expect("a digest"), digest);
    assert_eq!(second.describe(&off.vm.name).await.expect("a VM").power, PowerState::Off);

    let held = hold(&first, &off).await;
    let other = grip("b", 2, "vm-001");
    let (answer, _) = second.guard().hold(&other, None).await.expect("an answer");
    assert_eq!(answer, GuardAnswer::Busy(off.job));
    held.release().await.expect("released");
    hold(&second, &other).await.release().await.expect("released");
}

#[tokio::test]
async fn a_hold_that_dies_unnoticed_is_ended_at_the_next_use() {
    let folder = folder();
    let driver = open(&folder, "dc1", QUICK);
    let (dead, next) = (grip("dead", 1, "vm-001"), grip("next", 2, "vm-001"));
    let held = hold(&driver, &dead).await;
    driver.open_export(&dead).await.expect("an export");
    // While somebody has the VM's state nobody notices, as when the whole process is killed.
    let locked = driver.dir.lock(&dead.vm.name).await.expect("the lock");
    drop(held);
    drop(locked);
    let state = driver.dir.peek(&dead.vm.name).expect("the state");
    assert!(state.export.is_some() && state.hold.is_some());

    let held = hold(&driver, &next).await;
    assert_eq!(driver.leftovers(&dead.vm.name).await.expect("read"), Vec::<String>::new());
    held.release().await.expect("released");
    let journal = std::fs::read_to_string(driver.journal(&dead.vm.name)).expect("a journal");
    let told: Vec<String> = journal
        .lines()
        .map(|line| line.split_once(' ').expect("a time first").1.to_owned())
        .collect();
    let (a, b) = (dead.job, next.job);
    let expected = [
        format!("{a} hold 1 begin"),
        format!("{a} hold 1 end"),
        format!("{b} hold 2 begin"),
        format!("{b} hold 2 end"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_detached_command_goes_on_without_the_process() {
    let folder = folder();
    let (old, new) = (grip("a", 1, "vm-001"), grip("a", 2, "vm-001"));
    let argv = command::sleep(Duration::from_millis(300));
    {
        let driver = open(&folder, "dc1", QUICK);
        let answer = driver.guard().start(&old, "check", &argv).await.expect("an answer");
        assert_eq!(answer, GuardAnswer::Started);
    }
    let driver = open(&folder, "dc1", QUICK);
    let guard = driver.guard();
    let answer = guard.start(&new, "check", &argv).await.expect("an answer");
    assert_eq!(answer, GuardAnswer::Attached);
    while guard.status(&new, "check").await.expect("a status") == GuardStatus::Running {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let done = GuardStatus::Exit(GuardExit::Code(0));
    assert_eq!(guard.status(&new, "check").await.expect("a status"), done);
    let log = guard.log(&new, "check", 0).await.expect("a log");
    assert_eq!(log, "sim-sleep 300\nexit code 0\n");
    assert_eq!(guard.log(&new, "check", 14).await.expect("a log"), "exit code 0\n");
    let journal = std::fs::read_to_string(driver.journal(&old.vm.name)).expect("a journal");
    assert_eq!(journal.lines().filter(|line| line.ends_with(" check 1 begin")).count(), 1);

    guard.forget(Duration::from_secs(60)).await.expect("forgotten");
    assert_eq!(guard.status(&new, "check").await.expect("a status"), done);
    while guard.status(&new, "check").await.expect("a status") == done {
        guard.forget(Duration::ZERO).await.expect("forgotten");
    }
    let forgotten = guard.status(&new, "check").await.expect("a status");
    assert_eq!(forgotten, GuardStatus::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_jobs_ever_have_one_vm() {
    let folder = folder();
    let driver = open(&folder, "dc1", "vms=51,disk_mib=1,backup_ms=0");
    let jobs = (0..100).map(|number| {
        let driver = driver.clone();
        // Half of them want the same VM.
        let name = if number < 50 { 1 } else { number - 48 };
        async move {
            // A job that waits comes back under a newer claim, as the store's would.
            for claim in 1.. {
                let fence = claim * 1000 + number;
                let grip = grip(&format!("job {number}"), fence, &format!("vm-{name:03}"));
                let answer = driver.guard().hold(&grip, None).await.expect("an answer");
                if let (GuardAnswer::Started, Some(hold)) = answer {
                    read_all(&driver, &grip).await.expect("read");
                    return hold.release().await.expect("released");
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let running: Vec<_> = jobs.map(tokio::spawn).collect();
    for job in running {
        job.await.expect("the job ends");
    }
    let mut holds = 0;
    for name in driver.inventory().await.expect("VMs").into_iter().map(|vm| vm.name) {
        let journal = std::fs::read_to_string(driver.journal(&name)).expect("a journal");
        let lines: Vec<Vec<&str>> = journal.lines().map(|line| line.split(' ').collect()).collect();
        for pair in lines.chunks(2) {
            let [begin, end] = pair else { panic!("{name}: a hold without an end") };
            assert_eq!((begin[4], end[4]), ("begin", "end"), "{name}: {pair:?}");
            assert_eq!(begin[1..4], end[1..4], "{name}: another job came between");
            holds += 1;
        }
        assert!(lines.is_sorted_by_key(|line| line[0].parse::<u64>().expect("a time")));
    }
    assert_eq!(holds, 100);
}

#[tokio::test(start_paused = true)]
async fn a_backup_takes_as_long_as_described() {
    let folder = folder();
    let address = "vms=2,disk_mib=4,disks=2,data_percent=50,backup_ms=1000,backup_ms.vm-002=2570";
    let driver = open(&folder, "dc1", address);
    for (name, ms) in [("vm-001", 1000), ("vm-002", 2570)] {
        let start = tokio::time::Instant::now();
        let bytes = read_all(&driver, &grip("a", 1, name)).await.expect("read");
        assert_eq!(bytes, 4 * 1024 * 1024);
        let took = start.elapsed();
        let wanted = Duration::from_millis(ms);
        assert!(took >= wanted && took < wanted + Duration::from_millis(20), "{name}: {took:?}");
    }
}

#[tokio::test]
async fn a_guest_writes_some_blocks_and_an_off_one_none() {
    let folder = folder();
    let driver = open(&folder, "dc1", QUICK);
    let name = vm("vm-001");
    let marker = driver.marker(&name).await.expect("read").expect("a marker");
    assert!(marker.starts_with("drs-simulated vm-001 generation "), "{marker}");
    driver.power(&grip("a", 1, "vm-001"), &name, PowerAction::Stop).await.expect("off");
    let digest = driver.digest(&name).await.expect("read");
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(driver.digest(&name).await.expect("read"), digest);
    let others = driver.digest(&vm("vm-002")).await.expect("read");
    assert!(others.iter().all(|other| !digest.contains(other)));
}

#[tokio::test]
async fn failures_come_as_often_as_ordered() {
    let folder = folder();
    let steps = "check+describe+open_export+read_disk+close_export+power";
    let driver = open(&folder, "dc1", &format!("{QUICK},fail_times=2,fail_at={steps}"));
    let grip = grip("a", 1, "vm-001");
    for _ in 0..2 {
        let fault = driver.check().await.expect_err("ordered to fail").fault();
        assert_eq!((fault.class, fault.code), (FaultClass::Transient, FaultCode::HypervisorFailed));
        driver.describe(&grip.vm.name).await.expect_err("ordered to fail");
        driver.power(&grip, &grip.vm.name, PowerAction::Start).await.expect_err("ordered to fail");
    }
    driver.check().await.expect("good again");
    driver.describe(&grip.vm.name).await.expect("good again");
    driver.power(&grip, &grip.vm.name, PowerAction::Start).await.expect("good again");
    let mut failed = Vec::new();
    while let Err(error) = read_all(&driver, &grip).await {
        failed.push(error.to_string());
        assert!(failed.len() <= 6, "{failed:?}");
    }
    assert_eq!(failed.len(), 6, "{failed:?}");
    assert!(failed[2].contains("the connection to the disks of vm-001 broke"), "{failed:?}");
}

#[tokio::test]
async fn random_failures_follow_from_the_seed() {
    let outcomes = async |seed: u64| {
        let folder = folder();
        let driver = open(&folder, "dc1", &format!("{QUICK},fail_percent=30,seed={seed}"));
        let mut outcomes = Vec::new();
        for _ in 0..20 {
            outcomes.push(read_all(&driver, &grip("a", 1, "vm-001")).await.is_ok());
        }
        outcomes
    };
    let first = outcomes(1).await;
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");
    assert_eq!(first, outcomes(1).await);
    assert_ne!(first, outcomes(2).await);
}

#[tokio::test]
async fn an_unreachable_host_and_a_wrong_description_say_so() {
    let folder = folder();
    let driver = open(&folder, "dc1", "unreachable=true");
    let grip = grip("a", 1, "vm-001");
    let error = driver.check().await.expect_err("unreachable");
    assert_eq!(error.fault().code, FaultCode::HostUnreachable);
    assert!(driver.inventory().await.is_err() && driver.open_export(&grip).await.is_err());
    let answer = driver.guard().hold(&grip, None).await;
    assert!(matches!(answer, Err(TransportError::Unreachable { .. })));

    let error = try_open(&folder, "dc2", "vms=x,colour=red").expect_err("wrong");
    assert_eq!(error.fault().code, FaultCode::InvalidInput);
    assert!(error.to_string().contains("vms=x") && error.to_string().contains("colour"), "{error}");
}

#[tokio::test]
async fn a_served_command_ends_with_its_channel() {
    let folder = folder();
    let driver = open(&folder, "dc1", QUICK);
    let grip = grip("a", 1, "vm-001");
    let long = command::sleep(Duration::from_secs(3600));
    let served = driver.guard().serve(&grip, &long).await.expect("served");
    drop(served.stream);
    assert_eq!(served.exit.await.expect("an exit").0, 143);
    let served = driver.guard().serve(&grip, &Argv::new("no-such")).await.expect("served");
    assert_eq!(served.exit.await.expect("an exit").0, 127);
}
