//! One scheduler of many: asks to lead, trusts its term for a while, steps down in time.
//!
//! A leader trusts its term from the moment at which it *asked* for it, for the length of the term
//! less a margin. The store counts from the moment at which it answered, which is later: whoever is
//! paused, or waits long for an answer, stops trusting before another can lead. A process that is
//! paused between a look at its trust and what it does then may still act late; therefore nothing but
//! effort rests on leadership.

use drs_model::{SignedDuration, Timestamp};

use crate::store::LeadAnswer;

/// How long a term is, and how it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderPace {
    /// Length of a term.
    pub term: SignedDuration,
    /// How long before its end a term is trusted no more.
    pub margin: SignedDuration,
    /// Time between two requests to lead.
    pub ask_every: SignedDuration,
}

impl LeaderPace {
    /// Three requests in a term, and a fifth of it as margin.
    #[must_use]
    pub fn of(term: SignedDuration) -> Self {
        Self { term, margin: term / 5, ask_every: term / 3 }
    }
}

/// A term as far as its leader trusts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    /// The number of the term.
    pub term: u64,
    /// From when on it is trusted no more.
    pub until: Timestamp,
}

impl Trust {
    /// Whether it is trusted at a time.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The store answered to `Ask`.
    Answered(LeadAnswer),
    /// The store did not answer to `Ask`.
    Unanswered,
    /// The process is to end.
    Stop,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Call `lead` with this length of a term.
    Ask(SignedDuration),
    /// Act as the leader while that holds.
    Lead(Trust),
    /// Act as the leader no more.
    StepDown,
    /// Call `resign`.
    Resign,
}

/// One candidate.
#[derive(Debug, Clone)]
pub struct Leader {
    pace: LeaderPace,
    trust: Option<Trust>,
    /// When the question was asked that is not answered yet.
    asked: Option<Timestamp>,
    next_ask: Timestamp,
    stopped: bool,
}

impl Leader {
    /// One that asks at once.
    #[must_use]
    pub fn new(pace: LeaderPace, now: Timestamp) -> Self {
        Self { pace, trust: None, asked: None, next_ask: now, stopped: false }
    }

    /// When the next `Tick` is wanted.
    #[must_use]
    pub fn next_tick(&self) -> Timestamp {
        self.trust.map_or(self.next_ask, |trust| trust.until.min(self.next_ask))
    }

    /// Takes what happened, returns what to do, in order.
    pub fn step(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.set_back(now);
        match event {
            Event::Tick => {}
            Event::Answered(LeadAnswer::Leading(term)) => {
                let trusted = |asked| Trust { term: term.number, until: self.trusted_until(asked) };
                let trust = self.asked.map(trusted);
                self.asked = None;
                // An answer that was long on its way is worth nothing any more.
                if let Some(trust) = trust.filter(|trust| trust.holds(now) && !self.stopped) {
                    self.trust = Some(trust);
                    actions.push(Action::Lead(trust));
                }
            }
            Event::Answered(LeadAnswer::Following(_)) => {
                self.asked = None;
                self.step_down(&mut actions);
            }
            Event::Unanswered => self.asked = None,
            Event::Stop => {
                self.stopped = true;
                self.step_down(&mut actions);
                actions.push(Action::Resign);
            }
        }
        if self.trust.is_some_and(|trust| !trust.holds(now)) {
            self.step_down(&mut actions);
        }
        if !self.stopped && self.asked.is_none() && now >= self.next_ask {
            self.asked = Some(now);
            self.next_ask = now + self.pace.ask_every;
            actions.push(Action::Ask(self.pace.term));
        }
        actions
    }

    /// Until when a term is trusted that was asked for at a time.
    fn trusted_until(&self, asked: Timestamp) -> Timestamp {
        asked + self.pace.term - self.pace.margin
    }

    /// A clock that was put back must keep nobody waiting, and no term trusted, for as long as it was wrong.
    fn set_back(&mut self, now: Timestamp) {
        self.next_ask = self.next_ask.min(now + self.pace.ask_every);
        self.asked = self.asked.map(|asked| asked.min(now));
        let latest = self.trusted_until(now);
        self.trust = self.trust.map(|trust| Trust { until: trust.until.min(latest), ..trust });
    }

