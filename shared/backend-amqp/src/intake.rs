//! Taking messages: the gate's decisions carried out on the server.
//!
//! One task owns the gate. Looks and bells have a channel each, since the server answers the requests of one
//! channel one after the other. A channel serves again what comes next, but for that of a bell that was taken
//! off: it ends with its last message, and whatever the server counts as delivered there comes again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drs_model::{JobClass, Lane};
use lapin::Channel;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::gate::{Action, CallerId, Event, Gate};
use crate::hands::{Hands, Held};
use crate::link::State;
use crate::session::Session;
use crate::topology::{self, CLASSES};

mod lookout;

use lookout::Lookout;

/// What the task is told.
pub(crate) enum Input {
    /// A caller asks; it is answered by `reply`.
    Asked { caller: CallerId, classes: Vec<JobClass>, patient: bool, reply: Reply },
    /// Its wait is over, or it is gone.
    Overdue { caller: CallerId },
    /// A session is there, and a first channel.
    Ready { session: Arc<Session>, channel: Channel },
    /// From a session: what it is, and the channel that was used.
    Heard { session: u64, event: Event<Box<Held>>, channel: Option<Channel> },
}

pub(crate) type Reply = oneshot::Sender<Option<Box<Held>>>;

/// The task's own state.
pub(crate) struct Intake {
    lanes: usize,
    names: Vec<Arc<str>>,
    gate: Gate<Box<Held>>,
    waiting: HashMap<CallerId, Reply>,
    asked: usize,
    up: Option<Up>,
    hands: Arc<Hands<Held>>,
    /// To itself, from the tasks that it starts.
    tell: mpsc::UnboundedSender<Input>,
}

/// A session in use.
struct Up {
    session: Arc<Session>,
    spare: Vec<Channel>,
    hanging: HashMap<u64, CancellationToken>,
}

impl Intake {
    /// Runs until the link is gone. Its inputs are bounded by the callers and by what these cause.
    pub(crate) fn start(
        lanes: &[Lane],
        hands: Arc<Hands<Held>>,
        link: watch::Receiver<State>,
    ) -> mpsc::UnboundedSender<Input> {
        let (tell, told) = mpsc::unbounded_channel();
        let named = |class, lane| Arc::from(topology::queue(lane, class));
        let names: Vec<Arc<str>> = CLASSES
            .iter()
            .flat_map(|&class| lanes.iter().map(move |lane| named(class, lane)))
            .collect();
        let gate = Gate::new(names.len());
        let waiting = HashMap::new();
        let (up, asked) = (None, 0);
        let lanes = lanes.len();
        let intake = Self { lanes, names, gate, waiting, asked, up, hands, tell: tell.clone() };
        tokio::spawn(intake.run(link, told));
        tell
    }

    async fn run(
        mut self,
        mut link: watch::Receiver<State>,
        mut told: mpsc::UnboundedReceiver<Input>,
    ) {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        link.mark_changed();
        loop {
            tokio::select! {
                changed = link.changed() => match changed {
                    Ok(()) => {
                        let state = link.borrow_and_update().clone();
                        self.link_changed(state);
                    }
                    Err(_) => return,
                },
                input = told.recv() => match input {
                    Some(input) => self.take(input),
                    None => return,
                },
                _ = second.tick() => {
                    self.hands.drop_overdue(Instant::now());
                    self.step(Event::Tick);
                }
            }
        }
    }

    fn link_changed(&mut self, state: State) {
        self.up = None;
        let State::Up(session) = state else { return self.step(Event::Down) };
        self.step(Event::Coming);
        let tell = self.tell.clone();
        tokio::spawn(async move {
            match lookout::open(&session).await {
                Ok(channel) => drop(tell.send(Input::Ready { session, channel })),
                // The link tells the end of its session.
                Err(trouble) => tracing::debug!("no messages can be taken: {trouble}"),
            }
        });
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Asked { caller, classes, patient, reply } => {
                let queues = self.order(&classes);
                self.waiting.insert(caller, reply);
                self.step(Event::Asked { caller, queues, patient });
            }
            Input::Overdue { caller } => self.step(Event::Overdue { caller }),
            Input::Ready { session, channel } => {
                if !session.is_over() {
                    self.up = Some(Up { session, spare: vec![channel], hanging: HashMap::new() });
                    self.step(Event::Up);
                }
            }
            Input::Heard { session, event, channel } => {
                // What an earlier session still tells is void: the server hands it out again.
                if let Some(up) = &mut self.up
                    && up.session.number == session
                {
                    up.spare.extend(channel);
                    if let Event::Rang { bell, .. } = &event {
                        up.hanging.remove(bell);
                    }
                    self.step(event);
                }
            }
        }
    }

    /// The queues of some classes, the most urgent first. Within a class each lane is first in its turn.
    fn order(&mut self, classes: &[JobClass]) -> Vec<usize> {
        let lanes = self.lanes;
        self.asked += 1;
        let first = self.asked;
        let asked = CLASSES.iter().enumerate().filter(|(_, class)| classes.contains(class));
        let of_class = |(rank, _)| (0..lanes).map(move |i| rank * lanes + (first + i) % lanes);
        asked.flat_map(of_class).collect()
    }

    fn step(&mut self, event: Event<Box<Held>>) {
        for action in self.gate.step(event) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action<Box<Held>>) {
        match action {
            // A message that does not reach its caller goes back as it is dropped.
            Action::Give { caller, message } => self.answer(caller, Some(message)),
            Action::Dismiss { caller } => self.answer(caller, None),
            Action::GiveBack { message } => drop(message),
            Action::Look { queue, look } => {
                if let Some(lookout) = self.lookout(queue) {
                    tokio::spawn(lookout.look(look));
                }
            }
            Action::Hang { queue, bell } => {
                if let Some(lookout) = self.lookout(queue)
                    && let Some(up) = &mut self.up
                {
                    let taken_off = CancellationToken::new();
                    up.hanging.insert(bell, taken_off.clone());
                    tokio::spawn(lookout.hang(bell, taken_off));
                }
            }
            Action::TakeOff { bell } => {
                if let Some(bell) = self.up.as_mut().and_then(|up| up.hanging.remove(&bell)) {
                    bell.cancel();
                }
            }
        }
    }

    fn answer(&mut self, caller: CallerId, message: Option<Box<Held>>) {
        if let Some(reply) = self.waiting.remove(&caller)
            && reply.send(message).is_err()
        {
            tracing::trace!(caller, "gone before its answer");
        }
    }

    fn lookout(&mut self, queue: usize) -> Option<Lookout> {
        let up = self.up.as_mut()?;
        Some(Lookout {
            session: Arc::clone(&up.session),
            spare: up.spare.pop(),
            queue,
            name: Arc::clone(&self.names[queue]),
            tell: self.tell.clone(),
        })
    }
}
