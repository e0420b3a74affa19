//! Who asks for a message, and what is done on the server to find one: a pure state machine.
//!
//! A message leaves the server only for a caller that waits for it, so that none ever waits inside a
//! busy worker. There are two ways to find one, chosen for each queue by itself:
//!
//! - **Look** (`basic.get`) while the queue may hold something. What a look finds belongs to whoever
//!   waits for that class, longest first; an empty look tells everybody who asked before it began. Only
//!   as many looks are under way as callers need, and one alone while the queue seems to be empty.
//! - **Bell** (a consumer with prefetch 1) on a queue that a look found empty, while somebody waits for
//!   it. It rings once: it has ended when its message comes, so it can never hold a second one. It stays
//!   for [`LINGER`] when nobody asks any more, and what it brings then goes back at once. It is hung anew
//!   after [`RENEWAL`], on another channel and with a look before: of a quorum queue that is deleted and made
//!   again at once, RabbitMQ (3.10) hands messages to the consumers of the old one, and sends none of them.
//!
//! A caller's queues are searched in its order (class, then lane), each only when those before it are
//! empty.

use std::collections::BTreeMap;

/// Looks under way at one time.
const LOOKS_MAX: usize = 32;
/// Ticks (of a second) for which a bell stays when nobody asks.
const LINGER: u64 = 1;
/// Ticks after which a bell that did not ring is hung anew.
const RENEWAL: u64 = 30;
/// Ticks for which a caller whose wait is over is kept by a server that does not answer.
const PATIENCE: u64 = 2;

/// Who asks; ids grow.
pub(crate) type CallerId = u64;

/// What happens to the gate.
pub(crate) enum Event<M> {
    /// A server is found, but not ready to be asked: callers wait for it.
    Coming,
    /// The server can be used, and nothing is under way there.
    Up,
    /// It cannot; whatever was under way has failed.
    Down,
    /// Somebody asks for a message of these queues, the best first. `patient`: and waits when there is
    /// none.
    Asked { caller: CallerId, queues: Vec<usize>, patient: bool },
    /// The caller's wait is over: it gets what is on its way, or nothing.
    Overdue { caller: CallerId },
    /// A look has ended.
    Looked { queue: usize, look: u64, found: Found<M> },
    /// A bell has ended; `None` when its message was not fit to be handed out.
    Rang { queue: usize, bell: u64, message: Option<M> },
    /// A second has passed.
    Tick,
}

/// What a look found.
pub(crate) enum Found<M> {
    /// Nothing: the queue is empty.
    Nothing,
    /// A message; so many are left behind it.
    Message { message: M, left: usize },
    /// Something that was not fit to be handed out.
    Unfit,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<M> {
    /// Look into a queue.
    Look { queue: usize, look: u64 },
    /// Hang a bell on a queue.
    Hang { queue: usize, bell: u64 },
    /// Take it off.
    TakeOff { bell: u64 },
    /// The caller gets a message.
    Give { caller: CallerId, message: M },
    /// The caller gets nothing.
    Dismiss { caller: CallerId },
    /// Nobody waits for it: back to where it came from.
    GiveBack { message: M },
}

pub(crate) struct Gate<M> {
    server: Server,
    queues: Vec<Queue>,
    callers: BTreeMap<CallerId, Caller>,
    /// The latest number of a look or a bell.
    latest: u64,
    ticks: u64,
    actions: Vec<Action<M>>,
}

#[derive(PartialEq, Eq)]
enum Server {
    Down,
    Coming,
    Up,
}

#[derive(Default, Clone)]
struct Queue {
    bell: Option<u64>,
    /// When the bell was hung.
    hung: u64,
    /// Looks under way.
    looks: usize,
    /// Looks that will probably find something.
    left: usize,
    /// The look that found it empty; 0 when something was seen since.
    empty: u64,
    /// When somebody last waited for it.
    asked: u64,
}

struct Caller {
    queues: Vec<usize>,
    patient: bool,
    /// Since which tick.
    overdue: Option<u64>,
    /// The latest look when it asked: only later ones tell it anything.
    since: u64,
}

impl Caller {
    fn waits(&self) -> bool {
        self.patient && self.overdue.is_none()
    }
}

impl<M> Gate<M> {
    pub(crate) fn new(queues: usize) -> Self {
        let queues = vec![Queue::default(); queues];
        let (callers, actions) = (BTreeMap::new(), Vec::new());
        Self { server: Server::Down, queues, callers, latest: 0, ticks: 0, actions }
    }

