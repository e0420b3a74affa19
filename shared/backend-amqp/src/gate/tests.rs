use super::*;

// Queues of one lane.
const CRITICAL: usize = 0;
const NORMAL: usize = 1;
const BULK: usize = 2;

/// A server with queues, and the gate in front of it. What the gate asks for is done at once unless a test
/// holds it.
struct World {
    gate: Gate<&'static str>,
    queues: [Vec<&'static str>; 3],
    hung: BTreeMap<u64, usize>,
    given: Vec<(CallerId, &'static str)>,
    dismissed: Vec<CallerId>,
    returned: Vec<&'static str>,
    looks: usize,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            gate: Gate::new(3),
            queues: Default::default(),
            hung: BTreeMap::new(),
            given: Vec::new(),
            dismissed: Vec::new(),
            returned: Vec::new(),
            looks: 0,
        };
        world.happens(Event::Up);
        world
    }

    fn asks(&mut self, caller: CallerId, queues: &[usize]) {
        self.happens(Event::Asked { caller, queues: queues.to_vec(), patient: true });
    }

    fn hurries(&mut self, caller: CallerId, queues: &[usize]) {
        self.happens(Event::Asked { caller, queues: queues.to_vec(), patient: false });
    }

    /// A message comes; a bell on its queue takes it.
    fn comes(&mut self, queue: usize, message: &'static str) {
        let bell = self.hung.iter().find(|(_, at)| **at == queue).map(|(&bell, _)| bell);
        match bell {
            Some(bell) => {
                self.hung.remove(&bell);
                self.happens(Event::Rang { queue, bell, message: Some(message) });
            }
            None => self.queues[queue].push(message),
        }
    }

    fn happens(&mut self, event: Event<&'static str>) {
        let actions = self.gate.step(event);
        for action in actions {
            self.does(action);
        }
    }

    fn does(&mut self, action: Action<&'static str>) {
        match action {
            Action::Look { queue, look } => {
                self.looks += 1;
                let found = self.look(queue);
                self.happens(Event::Looked { queue, look, found });
            }
            Action::Hang { queue, bell } => {
                assert!(!self.hung.values().any(|at| *at == queue), "two bells on one queue");
                self.hung.insert(bell, queue);
                if !self.queues[queue].is_empty() {
                    let message = self.queues[queue].remove(0);
                    self.comes(queue, message);
                }
            }
            Action::TakeOff { bell } => {
                self.hung.remove(&bell).expect("a bell that hangs");
            }
            Action::Give { caller, message } => self.given.push((caller, message)),
            Action::Dismiss { caller } => self.dismissed.push(caller),
            Action::GiveBack { message } => self.returned.push(message),
        }
    }

    fn look(&mut self, queue: usize) -> Found<&'static str> {
        if self.queues[queue].is_empty() {
            return Found::Nothing;
        }
        let message = self.queues[queue].remove(0);
        Found::Message { message, left: self.queues[queue].len() }
    }
}

#[test]
fn the_most_urgent_queue_is_searched_first() {
    let mut world = World::new();
    world.queues = [vec!["c"], vec!["n"], vec!["b"]];
    for caller in 1..=3 {
        world.asks(caller, &[CRITICAL, NORMAL, BULK]);
    }
    assert_eq!(world.given, [(1, "c"), (2, "n"), (3, "b")]);
}

#[test]
fn only_a_queue_that_is_asked_for_is_searched() {
    let mut world = World::new();
    world.queues[NORMAL] = vec!["n"];
    world.asks(1, &[CRITICAL]);
    world.comes(BULK, "b");
    world.comes(CRITICAL, "c");
    assert_eq!(world.given, [(1, "c")]);
    assert_eq!(world.queues[NORMAL], ["n"]);
    assert_eq!(world.queues[BULK], ["b"]);
}

#[test]
fn who_waits_at_empty_queues_hears_a_bell() {
    let mut world = World::new();
    world.asks(1, &[CRITICAL, NORMAL]);
    assert_eq!(world.hung.len(), 2, "a bell on each queue");
    world.comes(NORMAL, "n");
    assert_eq!(world.given, [(1, "n")]);
    assert!(!world.hung.values().any(|at| *at == NORMAL), "it rings once");
}

#[test]
fn bells_stay_between_the_calls_of_a_slot_and_spare_looks() {
    let mut world = World::new();
    world.asks(1, &[CRITICAL, NORMAL, BULK]);
    let (hung, looks) = (world.hung.clone(), world.looks);
    for caller in 1..100 {
        world.happens(Event::Overdue { caller });
        world.asks(caller + 1, &[CRITICAL, NORMAL, BULK]);
    }
    assert_eq!((world.hung, world.looks), (hung, looks));
    assert_eq!(world.dismissed.len(), 99);
}

