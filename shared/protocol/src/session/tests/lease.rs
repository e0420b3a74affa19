//! Renewing the lease, and the token under which it is held.

use super::*;

#[test]
fn the_lease_is_renewed_on_time() {
    let mut session = session(&[]);
    session.step(at(1), Event::Tick);
    assert!(!session.step(at(19), Event::Tick).contains(&Action::Beat { accepted: false }));
    assert!(session.step(at(20), Event::Tick).contains(&Action::Beat { accepted: false }));
    assert_eq!(session.next_tick(), at(40));
    let done = Event::Beat(BeatAnswer::Done(Phase::Cancelled));
    assert_eq!(session.step(at(21), done), [Action::Ack, Action::End]);
}

#[test]
fn a_renewal_that_failed_is_asked_for_again_soon_and_then_at_leisure() {
    let beats = |actions: Vec<Action>| actions.contains(&Action::Beat { accepted: false });
    let mut session = session(&[]);
    session.step(at(1), Event::Tick);
    assert!(beats(session.step(at(20), Event::Tick)));
    let mut now = 20;
    for pause in [1, 2, 4, 8, 16, 20, 20] {
        assert!(!beats(session.step(at(now), Event::BeatFailed)));
        assert_eq!(session.next_tick(), at(now + pause));
        now += pause;
        assert!(beats(session.step(at(now), Event::Tick)));
    }
    let kept = Event::Beat(BeatAnswer::Kept { cancel: false });
    assert!(!beats(session.step(at(now), kept)));
    assert_eq!(session.next_tick(), at(now + 20));
    session.step(at(now + 1), Event::BeatFailed);
    assert_eq!(session.next_tick(), at(now + 2), "each failure by itself is asked again soon");
}

#[test]
fn a_cancel_that_was_read_says_nothing_about_the_lease() {
    let mut session = session(&[]);
    session.step(at(1), Event::Tick);
    let mut now = 20;
    session.step(at(now), Event::Tick);
    for pause in [1, 2, 4, 8] {
        session.step(at(now), Event::BeatFailed);
        session.step(at(now), Event::CancelAsked);
        assert_eq!(session.next_tick(), at(now + pause));
        now += pause;
        session.step(at(now), Event::Tick);
    }
}

#[test]
fn a_clock_that_is_put_back_keeps_no_lease_waiting() {
    let mut session = Session::new(job(&[]), PLAN.to_vec(), Pace::default(), at(3600));
    session.step(at(3600), Event::Tick);
    session.step(at(7), Event::Tick);
    assert_eq!(session.next_tick(), at(27));
    assert!(session.step(at(27), Event::Tick).contains(&Action::Beat { accepted: false }));
}

#[test]
fn a_store_that_forgot_a_job_whose_token_is_stale_is_told_of_it_first() {
    let mut session = session(&[("inspect", StepMark::Done)]);
    assert_eq!(session.step(at(1), Event::Tick), [Action::Hold]);
    let stale = || Event::Guard(GuardAnswer::Stale(FencingToken(40)));
    let refence = [Action::Refence(FencingToken(40))];
    assert_eq!(session.step(at(1), stale()), refence);
    let unknown = Event::Refenced(RefenceAnswer::Unknown);
    assert_eq!(session.step(at(2), unknown), [Action::Reassert]);
    let restored = Event::Reasserted(ReassertAnswer::Restored);
    assert_eq!(session.step(at(3), restored), [Action::Hold]);
    assert_eq!(session.step(at(3), stale()), refence);
    let fenced = Event::Refenced(RefenceAnswer::Fenced(FencingToken(41)));
    assert_eq!(session.step(at(4), fenced), [Action::Hold]);
    let started = Event::Guard(GuardAnswer::Started);
    assert!(session.step(at(5), started).contains(&Action::Ack));
}

#[test]
fn a_store_that_learnt_of_a_job_by_its_beat_is_asked_for_one_token_only() {
    let mut session = session(&[("inspect", StepMark::Done)]);
    session.step(at(1), Event::Tick);
    let stale = Event::Guard(GuardAnswer::Stale(FencingToken(40)));
    assert_eq!(session.step(at(1), stale), [Action::Refence(FencingToken(40))]);
    let unknown = Event::Beat(BeatAnswer::Unknown);
    assert_eq!(session.step(at(2), unknown), [Action::Reassert]);
    let restored = Event::Reasserted(ReassertAnswer::Restored);
    assert_eq!(session.step(at(3), restored), [], "the answer to the first question is awaited");
    let fenced = Event::Refenced(RefenceAnswer::Fenced(FencingToken(41)));
    assert_eq!(session.step(at(4), fenced), [Action::Hold]);
}

#[test]
fn no_beat_is_told_under_a_token_that_is_being_replaced() {
    let mut session = session(&[("inspect", StepMark::Done)]);
    session.step(at(19), Event::Tick);
    let stale = Event::Guard(GuardAnswer::Stale(FencingToken(40)));
    session.step(at(19), stale);
    assert_eq!(session.step(at(20), Event::Tick), []);
    assert!(session.next_tick() > at(20), "nobody spins meanwhile");
    assert_eq!(session.step(at(20), Event::Beat(BeatAnswer::Lost)), [], "it crossed the question");
    let fenced = Event::Refenced(RefenceAnswer::Fenced(FencingToken(41)));
    let actions = session.step(at(22), fenced);
    assert_eq!(actions, [Action::Hold, Action::Beat { accepted: false }]);
}
