//! Runs the leader of [`drs_protocol::leader`] against the store.

use drs_backend::Backend;
use drs_model::{SignedDuration, Timestamp};
use drs_protocol::leader::{Action, Event, Leader, LeaderPace, Trust};
use drs_runtime::clock;
use tokio::sync::watch;

/// Tells what time it is.
pub(crate) type Clock<'a> = &'a (dyn Fn() -> Timestamp + Sync);

/// One candidate.
pub(crate) struct Leadership {
    name: String,
    backend: Backend,
    leader: Leader,
    trust: watch::Sender<Option<Trust>>,
}

impl Leadership {
    pub(crate) fn new(
        name: String,
        lease: SignedDuration,
        backend: Backend,
        now: Timestamp,
    ) -> Self {
        let leader = Leader::new(LeaderPace::of(lease), now);
        Self { name, backend, leader, trust: watch::Sender::new(None) }
    }

    /// The term that is led now. Whoever acts on it looks whether it still holds.
    pub(crate) fn trust(&self) -> watch::Receiver<Option<Trust>> {
        self.trust.subscribe()
    }

    pub(crate) async fn run(&mut self) {
        loop {
            self.happened(&clock::now, Event::Tick).await;
            clock::until(self.leader.next_tick()).await;
        }
    }

    pub(crate) async fn resign(&mut self, now: Clock<'_>) {
        self.happened(now, Event::Stop).await;
    }

    pub(crate) async fn happened(&mut self, now: Clock<'_>, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.leader.step(now(), event) {
                events.extend(self.perform(now, action).await);
            }
        }
    }

    async fn perform(&self, now: Clock<'_>, action: Action) -> Option<Event> {
        match action {
            Action::Ask(term) => {
                let answer = self.backend.store.lead(now(), &self.name, term).await;
                Some(answer.map_or_else(
                    |error| {
                        tracing::warn!(%error, "cannot ask to lead, trying again");
                        Event::Unanswered
                    },
                    Event::Answered,
                ))
            }
            Action::Lead(trust) => {
                let before = self.trust.send_replace(Some(trust));
                if before.is_none_or(|before| before.term != trust.term) {
                    tracing::info!(scheduler = self.name, term = trust.term, "leads");
                    tracing::info!(target: "drs::metric", name = "drs_leader", value = 1);
                }
                None
            }
            Action::StepDown => {
                self.trust.send_replace(None);
                tracing::info!(scheduler = self.name, "leads no more");
                tracing::info!(target: "drs::metric", name = "drs_leader", value = 0);
                None
            }
            Action::Resign => {
                if let Err(error) = self.backend.store.resign(now(), &self.name).await {
                    tracing::warn!(%error, "the term of this scheduler runs out by itself");
                }
                None
            }
        }
    }
}