#[test]
fn bells_are_taken_off_when_nobody_asks_any_more() {
    let mut world = World::new();
    world.asks(1, &[CRITICAL, NORMAL]);
    world.happens(Event::Overdue { caller: 1 });
    world.happens(Event::Tick);
    assert_eq!(world.hung.len(), 2, "not at once");
    world.happens(Event::Tick);
    assert!(world.hung.is_empty());
}

#[test]
fn a_bell_that_does_not_ring_is_hung_anew_behind_a_look() {
    let mut world = World::new();
    world.asks(1, &[NORMAL]);
    // Nothing rings for it any more: the message lies in the queue beside it.
    world.queues[NORMAL].push("a");
    for _ in 0..=RENEWAL {
        assert_eq!(world.given, []);
        world.happens(Event::Tick);
    }
    assert_eq!(world.given, [(1, "a")]);
    let looks = world.looks;
    world.asks(2, &[NORMAL]);
    assert_eq!((world.looks, world.hung.len()), (looks + 1, 1), "it waits behind a bell again");
}

#[test]
fn a_bell_that_rings_for_nobody_gives_its_message_back_and_is_gone() {
    let mut world = World::new();
    world.asks(1, &[NORMAL]);
    world.happens(Event::Overdue { caller: 1 });
    world.comes(NORMAL, "n");
    assert_eq!(world.returned, ["n"]);
    assert!(world.hung.is_empty());
    world.queues[NORMAL] = vec!["n"];
    world.asks(2, &[NORMAL]);
    assert_eq!(world.given, [(2, "n")], "the next one looks");
}

#[test]
fn behind_a_bell_the_other_callers_look_for_more() {
    let mut world = World::new();
    for caller in 1..=4 {
        world.asks(caller, &[NORMAL]);
    }
    world.queues[NORMAL] = vec!["2", "3", "4"];
    world.comes(NORMAL, "1");
    assert_eq!(world.given, [(1, "1"), (2, "2"), (3, "3"), (4, "4")]);
}

#[test]
fn a_caller_in_a_hurry_looks_for_itself_and_is_sent_away() {
    let mut world = World::new();
    world.asks(1, &[NORMAL]);
    let looks = world.looks;
    world.hurries(2, &[CRITICAL, NORMAL]);
    assert_eq!(world.looks, looks + 2, "no bell is trusted");
    assert_eq!(world.dismissed, [2]);
    world.queues[BULK] = vec!["b"];
    world.hurries(3, &[BULK]);
    assert_eq!(world.given, [(3, "b")]);
    assert!(!world.hung.values().any(|at| *at == BULK), "and leaves no bell");
}

#[test]
fn an_empty_look_tells_only_who_asked_before_it_began() {
    let mut gate: Gate<&str> = Gate::new(1);
    gate.step(Event::Up);
    let ask = |caller| Event::Asked { caller, queues: vec![0], patient: false };
    assert_eq!(gate.step(ask(1)), [Action::Look { queue: 0, look: 1 }]);
    assert_eq!(gate.step(ask(2)), [], "an empty queue is looked into once at a time");
    let nothing = Event::Looked { queue: 0, look: 1, found: Found::Nothing };
    let actions = gate.step(nothing);
    assert_eq!(actions, [Action::Look { queue: 0, look: 2 }, Action::Dismiss { caller: 1 }]);
}

#[test]
fn looks_follow_what_is_asked_for_and_what_is_left() {
    let mut gate: Gate<&str> = Gate::new(1);
    gate.step(Event::Up);
    for caller in 1..=100 {
        gate.step(Event::Asked { caller, queues: vec![0], patient: true });
    }
    let found = |left| Found::Message { message: "m", left };
    let actions = gate.step(Event::Looked { queue: 0, look: 1, found: found(5) });
    let looks = actions.iter().filter(|action| matches!(action, Action::Look { .. })).count();
    assert_eq!(looks, 5);
    let actions = gate.step(Event::Looked { queue: 0, look: 2, found: found(10_000) });
    let looks = actions.iter().filter(|action| matches!(action, Action::Look { .. })).count();
    assert_eq!(looks + 4, LOOKS_MAX);
}