    fn step_down(&mut self, actions: &mut Vec<Action>) {
        if self.trust.take().is_some() {
            actions.push(Action::StepDown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Term;

    const TERM: SignedDuration = SignedDuration::from_secs(15);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    fn term(leader: &str, number: u64, until: i64) -> Term {
        Term { leader: leader.into(), number, until: at(until) }
    }

    fn leading(number: u64, until: i64) -> Event {
        Event::Answered(LeadAnswer::Leading(term("me", number, until)))
    }

    fn following(until: i64) -> Event {
        Event::Answered(LeadAnswer::Following(term("other", 9, until)))
    }

    /// One that asked at 0 and leads since 1.
    fn leader() -> Leader {
        let mut leader = Leader::new(LeaderPace::of(TERM), at(0));
        assert_eq!(leader.step(at(0), Event::Tick), [Action::Ask(TERM)]);
        let trust = Trust { term: 1, until: at(12) };
        assert_eq!(leader.step(at(1), leading(1, 16)), [Action::Lead(trust)]);
        leader
    }

    #[test]
    fn a_leader_asks_again_long_before_its_trust_ends() {
        let mut leader = leader();
        assert_eq!(leader.next_tick(), at(5));
        assert!(leader.step(at(4), Event::Tick).is_empty());
        assert_eq!(leader.step(at(5), Event::Tick), [Action::Ask(TERM)]);
        let trust = Trust { term: 1, until: at(17) };
        assert_eq!(leader.step(at(6), leading(1, 21)), [Action::Lead(trust)]);
    }

    #[test]
    fn a_leader_whose_store_is_silent_steps_down_before_another_can_lead() {
        let mut leader = leader();
        assert_eq!(leader.step(at(5), Event::Tick), [Action::Ask(TERM)]);
        assert!(leader.step(at(6), Event::Unanswered).is_empty());
        assert_eq!(leader.step(at(10), Event::Tick), [Action::Ask(TERM)]);
        assert_eq!(leader.next_tick(), at(12));
        // The store's own term ends at 16.
        assert_eq!(leader.step(at(12), Event::Tick), [Action::StepDown]);
    }

    #[test]
    fn a_paused_process_that_wakes_after_its_term_does_not_lead() {
        let mut leader = leader();
        let woken = leader.step(at(60), Event::Tick);
        assert_eq!(woken, [Action::StepDown, Action::Ask(TERM)]);
        assert!(leader.step(at(60), following(70)).is_empty());
        assert_eq!(leader.next_tick(), at(65));
    }

    #[test]
    fn an_answer_that_comes_after_its_term_gives_no_trust() {
        let mut leader = Leader::new(LeaderPace::of(TERM), at(0));
        leader.step(at(0), Event::Tick);
        assert_eq!(leader.step(at(12), leading(1, 27)), [Action::Ask(TERM)]);
        let trust = Trust { term: 1, until: at(24) };
        assert_eq!(leader.step(at(13), leading(1, 28)), [Action::Lead(trust)]);
    }

    #[test]
    fn a_clock_that_is_put_back_stops_nobody_and_makes_no_term_longer() {
        let mut leader = Leader::new(LeaderPace::of(TERM), at(3600));
        leader.step(at(3600), Event::Tick);
        leader.step(at(3601), leading(1, 3616));
        assert!(leader.step(at(0), Event::Tick).is_empty());
        assert_eq!(leader.next_tick(), at(5));
        assert_eq!(leader.step(at(5), Event::Tick), [Action::Ask(TERM)]);
        assert!(leader.step(at(6), Event::Unanswered).is_empty());
        assert_eq!(leader.step(at(12), Event::Tick), [Action::StepDown, Action::Ask(TERM)]);
        // The answer to a question that was asked before the clock was put back.
        let mut asking = Leader::new(LeaderPace::of(TERM), at(3600));
        asking.step(at(3600), Event::Tick);
        let trust = Trust { term: 1, until: at(12) };
        assert_eq!(asking.step(at(0), leading(1, 15)), [Action::Lead(trust)]);
    }

    #[test]
    fn one_question_at_a_time() {
        let mut leader = Leader::new(LeaderPace::of(TERM), at(0));
        assert_eq!(leader.step(at(0), Event::Tick).len(), 1);
        assert!(leader.step(at(30), Event::Tick).is_empty());
        assert_eq!(leader.step(at(31), Event::Unanswered), [Action::Ask(TERM)]);
    }

    #[test]
    fn who_loses_to_another_steps_down_at_once() {
        let mut leader = leader();
        leader.step(at(5), Event::Tick);
        assert_eq!(leader.step(at(6), following(20)), [Action::StepDown]);
    }

    #[test]
    fn a_stop_resigns_and_nothing_is_asked_any_more() {
        let mut leader = leader();
        leader.step(at(5), Event::Tick);
        assert_eq!(leader.step(at(6), Event::Stop), [Action::StepDown, Action::Resign]);
        assert!(leader.step(at(7), leading(1, 22)).is_empty());
        assert!(leader.step(at(60), Event::Tick).is_empty());
    }

    #[test]
    fn a_follower_resigns_too_for_its_last_request_may_have_won() {
        let mut follower = Leader::new(LeaderPace::of(TERM), at(0));
        follower.step(at(0), Event::Tick);
        assert_eq!(follower.step(at(1), Event::Stop), [Action::Resign]);
    }
}
