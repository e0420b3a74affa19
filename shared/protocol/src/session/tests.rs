use drs_model::{FaultClass, FaultCode, JobId, JobSpec, Need, Phase, VmRef};
use serde_json::json;

use super::*;

mod lease;

const PLAN: [StepPlan; 5] = [
    StepPlan::free("inspect"),
    StepPlan::held("export").volatile(),
    StepPlan::held("copy").volatile(),
    StepPlan::detached("check"),
    StepPlan::free("commit"),
];

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

fn job(marks: &[(&str, StepMark)]) -> Job {
    let vm: VmRef = "dc/web".parse().expect("a VM");
    let needs = vec![Need::vm(vm.clone())];
    let mut job = Job::new(JobId::from_key("j"), JobSpec::backup(vm), needs, at(0));
    job.attempt = 1;
    job.fence = FencingToken(7);
    for (step, mark) in marks {
        let output = serde_json::Value::Null;
        job.steps.push(StepRecord { step: (*step).into(), mark: *mark, output, at: at(0) });
    }
    job
}

/// A world in which everything works, but for one answer.
struct World {
    fail: Option<(Action, Event)>,
    trace: Vec<String>,
}

impl World {
    fn answer(&mut self, action: &Action) -> Vec<Event> {
        if self.fail.as_ref().is_some_and(|(when, _)| when == action) {
            return self.fail.take().map(|(_, event)| event).into_iter().collect();
        }
        match action {
            Action::Hold => vec![Event::Guard(GuardAnswer::Started)],
            Action::Run(n) if PLAN[*n].mode == StepMode::Detached => {
                vec![Event::Guard(GuardAnswer::Attached), Event::StepDone(json!(null))]
            }
            Action::Run(_) => vec![Event::StepDone(json!(null))],
            Action::Undo(_) => vec![Event::UndoDone],
            Action::Log(_) => vec![Event::Logged(BeatAnswer::Kept { cancel: false })],
            Action::Beat { .. } => vec![Event::Beat(BeatAnswer::Kept { cancel: false })],
            Action::Reassert => vec![Event::Reasserted(ReassertAnswer::Restored)],
            Action::Refence(seen) => {
                vec![Event::Refenced(RefenceAnswer::Fenced(FencingToken(seen.0 + 1)))]
            }
            Action::Finish(_) | Action::HandOver(_) => {
                vec![Event::Settled(SettleAnswer::Settled { woken: vec![] })]
            }
            Action::Release | Action::Abort | Action::Ack | Action::End => vec![],
        }
    }

    fn note(&mut self, action: &Action) {
        let line = match action {
            Action::Run(n) => format!("run {}", PLAN[*n].name),
            Action::Undo(n) => format!("undo {}", PLAN[*n].name),
            Action::Finish(Outcome::Succeeded) => "succeeded".into(),
            Action::Finish(Outcome::Failed(_)) => "failed".into(),
            Action::Finish(Outcome::Cancelled) => "cancelled".into(),
            Action::Finish(Outcome::NeedsOperator(_)) => "needs operator".into(),
            Action::HandOver(how) => {
                format!("hand over keep={} counts={}", how.keep, how.counts)
            }
            Action::Hold => "hold".into(),
            Action::Release => "release".into(),
            Action::Ack => "ack".into(),
            Action::Abort => "abort".into(),
            Action::Refence(seen) => format!("refence {seen}"),
            Action::Reassert => "reassert".into(),
            Action::Log(_) | Action::Beat { .. } | Action::End => return,
        };
        self.trace.push(line);
    }
}

/// Plays a session to its end and returns what it did.
fn play(session: &mut Session, fail: Option<(Action, Event)>) -> Vec<String> {
    let mut world = World { fail, trace: Vec::new() };
    let mut events = vec![Event::Tick];
    for _ in 0..200 {
        if events.is_empty() {
            break;
        }
        let event = events.remove(0);
        for action in session.step(at(1), event) {
            world.note(&action);
            events.extend(world.answer(&action));
        }
    }
    assert!(session.ended(), "the session stalls after {:?}", world.trace);
    world.trace
}

