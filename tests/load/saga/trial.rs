//! One kind of job, tried again and again, each time on VMs of its own.

use anyhow::Result;
use drs_hypervisor::Driver;
use drs_model::{
    FencingToken, Grip, Job, JobId, JobSpec, Phase, PowerAction, ReplacePolicy, RestoreTarget,
    StepMark, Transfer, TransferMethod, VmRef,
};
use drs_tests::engine::{Engine, Installation, brisk};

use super::scene::Scene;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Inspect,
    Backup,
    Verify,
    Power,
    /// Where nothing is.
    Restore,
    /// Where a VM runs.
    Replace(ReplacePolicy),
    /// Where nothing is.
    Replicate(TransferMethod),
    /// Where the copy of the time before is.
    Refresh(TransferMethod),
}

impl Kind {
    /// Whether the job can do without this call: a counterpart that cannot be written in the one pass is
    /// filled from the vault.
    pub(super) fn does_without(self, call: &str) -> bool {
        let one_pass = [TransferMethod::Stream].map(|m| [Self::Replicate(m), Self::Refresh(m)]);
        let makes_point = matches!(self, Self::Backup | Self::Replicate(_) | Self::Refresh(_));
        // Whether the point is there already is asked first; a vault that is silent then is asked by the steps.
        (makes_point && call == "get")
            || (one_pass.concat().contains(&self) && call.contains("write"))
    }

    /// What becomes of the VM that is there.
    fn policy(self) -> Option<ReplacePolicy> {
        match self {
            Self::Replace(policy) => Some(policy),
            Self::Replicate(_) | Self::Refresh(_) => Some(ReplacePolicy::RefreshCopy),
            _ => None,
        }
    }
}

pub(super) struct Trial {
    pub(super) lab: Installation,
    engine: Engine,
    kind: Kind,
    point: JobId,
    jobs: usize,
}

impl Trial {
    pub(super) async fn new(kind: Kind) -> Result<Self> {
        let lab = Installation::new()?;
        let quick = "disks=2,disk_mib=1,backup_ms=0,restore_ms=0";
        lab.add_host("dc", &format!("vms=999,{quick}"), 2).await?;
        lab.add_host("dr", &format!("vms=400,{quick}"), 2).await?;
        let engine = lab.start(brisk("worker", 1))?;
        let point = lab.submit_backup("point", "dc/vm-999").await?;
        assert_eq!(lab.over(point).await?.state.phase(), Phase::Succeeded);
        Ok(Self { lab, engine, kind, point, jobs: 0 })
    }

    fn source(&self) -> Result<VmRef> {
        Ok(format!("dc/vm-{:03}", self.jobs).parse()?)
    }

    fn target(&self) -> Result<RestoreTarget> {
        let base = if let Kind::Replace(_) = self.kind { "vm" } else { "copy" };
        Ok(RestoreTarget {
            vm: format!("dr/{base}-{:03}", self.jobs).parse()?,
            networks: Default::default(),
            storage: Default::default(),
            keep_macs: false,
            start: matches!(self.kind, Kind::Restore | Kind::Replace(_)),
            replace: self.kind.policy(),
            pair: None,
        })
    }

    fn spec(&self) -> Result<JobSpec> {
        let (vm, transfer) = (self.source()?, Transfer::default());
        Ok(match self.kind {
            Kind::Inspect => JobSpec::Inspect { host: "dc".parse()? },
            Kind::Backup => JobSpec::backup(vm),
            Kind::Verify => JobSpec::Verify { point: self.point.into() },
            Kind::Power => JobSpec::Power { vm, action: PowerAction::Stop },
            Kind::Restore | Kind::Replace(_) => self.restore()?,
            Kind::Replicate(method) | Kind::Refresh(method) => JobSpec::Replicate {
                source: vm,
                target: self.target()?,
                transfer: Transfer { method, ..transfer },
            },
        })
    }

    fn restore(&self) -> Result<JobSpec> {
        let (point, target) = (self.point.into(), self.target()?);
        Ok(JobSpec::Restore { point, target, transfer: Transfer::default() })
    }

