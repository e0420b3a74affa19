use drs_model::{Fault, FaultCode, VmRef};

use super::*;

const TTL: SignedDuration = SignedDuration::from_secs(60);
use drs_model::SignedDuration;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

fn job(key: &str, vm: &str, created: i64) -> Job {
    let vm: VmRef = vm.parse().expect("a VM");
    let needs = vec![Need::vm(vm.clone()), Need::host_slot(vm.host.clone(), 2)];
    Job::new(JobId::from_key(key), JobSpec::backup(vm), needs, at(created))
}

fn claimed(ledger: &mut Ledger, now: i64, job: &Job, worker: &str) -> Job {
    match claim(ledger, at(now), &job.into(), worker, TTL) {
        Ok(ClaimAnswer::Claimed(job)) => *job,
        other => panic!("not claimed: {other:?}"),
    }
}

fn driver<'a>(job: &Job, worker: &'a str) -> Driving<'a> {
    Driving { job: job.id, worker, fence: job.fence }
}

#[test]
fn two_jobs_of_one_vm_run_one_after_the_other() {
    let mut ledger = Ledger::default();
    let (a, b) = (job("a", "dc/web", 1), job("b", "dc/web", 2));
    create(&mut ledger, &a).expect("created");
    create(&mut ledger, &b).expect("created");
    let a = claimed(&mut ledger, 3, &a, "w1");
    let parked = claim(&mut ledger, at(3), &(&b).into(), "w2", TTL).expect("an answer");
    assert!(matches!(parked, ClaimAnswer::Parked { ref holders, .. } if *holders == [a.id]));
    let settled = finish(&mut ledger, at(9), &driver(&a, "w1"), &Outcome::Succeeded);
    assert!(
        matches!(settled, Ok(SettleAnswer::Settled { ref woken }) if woken.len() == 1 && woken[0].id == b.id)
    );
    assert!(claimed(&mut ledger, 10, &b, "w2").fence > a.fence);
}

#[test]
fn a_lapsed_lease_changes_the_driver_and_frees_nothing() {
    let mut ledger = Ledger::default();
    let a = job("a", "dc/web", 1);
    let old = claimed(&mut ledger, 1, &a, "w1");
    assert!(reap(&mut ledger, at(60), 10).expect("reaped").is_empty());
    assert_eq!(reap(&mut ledger, at(61), 10).expect("reaped").len(), 1);
    assert_eq!(ledger.held().len(), 2);
    let new = claimed(&mut ledger, 62, &a, "w2");
    assert_eq!(new.attempt, 2);
    let late = finish(&mut ledger, at(63), &driver(&old, "w1"), &Outcome::Succeeded);
    assert_eq!(late, Ok(SettleAnswer::Lost));
    let beat = beat(&mut ledger, at(63), &driver(&new, "w2"), TTL, true);
    assert_eq!(beat, Ok(BeatAnswer::Kept { cancel: false }));
}

#[test]
fn a_dead_worker_is_buried_at_once() {
    let mut ledger = Ledger::default();
    claimed(&mut ledger, 1, &job("a", "dc/web", 1), "w1");
    assert_eq!(bury(&mut ledger, at(2), "w1"), Ok(1));
    assert_eq!(reap(&mut ledger, at(2), 10).map(|jobs| jobs.len()), Ok(1));
}

#[test]
fn a_wiped_store_learns_of_running_and_of_queued_jobs() {
    let mut ledger = Ledger::default();
    let a = claimed(&mut ledger, 1, &job("a", "dc/web", 1), "w1");
    ledger = Ledger::default();
    assert_eq!(beat(&mut ledger, at(2), &driver(&a, "w1"), TTL, true), Ok(BeatAnswer::Unknown));
    assert_eq!(reassert(&mut ledger, at(2), &a, "w1", TTL), Ok(ReassertAnswer::Restored));
    assert_eq!(reassert(&mut ledger, at(2), &a, "w1", TTL), Ok(ReassertAnswer::Exists));
    let b = job("b", "dc/db", 1);
    assert!(claimed(&mut ledger, 3, &b, "w2").fence > a.fence);
    let rival = Job { fence: FencingToken(9), ..job("c", "dc/web", 1) };
    let conflict = reassert(&mut ledger, at(4), &rival, "w3", TTL);
    assert_eq!(conflict, Ok(ReassertAnswer::Conflict(a.id)));
    let waits = sweep(&mut ledger, at(5), TTL, 10).expect("swept");
    assert_eq!(waits.iter().map(|job| job.id).collect::<Vec<_>>(), [rival.id]);
}