/// Plays a session until its copy is about to run.
fn play_until_copy(session: &mut Session) {
    let mut world = World { fail: None, trace: vec![] };
    let mut events = vec![Event::Tick];
    while !events.is_empty() {
        let event = events.remove(0);
        for action in session.step(at(1), event) {
            if action == Action::Run(2) {
                return;
            }
            events.extend(world.answer(&action));
        }
    }
    panic!("the copy never ran");
}

fn session(marks: &[(&str, StepMark)]) -> Session {
    Session::new(job(marks), PLAN.to_vec(), Pace::default(), at(0))
}

fn transient() -> Fault {
    Fault::transient(FaultCode::HostUnreachable, "gone", "")
}

#[test]
fn a_job_runs_its_steps_and_acknowledges_when_the_host_accepts() {
    let trace = play(&mut session(&[]), None);
    let expected = [
        "run inspect",
        "hold",
        "ack",
        "run export",
        "run copy",
        "release",
        "run check",
        "run commit",
        "succeeded",
    ];
    assert_eq!(trace, expected);
}

#[test]
fn every_step_is_planned_in_the_store_before_it_runs_and_done_after() {
    let mut session = session(&[]);
    let mut seen = Vec::new();
    let mut world = World { fail: None, trace: vec![] };
    let mut events = vec![Event::Tick];
    while !events.is_empty() {
        let event = events.remove(0);
        for action in session.step(at(1), event) {
            match &action {
                Action::Log(record) => seen.push(format!("{} {:?}", record.step, record.mark)),
                Action::Run(n) => {
                    assert_eq!(seen.last(), Some(&format!("{} Planned", PLAN[*n].name)));
                }
                _ => {}
            }
            events.extend(world.answer(&action));
        }
    }
    assert_eq!(seen.len(), PLAN.len() * 2);
}

#[test]
fn a_transient_fault_undoes_everything_and_tries_again() {
    let fail = Some((Action::Run(2), Event::StepFailed(transient())));
    let trace = play(&mut session(&[]), fail);
    let expected = [
        "run inspect",
        "hold",
        "ack",
        "run export",
        "run copy",
        "undo copy",
        "undo export",
        "undo inspect",
        "release",
        "hand over keep=false counts=true",
    ];
    assert_eq!(trace, expected);
}

#[test]
fn a_step_that_keeps_the_rest_fails_alone() {
    let mut plan = PLAN.to_vec();
    plan[4] = plan[4].keeping_rest();
    let mut session = Session::new(job(&[]), plan, Pace::default(), at(0));
    let fault = Fault::permanent(FaultCode::HypervisorFailed, "no", "");
    let trace = play(&mut session, Some((Action::Run(4), Event::StepFailed(fault))));
    assert_eq!(trace.last().map(String::as_str), Some("failed"));
    assert!(!trace.iter().any(|line| line.starts_with("undo")));
}

#[test]
fn a_permanent_fault_undoes_everything_and_fails() {
    let fault = Fault::permanent(FaultCode::VaultFull, "full", "");
    let trace = play(&mut session(&[]), Some((Action::Run(2), Event::StepFailed(fault))));
    assert_eq!(trace.last().map(String::as_str), Some("failed"));
    assert!(trace.contains(&"undo export".to_owned()));
}

#[test]
fn what_lies_before_a_reached_barrier_stays_when_a_later_step_fails_or_the_job_is_cancelled() {
    let mut plan = PLAN.to_vec();
    plan[2] = plan[2].barrier();
    let permanent = Fault::permanent(FaultCode::InvalidInput, "no", "none");
    for fault in [transient(), permanent] {
        let mut session = Session::new(job(&[]), plan.clone(), Pace::default(), at(0));
        let trace = play(&mut session, Some((Action::Run(3), Event::StepFailed(fault.clone()))));
        let undone: Vec<_> = trace.iter().filter(|line| line.starts_with("undo")).collect();
        assert_eq!(undone, ["undo check"], "{trace:?}");
        let end = if fault.is_retryable() { "hand over keep=false counts=true" } else { "failed" };
        assert_eq!(trace.iter().rev().find(|line| *line != "ack").map(String::as_str), Some(end));
    }
    let mut cancelled = job(&[
        ("inspect", StepMark::Done),
        ("export", StepMark::Done),
        ("copy", StepMark::Done),
        ("check", StepMark::Planned),
    ]);
    cancelled.cancel_requested = true;
    let mut session = Session::new(cancelled, plan, Pace::default(), at(0));
    let trace = play(&mut session, None);
    assert!(trace.iter().any(|line| line == "undo check"), "{trace:?}");
    assert!(!trace.iter().any(|line| line == "undo copy"), "{trace:?}");
    assert!(trace.iter().any(|line| line == "cancelled"), "{trace:?}");
}

