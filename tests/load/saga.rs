//! What every saga must stand: each call of it fails, before and after it was done, once, several
//! times and for good; each is done twice; each undo is done twice.

use anyhow::Result;
use drs_model::{Job, JobId, JobSpec, Phase, PowerAction, RestoreTarget};
use drs_tests::engine::{Engine, Installation, Moment, brisk};

/// One kind of job, tried again and again, each time on a VM of its own.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Inspect,
    Backup,
    Restore,
    Verify,
    Power,
}

struct Trial {
    lab: Installation,
    engine: Engine,
    kind: Kind,
    point: JobId,
    jobs: usize,
}

impl Trial {
    async fn new(kind: Kind) -> Result<Self> {
        let lab = Installation::new()?;
        lab.add_host("dc", "vms=999,disks=2,disk_mib=1,backup_ms=0,restore_ms=0", 2).await?;
        let engine = lab.start(brisk("worker", 1))?;
        let point = lab.submit_backup("point", "dc/vm-999").await?;
        assert_eq!(lab.over(point).await?.state.phase(), Phase::Succeeded);
        lab.faults().none();
        Ok(Self { lab, engine, kind, point, jobs: 0 })
    }

    fn spec(&self) -> Result<JobSpec> {
        let vm = format!("dc/vm-{:03}", self.jobs).parse()?;
        Ok(match self.kind {
            Kind::Inspect => JobSpec::Inspect { host: "dc".parse()? },
            Kind::Backup => JobSpec::Backup { vm },
            Kind::Verify => JobSpec::Verify { point: self.point.into() },
            Kind::Power => JobSpec::Power { vm, action: PowerAction::Stop },
            Kind::Restore => {
                let target = RestoreTarget {
                    vm: format!("dc/copy-{:03}", self.jobs).parse()?,
                    networks: Default::default(),
                    storage: Default::default(),
                    keep_macs: false,
                    start: true,
                };
                JobSpec::Restore { point: self.point.into(), target }
            }
        })
    }

    /// Runs a fresh job to its end under what `order` orders. Whatever becomes of it, nothing is
    /// left, and its effect is there in full or not at all.
    async fn run(&mut self, what: &str, order: impl FnOnce(&Installation)) -> Result<Job> {
        self.jobs += 1;
        self.lab.faults().none();
        order(&self.lab);
        let id = self.lab.submit(&format!("job {}", self.jobs), self.spec()?).await?;
        let job = self.lab.over(id).await?;
        let succeeded = job.state.phase() == Phase::Succeeded;
        assert!(succeeded || job.state.phase() == Phase::Failed, "{what}: {job:?}");
        if let Some(vm) = job.spec.vm() {
            let left = self.lab.leftovers(&vm.to_string()).await?;
            assert_eq!(left, Vec::<String>::new(), "{what}: {job:?}");
        }
        let listed = self.lab.points().await?.contains(&id.into());
        assert_eq!(listed, succeeded && matches!(self.kind, Kind::Backup), "{what}: {job:?}");
        if matches!(self.kind, Kind::Restore) {
            let name = format!("copy-{:03}", self.jobs).parse()?;
            let made = self.lab.driver("dc").await?.digest(&name).await.is_ok();
            let kept = job.steps.iter().any(|step| step.step == "define" && is_done(step));
            assert_eq!(made, kept, "{what}: {job:?}");
        }
        Ok(job)
    }

    async fn end(self) -> Result<()> {
        self.engine.stop().await.map(drop)
    }
}

fn is_done(step: &drs_model::StepRecord) -> bool {
    step.mark == drs_model::StepMark::Done
}

async fn stands_everything(kind: Kind) -> Result<()> {
    let mut trial = Trial::new(kind).await?;
    let job = trial.run("undisturbed", |_| ()).await?;
    assert_eq!(job.state.phase(), Phase::Succeeded, "{job:?}");
    let calls = trial.lab.faults().calls();
    println!("{kind:?} makes {} calls: {}", calls.len(), calls.join(" "));

    let job = trial.run("every call twice", |lab| lab.faults().repeat()).await?;
    assert_eq!(job.state.phase(), Phase::Succeeded, "{job:?}");
    assert_eq!(job.attempt, 1, "{job:?}");

    for (n, call) in calls.iter().enumerate() {
        for moment in [Moment::Before, Moment::After] {
            for times in [1, 3] {
                let what = format!("{call} (call {n}) fails {moment:?} {times} times");
                let job = trial.run(&what, |lab| lab.faults().fail(n..n + times, moment)).await?;
                assert_eq!(job.state.phase(), Phase::Succeeded, "{what}: {job:?}");
                assert!(job.attempt > 1, "{what}: {job:?}");
            }
            let what = format!("{call} (call {n}) is refused {moment:?}, each undo is done twice");
            trial
                .run(&what, |lab| {
                    lab.faults().repeat();
                    lab.faults().refuse(n, moment);
                })
                .await?;
        }
    }
    trial.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_stands_everything() -> Result<()> {
    stands_everything(Kind::Inspect).await
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_stands_everything() -> Result<()> {
    stands_everything(Kind::Backup).await
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_stands_everything() -> Result<()> {
    stands_everything(Kind::Restore).await
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_stands_everything() -> Result<()> {
    stands_everything(Kind::Verify).await
}

#[tokio::test(flavor = "multi_thread")]
async fn power_stands_everything() -> Result<()> {
    stands_everything(Kind::Power).await
}