#[test]
fn a_host_that_saw_a_newer_token_lifts_the_counter() {
    let mut ledger = Ledger::default();
    let a = claimed(&mut ledger, 1, &job("a", "dc/web", 1), "w1");
    let seen = FencingToken(a.fence.0 + 40);
    let lifted = refence(&mut ledger, at(2), &driver(&a, "w1"), seen);
    assert_eq!(lifted, Ok(RefenceAnswer::Fenced(FencingToken(seen.0 + 1))));
    let again = refence(&mut ledger, at(2), &driver(&a, "w1"), seen);
    assert_eq!(again, Ok(RefenceAnswer::Lost), "the old token is dead");
}

#[test]
fn a_job_that_was_handed_over_keeps_its_vm_and_its_attempt() {
    let mut ledger = Ledger::default();
    let a = claimed(&mut ledger, 1, &job("a", "dc/web", 1), "w1");
    let how = HandOver { not_before: at(1), fault: None, keep: true, counts: false };
    hand_over(&mut ledger, at(1), &driver(&a, "w1"), &how).expect("handed over");
    let b = job("b", "dc/web", 2);
    let parked = claim(&mut ledger, at(2), &(&b).into(), "w2", TTL).expect("an answer");
    assert!(matches!(parked, ClaimAnswer::Parked { .. }));
    assert_eq!(claimed(&mut ledger, 2, &a, "w2").attempt, 1);
}

#[test]
fn a_store_that_lost_its_tokens_gives_none_of_them_again() {
    let mut ledger = Ledger::default();
    let before = ledger.clone();
    let a = claimed(&mut ledger, 1, &job("a", "dc/web", 1), "w1");
    ledger = before;
    let b = claimed(&mut ledger, 2, &job("b", "dc/web", 1), "w2");
    assert!(b.fence > a.fence);
}

#[test]
fn a_retry_waits_for_its_time_and_is_swept_then() {
    let mut ledger = Ledger::default();
    let a = claimed(&mut ledger, 1, &job("a", "dc/web", 1), "w1");
    let fault = Some(Fault::transient(FaultCode::HostUnreachable, "gone", ""));
    let how = HandOver { not_before: at(30), fault, keep: false, counts: true };
    hand_over(&mut ledger, at(1), &driver(&a, "w1"), &how).expect("handed over");
    assert!(ledger.held().is_empty());
    let early = claim(&mut ledger, at(29), &(&a).into(), "w1", TTL);
    assert_eq!(early, Ok(ClaimAnswer::Waiting));
    assert!(sweep(&mut ledger, at(29), TTL, 10).expect("swept").is_empty());
    assert_eq!(sweep(&mut ledger, at(30), TTL, 10).expect("swept").len(), 1);
    assert_eq!(claimed(&mut ledger, 31, &a, "w1").attempt, 2);
}

#[test]
fn the_longer_a_job_waits_the_rarer_its_message_is_published_again() {
    let mut ledger = Ledger::default();
    let a = job("a", "dc/web", 0);
    create(&mut ledger, &a).expect("created");
    let mut copies = 0;
    for second in (0..36_000).step_by(5) {
        for job in sweep(&mut ledger, at(second), SignedDuration::from_secs(30), 10).expect("swept")
        {
            published(&mut ledger, at(second), job.id).expect("published");
            copies += 1;
        }
    }
    // At 0, 30, 90, 210, 450, 930 s, then every ten and a half minutes of ten hours.
    assert_eq!(copies, 6 + (36_000 - 930) / 630);
}

#[test]
fn cancel_is_immediate_before_the_first_step_and_a_request_after_it() {
    let mut ledger = Ledger::default();
    let (a, b) = (job("a", "dc/web", 1), job("b", "dc/db", 1));
    create(&mut ledger, &a).expect("created");
    let now = cancel(&mut ledger, at(2), a.id).expect("an answer");
    assert!(matches!(now, CancelAnswer::Cancelled { .. }));
    assert_eq!(
        cancel(&mut ledger, at(2), a.id),
        Ok(CancelAnswer::Done(drs_model::Phase::Cancelled))
    );
    let b = claimed(&mut ledger, 1, &b, "w1");
    let asked = cancel(&mut ledger, at(2), b.id).expect("an answer");
    assert_eq!(asked, CancelAnswer::Asked { publish: None });
    let beat = beat(&mut ledger, at(3), &driver(&b, "w1"), TTL, true);
    assert_eq!(beat, Ok(BeatAnswer::Kept { cancel: true }));
}