    /// Takes an event; what is to be done now, in this order.
    pub(crate) fn step(&mut self, event: Event<M>) -> Vec<Action<M>> {
        match event {
            Event::Up => self.server = Server::Up,
            Event::Coming => self.reset(Server::Coming),
            Event::Down => self.reset(Server::Down),
            Event::Asked { caller, queues, patient } => {
                let since = self.latest;
                // Who does not wait at all is in a hurry from the beginning.
                let overdue = (!patient).then_some(self.ticks);
                self.callers.insert(caller, Caller { queues, patient, overdue, since });
            }
            Event::Overdue { caller } => {
                if let Some(caller) = self.callers.get_mut(&caller) {
                    caller.overdue.get_or_insert(self.ticks);
                }
            }
            Event::Looked { queue, look, found } => self.looked(queue, look, found),
            Event::Rang { queue, bell, message } => self.rang(queue, bell, message),
            Event::Tick => self.ticks += 1,
        }
        match self.server {
            Server::Up => self.search(),
            Server::Coming => {}
            Server::Down => self.dismiss(|caller| !caller.waits()),
        }
        let ticks = self.ticks;
        self.dismiss(|caller| caller.overdue.is_some_and(|since| ticks > since + PATIENCE));
        std::mem::take(&mut self.actions)
    }

    fn reset(&mut self, server: Server) {
        self.server = server;
        self.queues.fill(Queue::default());
    }

    fn looked(&mut self, queue: usize, look: u64, found: Found<M>) {
        let at = &mut self.queues[queue];
        at.looks = at.looks.saturating_sub(1);
        match found {
            Found::Nothing => {
                at.empty = at.empty.max(look);
                at.left = 0;
            }
            Found::Unfit => at.empty = 0,
            Found::Message { message, left } => {
                at.empty = 0;
                at.left = left;
                self.hand_out(queue, message);
            }
        }
    }

    fn rang(&mut self, queue: usize, bell: u64, message: Option<M>) {
        let at = &mut self.queues[queue];
        at.empty = 0;
        if at.bell == Some(bell) {
            at.bell = None;
        }
        if let Some(message) = message {
            self.hand_out(queue, message);
        }
    }

    /// To the caller that waits longest for what this queue holds.
    fn hand_out(&mut self, queue: usize, message: M) {
        let takes = |(_, caller): &(&CallerId, &Caller)| caller.queues.contains(&queue);
        let Some((&caller, _)) = self.callers.iter().find(takes) else {
            return self.actions.push(Action::GiveBack { message });
        };
        self.callers.remove(&caller);
        self.actions.push(Action::Give { caller, message });
    }

    /// Sends callers on to their next queue, hangs and takes off bells, and lets nobody wait in vain.
    fn search(&mut self) {
        self.take_off();
        let mut needed = vec![0; self.queues.len()];
        let mut hang = vec![false; self.queues.len()];
        for caller in self.callers.values() {
            if caller.waits() {
                for &queue in &caller.queues {
                    self.queues[queue].asked = self.ticks;
                }
            }
            for &queue in &caller.queues {
                let at = &self.queues[queue];
                let rings = caller.patient && at.bell.is_some();
                let is_empty = at.empty > caller.since;
                if !rings && !is_empty {
                    needed[queue] += 1;
                    break;
                }
                hang[queue] |= caller.waits() && at.bell.is_none();
            }
        }
        for (queue, hang) in hang.into_iter().enumerate() {
            if hang {
                let bell = self.next_number();
                self.queues[queue].bell = Some(bell);
                self.queues[queue].hung = self.ticks;
                self.actions.push(Action::Hang { queue, bell });
            }
        }
        self.look(&needed);
        let queues = std::mem::take(&mut self.queues);
        self.dismiss(|caller| {
            let is_empty = |&queue: &usize| {
                queues[queue].empty > caller.since || caller.patient && queues[queue].bell.is_some()
            };
            !caller.waits() && caller.queues.iter().all(is_empty)
        });
        self.queues = queues;
    }

    fn look(&mut self, needed: &[usize]) {
        let mut under_way: usize = self.queues.iter().map(|queue| queue.looks).sum();
        for (queue, &needed) in needed.iter().enumerate() {
            while self.queues[queue].looks < needed.min(self.queues[queue].left.max(1))
                && under_way < LOOKS_MAX
            {
                let look = self.next_number();
                self.queues[queue].looks += 1;
                under_way += 1;
                self.actions.push(Action::Look { queue, look });
            }
        }
    }

    fn take_off(&mut self) {
        for at in &mut self.queues {
            let is_over = self.ticks > at.asked + LINGER || self.ticks > at.hung + RENEWAL;
            if is_over && let Some(bell) = at.bell.take() {
                at.empty = 0;
                self.actions.push(Action::TakeOff { bell });
            }
        }
    }

    fn dismiss(&mut self, whom: impl Fn(&Caller) -> bool) {
        let gone: Vec<CallerId> =
            self.callers.iter().filter(|(_, caller)| whom(caller)).map(|(&id, _)| id).collect();
        for caller in gone {
            self.callers.remove(&caller);
            self.actions.push(Action::Dismiss { caller });
        }
    }

    fn next_number(&mut self) -> u64 {
        self.latest += 1;
        self.latest
    }
}

#[cfg(test)]
mod tests;