#[test]
fn a_preparation_is_taken_back_behind_a_barrier_when_the_job_ends_there_and_only_then() {
    let mut plan = PLAN.to_vec();
    plan[1] = plan[1].provisional();
    plan[2] = plan[2].barrier();
    let permanent = Fault::permanent(FaultCode::InvalidInput, "no", "none");
    for (fault, attempt, undone) in [
        (transient(), 1, vec!["undo check"]),
        (transient(), Pace::default().attempts_max, vec!["undo check", "undo export"]),
        (permanent, 1, vec!["undo check", "undo export"]),
    ] {
        let mut job = job(&[]);
        job.attempt = attempt;
        let mut session = Session::new(job, plan.clone(), Pace::default(), at(0));
        let trace = play(&mut session, Some((Action::Run(3), Event::StepFailed(fault))));
        let found: Vec<_> = trace.iter().filter(|line| line.starts_with("undo")).collect();
        assert_eq!(found, undone, "{trace:?}");
    }
    // Behind the next barrier it is part of what is done.
    plan[3] = plan[3].barrier();
    let permanent = Fault::permanent(FaultCode::InvalidInput, "no", "none");
    let mut session = Session::new(job(&[]), plan, Pace::default(), at(0));
    let trace = play(&mut session, Some((Action::Run(4), Event::StepFailed(permanent))));
    let found: Vec<_> = trace.iter().filter(|line| line.starts_with("undo")).collect();
    assert_eq!(found, ["undo commit"], "{trace:?}");
}

#[test]
fn after_a_crash_in_a_volatile_run_the_run_is_undone_and_starts_again() {
    let marks =
        [("inspect", StepMark::Done), ("export", StepMark::Done), ("copy", StepMark::Planned)];
    let trace = play(&mut session(&marks), None);
    let expected = [
        "hold",
        "ack",
        "undo copy",
        "undo export",
        "run export",
        "run copy",
        "release",
        "run check",
        "run commit",
        "succeeded",
    ];
    assert_eq!(trace, expected);
}

#[test]
fn after_a_crash_behind_a_volatile_run_nothing_is_done_again() {
    let marks = [
        ("inspect", StepMark::Done),
        ("export", StepMark::Done),
        ("copy", StepMark::Done),
        ("check", StepMark::Planned),
    ];
    assert_eq!(play(&mut session(&marks), None), ["run check", "ack", "run commit", "succeeded"]);
}

#[test]
fn a_crash_after_the_last_step_only_finishes() {
    let marks: Vec<_> = PLAN.iter().map(|step| (step.name, StepMark::Done)).collect();
    assert_eq!(play(&mut session(&marks), None), ["succeeded", "ack"]);
}

#[test]
fn cancel_undoes_and_is_not_a_failure() {
    let cancel =
        Some((Action::Beat { accepted: true }, Event::Beat(BeatAnswer::Kept { cancel: true })));
    let trace = play(&mut session(&[]), cancel);
    assert_eq!(trace.last().map(String::as_str), Some("cancelled"));
    let mut asked = job(&[("inspect", StepMark::Done), ("export", StepMark::Planned)]);
    asked.cancel_requested = true;
    let mut session = Session::new(asked, PLAN.to_vec(), Pace::default(), at(0));
    let trace = play(&mut session, None);
    assert_eq!(trace.last().map(String::as_str), Some("cancelled"));
    assert!(!trace.iter().any(|line| line.starts_with("run")));
}

