//! Keeps a session with the server: notices its end, tells once, and logs in again.
//!
//! The client library's own recovery is not used: after an acknowledgement time-out its consumers hang
//! (seen with 4.12.3). Here every trouble ends the session as a whole, and a new one begins.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use drs_backend::BackendError;
use drs_model::Lane;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Target;
use crate::session::Session;
use crate::trouble::Trouble;

/// Pause before the first new attempt; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A session that lasted this long starts the pauses from the beginning.
const SETTLED: Duration = Duration::from_secs(10);
/// How often a refusal is told again.
const REMIND: Duration = Duration::from_secs(60);
/// How long a caller waits for a session while there is none.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the server can be used now.
#[derive(Clone)]
pub(crate) enum State {
    Up(Arc<Session>),
    Down(Trouble),
}

/// A session with the server, for as long as this lives.
pub(crate) struct Link {
    target: Arc<Target>,
    state: watch::Receiver<State>,
    stop: CancellationToken,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Link {
    pub(crate) async fn open(target: Target) -> Result<Self, BackendError> {
        let target = Arc::new(target);
        let session = Session::open(Arc::clone(&target), 1).await;
        let session = session.map_err(|trouble| trouble.told(&target.server))?;
        let (tell, state) = watch::channel(State::Up(Arc::clone(&session)));
        let stop = CancellationToken::new();
        let keeper = Keeper { target: Arc::clone(&target), tell, stop: stop.clone() };
        tokio::spawn(keeper.run(session));
        Ok(Self { target, state, stop })
    }

    /// The server, for people.
    pub(crate) fn server(&self) -> &str {
        &self.target.server
    }

    /// The lanes whose jobs are taken.
    pub(crate) fn lanes(&self) -> &[Lane] {
        &self.target.lanes
    }

    /// The session, now or in a moment.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, BackendError> {
        let mut state = self.state.clone();
        let up = |state: &State| matches!(state, State::Up(session) if !session.is_over());
        if timeout(PATIENCE, state.wait_for(up)).await.is_err() {
            tracing::trace!("still no session");
        }
        match &*state.borrow() {
            State::Up(session) => Ok(Arc::clone(session)),
            State::Down(trouble) => Err(trouble.clone().told(self.server())),
        }
    }

    /// Tells every change.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

struct Keeper {
    target: Arc<Target>,
    tell: watch::Sender<State>,
    stop: CancellationToken,
}

impl Keeper {
    async fn run(self, mut session: Arc<Session>) {
        let server = &self.target.server;
        let mut pause = PAUSE_MIN;
        let mut began = Instant::now();
        loop {
            tokio::select! {
                () = session.over() => {}
                () = self.stop.cancelled() => return session.close().await,
            }
            let why = session.why();
            self.tell.send_replace(State::Down(why.clone()));
            tracing::warn!("{server} is lost: {why}; trying again");
            let (lost, number) = (Instant::now(), session.number + 1);
            tokio::spawn(async move { session.close().await });
            if began.elapsed() > SETTLED {
                pause = PAUSE_MIN;
            }
            let Some(next) = self.reconnect(number, &mut pause).await else { return };
            tracing::info!("{server} is back after {:.1} s", lost.elapsed().as_secs_f64());
            tracing::info!(target: "drs::metric", name = "drs_reconnects_total", backend = "amqp", value = 1);
            self.tell.send_replace(State::Up(Arc::clone(&next)));
            (session, began) = (next, Instant::now());
        }
    }

    /// Tries until it works; `None` when nobody wants it any more.
    async fn reconnect(&self, number: u64, pause: &mut Duration) -> Option<Arc<Session>> {
        let server = &self.target.server;
        let mut told: Option<Instant> = None;
        loop {
            tokio::select! {
                () = sleep(jittered(*pause)) => {}
                () = self.stop.cancelled() => return None,
            }
            *pause = PAUSE_MAX.min(*pause * 2);
            let trouble = match Session::open(Arc::clone(&self.target), number).await {
                Ok(session) => return Some(session),
                Err(trouble) => trouble,
            };
            tracing::debug!("{server}: {trouble}");
            if let Trouble::Refused { reason, remedy } = &trouble
                && told.is_none_or(|told| told.elapsed() > REMIND)
            {
                told = Some(Instant::now());
                tracing::error!(remedy, "{server} lets nobody in: {reason}; trying on");
            }
            self.tell.send_replace(State::Down(trouble));
        }
    }
}

/// Between half of a pause and all of it, so that many clients do not come back at the same instant.
fn jittered(pause: Duration) -> Duration {
    let chance = RandomState::new().hash_one(0_u8) % 512;
    pause.mul_f64(0.5 + f64::from(u16::try_from(chance).unwrap_or(0)) / 1024.0)
}
