//! The kinds of jobs of a world, as the session knows them: plans of steps.

use drs_protocol::session::{StepMode, StepPlan};

use crate::dice::Dice;

/// What a job does. The plans are those of the product's sagas, with shorter names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A backup that is pumped through the worker.
    Stream,
    /// A backup that the host writes by itself.
    Staged,
    /// A restore: made beside the old VM, started, proven, and only then the old one goes.
    Restore,
    /// A replication: it holds a VM on each of two hosts.
    Replicate,
    /// One short step, to see that a VM can be worked with.
    Probe,
}

impl Kind {
    pub(crate) const WORK: [Self; 5] =
        [Self::Stream, Self::Stream, Self::Staged, Self::Restore, Self::Replicate];

    pub(crate) fn plan(self) -> Vec<StepPlan> {
        match self {
            Self::Stream => vec![
                StepPlan::free("inspect"),
                StepPlan::held("clean"),
                StepPlan::held("export").volatile(),
                StepPlan::held("copy").volatile(),
                StepPlan::held("close"),
                StepPlan::free("commit"),
            ],
            Self::Staged => vec![
                StepPlan::free("inspect"),
                StepPlan::held("clean"),
                StepPlan::detached("dump"),
                StepPlan::free("fetch"),
                StepPlan::held("close"),
                StepPlan::free("commit"),
            ],
            Self::Restore => vec![
                StepPlan::free("plan"),
                StepPlan::held("allocate"),
                StepPlan::detached("load"),
                StepPlan::detached("check"),
                StepPlan::held("define"),
                StepPlan::held("start").keeping_rest(),
                StepPlan::held("prove").barrier(),
                StepPlan::held("destroy"),
            ],
            Self::Replicate => vec![
                StepPlan::free("foresee"),
                StepPlan::held("prepare").volatile().provisional(),
                StepPlan::held("pass").volatile(),
                StepPlan::free("confirm").volatile(),
                StepPlan::held("define"),
                StepPlan::held("prove").barrier(),
            ],
            Self::Probe => vec![StepPlan::held("switch")],
        }
    }

    /// How long a step takes, in milliseconds.
    pub(crate) fn takes(step: &StepPlan, dice: &mut Dice) -> u64 {
        match (step.mode, step.name) {
            (StepMode::Detached, _) | (_, "copy" | "pass") => dice.between(30_000..500_000),
            (StepMode::Free, _) => dice.between(50..3_000),
            (StepMode::Held, _) => dice.between(300..8_000),
        }
    }

    /// Whether a step that took effect may stay when the job fails.
    pub(crate) fn may_stay(self) -> bool {
        self == Self::Restore
    }
}