#[test]
fn lost_stops_driving_and_touches_nothing() {
    let lost = Some((
        Action::Log(StepRecord {
            step: "inspect".into(),
            mark: StepMark::Planned,
            output: json!(null),
            at: at(1),
        }),
        Event::Logged(BeatAnswer::Lost),
    ));
    assert_eq!(play(&mut session(&[]), lost), ["ack"]);
}

#[test]
fn the_message_of_a_job_that_another_claim_has_is_acknowledged_once() {
    let stale = || Event::Guard(GuardAnswer::Stale(FencingToken(40)));
    let holding = [("inspect", StepMark::Done)];
    for (before, lost) in [
        (vec![], Event::Beat(BeatAnswer::Lost)),
        (vec![], Event::Beat(BeatAnswer::Done(Phase::Cancelled))),
        (vec![Event::Tick], Event::Logged(BeatAnswer::Lost)),
        (vec![Event::Stop], Event::Settled(SettleAnswer::Lost)),
        (vec![], Event::Reasserted(ReassertAnswer::Conflict(JobId::from_key("other")))),
    ] {
        let mut session = session(&[]);
        for event in before {
            session.step(at(1), event);
        }
        assert_eq!(session.step(at(2), lost.clone()), [Action::Ack, Action::End], "{lost:?}");
    }
    let mut fenced = session(&holding);
    fenced.step(at(1), Event::Tick);
    fenced.step(at(1), stale());
    let lost = Event::Refenced(RefenceAnswer::Lost);
    assert_eq!(fenced.step(at(2), lost), [Action::Ack, Action::End]);

    let mut accepted = session(&[]);
    play_until_copy(&mut accepted);
    let lost = Event::Beat(BeatAnswer::Lost);
    assert_eq!(accepted.step(at(2), lost), [Action::Abort, Action::End]);
}

#[test]
fn what_cannot_be_taken_back_beside_another_job_waits_without_counting() {
    let busy = Fault::new(FaultClass::Busy, FaultCode::VmBusy, "another job has the VM", "");
    let mut last = job(&[("inspect", StepMark::Done), ("check", StepMark::Planned)]);
    (last.attempt, last.cancel_requested) = (5, true);
    let mut session = Session::new(last, PLAN.to_vec(), Pace::default(), at(0));
    let trace = play(&mut session, Some((Action::Undo(3), Event::UndoFailed(busy))));
    assert_eq!(trace, ["undo check", "abort", "hand over keep=true counts=false", "ack"]);
}

#[test]
fn a_stale_token_is_lifted_and_the_hold_asked_again() {
    let stale = Some((Action::Hold, Event::Guard(GuardAnswer::Stale(FencingToken(40)))));
    let mut session = session(&[]);
    let trace = play(&mut session, stale);
    assert_eq!(session.job().fence, FencingToken(41));
    assert_eq!(trace[1..4], ["hold", "refence 40", "hold"]);
    assert_eq!(trace.last().map(String::as_str), Some("succeeded"));
}

#[test]
fn a_vm_held_by_another_job_on_the_host_makes_the_job_wait_with_its_lock() {
    let other = JobId::from_key("other");
    let busy = Some((Action::Hold, Event::Guard(GuardAnswer::Busy(other))));
    let trace = play(&mut session(&[]), busy);
    assert_eq!(trace, ["run inspect", "hold", "hand over keep=true counts=false", "ack"]);
}

#[test]
fn an_unreachable_host_with_leavings_keeps_the_lock_and_is_waited_for_without_end() {
    let marks = [("inspect", StepMark::Done), ("export", StepMark::Planned)];
    let unreachable = || Some((Action::Hold, Event::HostFault(transient())));
    let trace = play(&mut session(&marks), unreachable());
    assert_eq!(trace, ["hold", "hand over keep=true counts=true", "ack"]);
    let mut last = job(&marks);
    last.attempt = 5;
    let mut session = Session::new(last.clone(), PLAN.to_vec(), Pace::default(), at(0));
    let trace = play(&mut session, unreachable());
    assert_eq!(trace, ["hold", "hand over keep=true counts=false", "ack"]);
    let refused = Fault::permanent(FaultCode::PermissionDenied, "no", "");
    let mut session = Session::new(last, PLAN.to_vec(), Pace::default(), at(0));
    let trace = play(&mut session, Some((Action::Hold, Event::HostFault(refused))));
    assert_eq!(trace, ["hold", "needs operator", "ack"]);
}