    /// Brings about what the job is to find: its source off, so that its content stands still, and the
    /// copy of the time before.
    async fn prepare(&self) -> Result<()> {
        if matches!(self.kind, Kind::Replicate(_) | Kind::Refresh(_)) {
            let vm = self.source()?;
            let grip = Grip { job: self.point, fence: FencingToken(1), vm: vm.clone() };
            self.lab.driver("dc").await?.power(&grip, &vm.name, PowerAction::Stop).await?;
        }
        if let Kind::Refresh(_) = self.kind {
            let copy = self.lab.submit(&format!("copy {}", self.jobs), self.restore()?).await?;
            assert_eq!(self.lab.over(copy).await?.state.phase(), Phase::Succeeded);
        }
        Ok(())
    }

    /// Runs a fresh job to its end under what `order` orders. Whatever becomes of it, nothing is
    /// left, and its effect is there in full or not at all.
    pub(super) async fn run(
        &mut self,
        what: &str,
        order: impl FnOnce(&Installation),
    ) -> Result<Job> {
        self.jobs += 1;
        self.lab.faults().none();
        self.prepare().await?;
        let before = Scene::of(&self.lab, "dr").await?;
        self.lab.faults().none();
        order(&self.lab);
        let id = self.lab.submit(&format!("job {}", self.jobs), self.spec()?).await?;
        let job = self.lab.over(id).await?;
        let succeeded = job.state.phase() == Phase::Succeeded;
        assert!(succeeded || job.state.phase() == Phase::Failed, "{what}: {job:?}");
        let after = Scene::of(&self.lab, "dr").await?;
        let made: Vec<_> =
            after.new_since(&before).into_iter().map(|name| format!("dr/{name}")).collect();
        let vms = job.spec.vm().into_iter().chain(job.spec.counterpart());
        for vm in vms.map(ToString::to_string).chain(made) {
            let left = self.lab.leftovers(&vm).await?;
            assert_eq!(left, Vec::<String>::new(), "{vm}: {what}: {job:?}");
        }
        let listed = self.lab.points().await?.contains(&id.into());
        assert_eq!(listed, is_done(&job, "commit"), "{what}: {job:?}");
        assert!(listed || !succeeded || self.kind != Kind::Backup, "{what}: {job:?}");
        self.demand_made(&job, (&before, &after), what).await?;
        Ok(job)
    }

    /// Demands that the VM is made exactly if the job says so, that it holds what it should, and that a
    /// VM which stood there is what its policy says, or as it was.
    async fn demand_made(&self, job: &Job, scenes: (&Scene, &Scene), what: &str) -> Result<()> {
        let (before, after) = scenes;
        let what = format!("{what}: {job:?}");
        if !is_done(job, "define") {
            assert_eq!(before, after, "{what}");
            return Ok(());
        }
        let target = self.target()?.vm.name;
        match (self.kind.policy(), before.id(&target)) {
            // Behind the proof the old VM may stay, off, when it could not be destroyed.
            (Some(policy), Some(old)) if policy.takes_place() && after.has(old) => {
                assert!(is_done(job, "prove"), "{what}");
                assert!(!policy.destroys() || !is_done(job, "destroy"), "{what}");
                after.demand_replaced(before, &target, ReplacePolicy::StopAndKeep, &what);
            }
            (Some(policy), Some(_)) => {
                assert!(is_done(job, "prove") || !policy.takes_place(), "{what}");
                after.demand_replaced(before, &target, policy, &what);
            }
            _ => assert_eq!(after.new_since(before).len(), 1, "{what}"),
        }
        if matches!(self.kind, Kind::Replicate(_) | Kind::Refresh(_)) {
            let source = self.lab.driver("dc").await?.digest(&self.source()?.name).await?;
            let copy = self.lab.driver("dr").await?.digest(&target).await?;
            assert_eq!(source, copy, "{what}");
        }
        Ok(())
    }

    pub(super) async fn end(self) -> Result<()> {
        self.engine.stop().await.map(drop)
    }
}

fn is_done(job: &Job, step: &str) -> bool {
    job.steps.iter().any(|entry| entry.step == step && entry.mark == StepMark::Done)
}