#[test]
fn what_nobody_understands_does_not_end_the_search() {
    let mut gate: Gate<&str> = Gate::new(1);
    gate.step(Event::Up);
    gate.step(Event::Asked { caller: 1, queues: vec![0], patient: true });
    let unfit = Event::Looked { queue: 0, look: 1, found: Found::Unfit };
    assert_eq!(gate.step(unfit), [Action::Look { queue: 0, look: 2 }]);
    let nothing = Event::Looked { queue: 0, look: 2, found: Found::Nothing };
    assert_eq!(gate.step(nothing), [Action::Hang { queue: 0, bell: 3 }]);
    let unfit = Event::Rang { queue: 0, bell: 3, message: None };
    assert_eq!(gate.step(unfit), [Action::Look { queue: 0, look: 4 }]);
}

#[test]
fn what_a_look_finds_for_a_caller_that_got_its_message_elsewhere_goes_back() {
    let mut gate: Gate<&str> = Gate::new(2);
    gate.step(Event::Up);
    gate.step(Event::Asked { caller: 1, queues: vec![0, 1], patient: true });
    gate.step(Event::Looked { queue: 0, look: 1, found: Found::Nothing });
    // Looks into queue 1; meanwhile the bell on queue 0 rings.
    let rang = gate.step(Event::Rang { queue: 0, bell: 2, message: Some("c") });
    assert_eq!(rang, [Action::Give { caller: 1, message: "c" }]);
    let found = Found::Message { message: "n", left: 0 };
    let late = gate.step(Event::Looked { queue: 1, look: 3, found });
    assert_eq!(late, [Action::GiveBack { message: "n" }]);
}

#[test]
fn without_a_server_callers_wait_their_time_and_go_on_when_it_is_back() {
    let mut world = World::new();
    world.asks(1, &[NORMAL]);
    world.asks(2, &[NORMAL]);
    world.happens(Event::Down);
    world.hung.clear();
    world.happens(Event::Overdue { caller: 1 });
    assert_eq!(world.dismissed, [1]);
    world.hurries(3, &[NORMAL]);
    assert_eq!(world.dismissed, [1, 3]);
    world.happens(Event::Coming);
    world.hurries(4, &[NORMAL]);
    assert_eq!(world.dismissed, [1, 3], "it is about to be ready");
    world.queues[NORMAL] = vec!["n"];
    world.happens(Event::Up);
    assert_eq!(world.given, [(2, "n")]);
    assert_eq!(world.dismissed, [1, 3, 4]);
}

#[test]
fn a_server_that_does_not_answer_keeps_nobody_for_long() {
    let mut gate: Gate<&str> = Gate::new(1);
    gate.step(Event::Up);
    gate.step(Event::Asked { caller: 1, queues: vec![0], patient: true });
    gate.step(Event::Overdue { caller: 1 });
    let ticks: Vec<_> = (0..=PATIENCE).flat_map(|_| gate.step(Event::Tick)).collect();
    assert_eq!(ticks, [Action::Dismiss { caller: 1 }]);
}

/// Random callers and messages: every message is given out once, none to a caller that did not ask for it
/// or twice to one, and at the end nobody is left waiting beside a message.
#[test]
fn whatever_happens_nothing_is_lost_and_nobody_waits_in_vain() {
    const NAMES: [&str; 3] = ["c", "n", "b"];
    for seed in 1..=200_u64 {
        let mut state = seed;
        let mut chance = |n: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let mut world = World::new();
        let (mut came, mut asked) = ([0; 3], BTreeMap::new());
        for caller in 1..300 {
            match chance(6) {
                0 | 1 => {
                    let queue = chance(3) as usize;
                    came[queue] += 1;
                    world.comes(queue, NAMES[queue]);
                }
                2 => world.happens(Event::Tick),
                3 => world.happens(Event::Overdue { caller: chance(caller) }),
                _ => {
                    let queues: &[usize] = if chance(3) == 0 { &[0] } else { &[0, 1, 2] };
                    asked.insert(caller, queues);
                    world.asks(caller, queues);
                }
            }
            // What goes back is in its queue again.
            for message in std::mem::take(&mut world.returned) {
                let queue = NAMES.iter().position(|name| *name == message).expect("a name");
                world.comes(queue, message);
            }
        }
        let mut gone = [0; 3];
        let mut served = std::collections::BTreeSet::new();
        for (caller, message) in &world.given {
            let queue = NAMES.iter().position(|name| name == message).expect("a name");
            gone[queue] += 1;
            assert!(asked[caller].contains(&queue), "seed {seed}: a class nobody asked for");
            assert!(served.insert(*caller), "seed {seed}: two messages for one caller");
        }
        for queue in 0..3 {
            assert_eq!(came[queue], gone[queue] + world.queues[queue].len(), "seed {seed}");
            let waits = world.gate.callers.values().any(|caller| caller.queues.contains(&queue));
            assert!(
                !waits || world.queues[queue].is_empty(),
                "seed {seed}: waits beside a message"
            );
        }
    }
}
