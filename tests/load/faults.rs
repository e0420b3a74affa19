//! A host that fails at each of its steps: once, and always.

use anyhow::Result;
use drs_model::{Job, JobId, JobSpec, Phase, PowerAction, RestoreTarget, Transfer};
use drs_tests::engine::{Installation, brisk};

const ONCE: &str = "fail_times=1";
const ALWAYS: &str = "fail_times=1000";

fn restore(point: JobId, vm: &str) -> Result<JobSpec> {
    let target = RestoreTarget {
        vm: vm.parse()?,
        networks: Default::default(),
        storage: Default::default(),
        keep_macs: false,
        start: true,
        replace: None,
        pair: None,
    };
    Ok(JobSpec::Restore { point: point.into(), target, transfer: Transfer::default() })
}

/// Runs one job for each step at which its host can fail; `point` is there to be restored.
async fn one_per_step(
    lab: &Installation,
    times: &str,
    point: JobId,
) -> Result<Vec<(&'static str, Job)>> {
    const STEPS: [&str; 9] = [
        "check",
        "describe",
        "open_export",
        "read_disk",
        "close_export",
        "create_disks",
        "write_disk",
        "define",
        "power",
    ];
    let mut jobs = Vec::new();
    for step in STEPS {
        let host = step.replace('_', "-");
        let description =
            format!("vms=1,disk_mib=4,backup_ms=0,restore_ms=0,fail_at={step},{times}");
        lab.add_host(&host, &description, 2).await?;
        let vm = format!("{host}/vm-001");
        let spec = match step {
            "check" => JobSpec::Inspect { host: host.parse()? },
            "create_disks" | "write_disk" | "define" => restore(point, &format!("{host}/copy"))?,
            "power" => JobSpec::Power { vm: vm.parse()?, action: PowerAction::Stop },
            _ => JobSpec::backup(vm.parse()?),
        };
        jobs.push((step, lab.submit(step, spec).await?));
    }
    let mut ended = Vec::new();
    for (step, id) in jobs {
        ended.push((step, lab.over(id).await?));
    }
    Ok(ended)
}

async fn nothing_is_left(lab: &Installation, job: &Job) -> Result<()> {
    if job.spec.vm().is_some() {
        let left = lab.leftovers(&job.spec.subject()).await?;
        assert_eq!(left, Vec::<String>::new(), "{job:?}");
    }
    Ok(())
}

async fn with_a_point() -> Result<(Installation, JobId)> {
    let lab = Installation::new()?;
    lab.add_host("sound", "vms=1,disk_mib=4,backup_ms=0", 1).await?;
    let point = lab.submit_backup("point", "sound/vm-001").await?;
    let engine = lab.start(brisk("maker", 1))?;
    assert_eq!(lab.over(point).await?.state.phase(), Phase::Succeeded);
    engine.stop().await?;
    Ok((lab, point))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_passes_costs_one_attempt() -> Result<()> {
    let (lab, point) = with_a_point().await?;
    let engine = lab.start(brisk("worker", 4))?;
    for (step, job) in one_per_step(&lab, ONCE, point).await? {
        assert_eq!(job.state.phase(), Phase::Succeeded, "{step}: {job:?}");
        assert_eq!(job.attempt, 2, "{step}: {job:?}");
        nothing_is_left(&lab, &job).await?;
    }
    engine.stop().await?;
    assert_eq!(lab.points().await?.len(), 5, "four backups and the first one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_stays_fails_the_job_clearly() -> Result<()> {
    let (lab, point) = with_a_point().await?;
    let mut config = brisk("worker", 4);
    config.pace.attempts_max = 2;
    let engine = lab.start(config)?;
    for (step, job) in one_per_step(&lab, ALWAYS, point).await? {
        assert_eq!(job.state.phase(), Phase::Failed, "{step}: {job:?}");
        let fault = job.fault.clone().unwrap_or_else(|| panic!("{step}: no fault"));
        assert!(fault.message.contains("simulated"), "{step}: {fault:?}");
        assert!(!fault.remedy.is_empty(), "{step}: {fault:?}");
        nothing_is_left(&lab, &job).await?;
    }
    engine.stop().await?;
    assert_eq!(lab.points().await?.len(), 1, "only the first one");
    Ok(())
}