#[test]
fn a_host_that_is_not_known_any_more_fails_the_job_unless_something_may_be_on_it() {
    let gone = || Fault::permanent(FaultCode::HostNotFound, "no host", "");
    let settled = |session: &mut Session| session.step(at(1), Event::HostFault(gone()));
    let fresh = settled(&mut session(&[]));
    assert_eq!(fresh, [Action::Finish(Outcome::Failed(gone()))]);
    let dirty = settled(&mut session(&[("export", StepMark::Planned)]));
    assert_eq!(dirty, [Action::Finish(Outcome::NeedsOperator(gone()))]);
    let marks: Vec<_> = PLAN.iter().map(|step| (step.name, StepMark::Done)).collect();
    assert_eq!(settled(&mut session(&marks)), [Action::Finish(Outcome::Succeeded)]);
}

#[test]
fn attempts_that_ran_out_undo_no_finished_work() {
    let marks: Vec<_> = PLAN.iter().map(|step| (step.name, StepMark::Done)).collect();
    let mut complete = job(&marks);
    complete.attempt = 6;
    let mut session = Session::new(complete, PLAN.to_vec(), Pace::default(), at(0));
    assert_eq!(play(&mut session, None), ["succeeded", "ack"]);

    let mut plan = PLAN.to_vec();
    plan[4] = plan[4].keeping_rest();
    let mut last_open = job(&marks[..4]);
    last_open.attempt = 6;
    let mut session = Session::new(last_open, plan, Pace::default(), at(0));
    assert_eq!(play(&mut session, None), ["failed", "ack"]);
}

#[test]
fn a_job_whose_workers_keep_dying_is_undone_and_fails() {
    let mut poisoned = job(&[("inspect", StepMark::Done), ("export", StepMark::Planned)]);
    poisoned.attempt = 6;
    let mut session = Session::new(poisoned, PLAN.to_vec(), Pace::default(), at(0));
    let trace = play(&mut session, None);
    assert_eq!(trace.last().map(String::as_str), Some("failed"));
    assert!(trace.contains(&"undo export".to_owned()));
    let mut asked = job(&[("inspect", StepMark::Done), ("export", StepMark::Planned)]);
    (asked.attempt, asked.cancel_requested) = (6, true);
    let mut session = Session::new(asked, PLAN.to_vec(), Pace::default(), at(0));
    assert_eq!(play(&mut session, None).last().map(String::as_str), Some("cancelled"));
}

#[test]
fn a_shutdown_hands_the_job_over_without_counting_the_attempt() {
    let mut session = session(&[]);
    play_until_copy(&mut session);
    let actions = session.step(at(2), Event::Stop);
    let how = HandOver { not_before: at(2), fault: None, keep: true, counts: false };
    assert_eq!(actions, [Action::Abort, Action::HandOver(how)]);
    let settled = Event::Settled(SettleAnswer::Settled { woken: vec![] });
    assert_eq!(session.step(at(2), settled), [Action::End]);
}

#[test]
fn a_wiped_store_is_told_and_the_work_goes_on() {
    let marks: Vec<_> = PLAN.iter().map(|step| (step.name, StepMark::Done)).collect();
    let wiped = Some((Action::Finish(Outcome::Succeeded), Event::Settled(SettleAnswer::Unknown)));
    let trace = play(&mut session(&marks), wiped);
    assert_eq!(trace, ["succeeded", "reassert", "succeeded", "ack"]);
}

#[test]
fn a_broken_hold_aborts_the_step_and_goes_back() {
    let mut session = session(&[]);
    play_until_copy(&mut session);
    assert_eq!(session.step(at(2), Event::HoldLost), [Action::Abort, Action::Hold]);
    let trace = {
        let actions = session.step(at(3), Event::Guard(GuardAnswer::Started));
        actions.into_iter().next()
    };
    assert_eq!(trace, Some(Action::Undo(2)));
}
