use std::collections::BTreeSet;

use drs_model::{
    FencingToken, Job, JobId, JobSpec, PowerAction, RestoreTarget, StepMark, StepRecord, Subject,
    Timestamp, Transfer, TransferMethod, Work,
};
use drs_protocol::session::StepMode;

use super::saga_of;
use crate::saga::{Hosts, Side};

fn target() -> RestoreTarget {
    RestoreTarget {
        vm: "dr/copy".parse().expect("a VM"),
        networks: Default::default(),
        storage: Default::default(),
        keep_macs: true,
        start: false,
        replace: None,
        pair: None,
    }
}

fn specs(method: TransferMethod) -> Vec<JobSpec> {
    let (vm, point) = ("dc/web".parse().expect("a VM"), JobId::from_key("point").into());
    let transfer = Transfer { method, ..Transfer::default() };
    vec![
        JobSpec::Inspect { host: "dc".parse().expect("a name") },
        JobSpec::Verify { point },
        JobSpec::Power { vm, action: PowerAction::Stop },
        JobSpec::FanOut {
            subject: Subject::Host("dc".parse().expect("a name")),
            work: Work::Backup,
            transfer,
        },
        JobSpec::Backup { vm: "dc/web".parse().expect("a VM"), transfer },
        JobSpec::Restore { point, target: target(), transfer },
        JobSpec::Replicate { source: "dc/web".parse().expect("a VM"), target: target(), transfer },
    ]
}

fn every_spec() -> impl Iterator<Item = JobSpec> {
    [TransferMethod::Stream, TransferMethod::Staged].into_iter().flat_map(specs)
}

/// A job whose steps up to and with this one are done.
fn done_up_to(spec: &JobSpec, last: &str) -> Job {
    let now = Timestamp::UNIX_EPOCH;
    let mut job = Job::new(JobId::from_key("job"), spec.clone(), Vec::new(), now);
    job.fence = FencingToken(1);
    for step in saga_of(spec, &Hosts::default()).plan() {
        let output = serde_json::Value::Null;
        job.steps.push(StepRecord {
            step: step.name.to_owned(),
            mark: StepMark::Done,
            output,
            at: now,
        });
        if step.name == last {
            break;
        }
    }
    job
}

#[test]
fn the_steps_of_a_saga_have_different_names() {
    for spec in every_spec() {
        let names: Vec<_> =
            saga_of(&spec, &Hosts::default()).plan().iter().map(|step| step.name).collect();
        let different: BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{}: {names:?}", spec.kind());
    }
}

#[test]
fn what_is_volatile_ends_with_the_worker_or_lies_in_the_vault() {
    for spec in every_spec() {
        for step in saga_of(&spec, &Hosts::default()).plan() {
            let outlives = step.mode == StepMode::Detached;
            assert!(!(outlives && step.volatile), "{}/{}", spec.kind(), step.name);
        }
    }
}

#[test]
fn a_replication_holds_both_vms_until_its_point_is_there() {
    for spec in every_spec().filter(|spec| spec.counterpart().is_some()) {
        let saga = saga_of(&spec, &Hosts::default());
        let both = [Side::Source, Side::Target];
        assert_eq!(saga.held(&done_up_to(&spec, "inspect")), both);
        assert_eq!(saga.held(&done_up_to(&spec, "close")), both);
        assert_eq!(saga.held(&done_up_to(&spec, "commit")), [Side::Target]);
        assert_eq!(saga.held(&done_up_to(&spec, "define")), [Side::Target]);
    }
}

#[test]
fn a_job_with_one_vm_holds_it_once() {
    for spec in every_spec().filter(|spec| spec.counterpart().is_none()) {
        let saga = saga_of(&spec, &Hosts::default());
        assert_eq!(saga.held(&done_up_to(&spec, "plan")), [Side::Source], "{}", spec.kind());
    }
}
