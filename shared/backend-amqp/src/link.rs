//! Keeps a session with the server: logs in when it is first wanted, notices its end, tells once, and logs in
//! again.
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
/// How long for the first one.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// Whether the server can be used now.
#[derive(Clone)]
pub(crate) enum State {
    /// Nobody wanted it so far, or the first login is under way.
    New,
    Up(Arc<Session>),
    Down(Trouble),
}

/// A session with the server, for as long as this lives.
pub(crate) struct Link {
    target: Arc<Target>,
    state: watch::Receiver<State>,
    wanted: CancellationToken,
    stop: CancellationToken,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Link {
    /// A link that logs in when it is first used.
    pub(crate) fn new(target: Target) -> Self {
        let target = Arc::new(target);
        let (tell, state) = watch::channel(State::New);
        let (wanted, stop) = (CancellationToken::new(), CancellationToken::new());
        let keeper = Keeper { target: Arc::clone(&target), tell, stop: stop.clone() };
        tokio::spawn(keeper.run(wanted.clone()));
        Self { target, state, wanted, stop }
    }

    /// The server, for people.
    pub(crate) fn server(&self) -> &str {
        &self.target.server
    }

    /// The lanes whose jobs are taken.
    pub(crate) fn lanes(&self) -> &[Lane] {
        &self.target.lanes
    }

    /// The session, now or in a moment. Where the first login fails, its caller is told so at once.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, BackendError> {
        self.wanted.cancel();
        let mut state = self.state.clone();
        let first = matches!(*state.borrow(), State::New);
        let up = |state: &State| matches!(state, State::Up(session) if !session.is_over());
        let settled = |state: &State| if first { !matches!(state, State::New) } else { up(state) };
        let patience = if first { FIRST_PATIENCE } else { PATIENCE };
        if timeout(patience, state.wait_for(settled)).await.is_err() {
            tracing::trace!("still no session");
        }
        match &*state.borrow() {
            State::Up(session) => Ok(Arc::clone(session)),
            State::Down(trouble) => Err(trouble.clone().told(self.server())),
            State::New => Err(Trouble::silent("a login", patience).told(self.server())),
        }
    }

    /// Tells every change. The server is wanted from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.wanted.cancel();
        self.state.clone()
    }
}

struct Keeper {
    target: Arc<Target>,
    tell: watch::Sender<State>,
    stop: CancellationToken,
}

impl Keeper {
    async fn run(self, wanted: CancellationToken) {
        tokio::select! {
            () = wanted.cancelled() => {}
            () = self.stop.cancelled() => return,
        }
        let mut pause = PAUSE_MIN;
        let Some(mut session) = self.first(&mut pause).await else { return };
        let server = &self.target.server;
        loop {
            self.tell.send_replace(State::Up(Arc::clone(&session)));
            let began = Instant::now();
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
            let Some(next) = self.again(number, &mut pause, None).await else { return };
            tracing::info!("{server} is back after {:.1} s", lost.elapsed().as_secs_f64());
            tracing::info!(target: "drs::metric", name = "drs_reconnects_total", backend = "amqp", value = 1);
            session = next;
        }
    }

    /// The first session. Whoever wanted it is told why there is none, so that the log need not.
    async fn first(&self, pause: &mut Duration) -> Option<Arc<Session>> {
        let opened = tokio::select! {
            opened = Session::open(Arc::clone(&self.target), 1) => opened,
            () = self.stop.cancelled() => return None,
        };
        match opened {
            Ok(session) => Some(session),
            Err(trouble) => {
                self.tell.send_replace(State::Down(trouble));
                self.again(1, pause, Some(Instant::now())).await
            }
        }
    }

    /// Tries until it works; `None` when nobody wants it any more. `told` is when a refusal was told last.
    async fn again(
        &self,
        number: u64,
        pause: &mut Duration,
        mut told: Option<Instant>,
    ) -> Option<Arc<Session>> {
        let server = &self.target.server;
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