#[test]
fn slots_are_filled_and_each_freed_one_wakes_one_waiter_by_class_and_age() {
    let mut ledger = Ledger::default();
    let jobs: Vec<Job> = (0..5).map(|i| job(&format!("j{i}"), &format!("dc/vm{i}"), i)).collect();
    let first = claimed(&mut ledger, 9, &jobs[0], "w");
    claimed(&mut ledger, 9, &jobs[1], "w");
    for waiting in &jobs[2..] {
        let answer = claim(&mut ledger, at(9), &waiting.into(), "w", TTL).expect("an answer");
        assert!(matches!(answer, ClaimAnswer::Parked { resource: Resource::HostSlot(_), .. }));
    }
    match finish(&mut ledger, at(10), &driver(&first, "w"), &Outcome::Succeeded) {
        Ok(SettleAnswer::Settled { woken }) => {
            assert_eq!(woken.iter().map(|job| job.id).collect::<Vec<_>>(), [jobs[2].id]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_that_waits_for_a_person_keeps_its_vm_and_gives_its_slot_back() {
    let mut ledger = Ledger::default();
    let a = claimed(&mut ledger, 1, &job("a", "dc/web", 1), "w1");
    let fault = Fault::permanent(FaultCode::HypervisorFailed, "odd", "");
    let settled = finish(&mut ledger, at(2), &driver(&a, "w1"), &Outcome::NeedsOperator(fault));
    assert_eq!(settled, Ok(SettleAnswer::Settled { woken: vec![] }));
    assert_eq!(ledger.held(), [(Resource::Vm("dc/web".parse().expect("a VM")), a.id)]);
    let mut other = ledger.clone();
    let asked = cancel(&mut ledger, at(3), a.id).expect("an answer");
    assert!(matches!(asked, CancelAnswer::Asked { publish: Some(_) }));
    assert!(claimed(&mut ledger, 4, &a, "w2").cancel_requested);
    assert_eq!(ledger.held().len(), 2);

    assert!(matches!(retry(&mut other, at(3), a.id), Ok(RetryAnswer::Woken(_))));
    let again = retry(&mut other, at(3), a.id);
    assert_eq!(again, Ok(RetryAnswer::NotWaiting(drs_model::Phase::Queued)));
    let goes_on = claimed(&mut other, 4, &a, "w2");
    assert_eq!((goes_on.attempt, goes_on.cancel_requested), (1, false));
    assert_eq!(retry(&mut other, at(4), JobId::from_key("x")), Ok(RetryAnswer::Unknown));
}

#[test]
fn a_job_that_goes_on_after_a_person_keeps_its_vm_while_it_waits_for_a_slot() {
    let mut ledger = Ledger::default();
    let (mut a, mut b) = (job("a", "dc/web", 1), job("b", "dc/db", 2));
    for job in [&mut a, &mut b] {
        job.needs = job.needs.iter().map(|need| Need { capacity: 1, ..need.clone() }).collect();
    }
    let mut same_vm = job("c", "dc/web", 3);
    same_vm.needs.retain(|need| matches!(need.resource, Resource::Vm(_)));
    let a = claimed(&mut ledger, 1, &a, "w1");
    let fault = Fault::permanent(FaultCode::HypervisorFailed, "odd", "");
    finish(&mut ledger, at(2), &driver(&a, "w1"), &Outcome::NeedsOperator(fault)).expect("settled");
    claimed(&mut ledger, 3, &b, "w1");
    retry(&mut ledger, at(4), a.id).expect("an answer");
    let parked = claim(&mut ledger, at(5), &(&a).into(), "w2", TTL).expect("an answer");
    assert!(matches!(parked, ClaimAnswer::Parked { ref holders, .. } if *holders == [b.id]));
    let parked = claim(&mut ledger, at(5), &(&same_vm).into(), "w2", TTL).expect("an answer");
    assert!(matches!(parked, ClaimAnswer::Parked { ref holders, .. } if *holders == [a.id]));
}

#[test]
fn a_waiter_whose_wake_was_lost_is_found_by_the_sweeper() {
    let mut ledger = Ledger::default();
    let (a, b) = (job("a", "dc/web", 1), job("b", "dc/web", 2));
    let a = claimed(&mut ledger, 1, &a, "w1");
    claim(&mut ledger, at(2), &(&b).into(), "w2", TTL).expect("parked");
    finish(&mut ledger, at(3), &driver(&a, "w1"), &Outcome::Succeeded).expect("finished");
    // The process died before it published the woken job.
    let swept = sweep(&mut ledger, at(100), TTL, 10).expect("swept");
    assert_eq!(swept.iter().map(|job| job.id).collect::<Vec<_>>(), [b.id]);
}
