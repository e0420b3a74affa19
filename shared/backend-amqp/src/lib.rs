//! Messages, news and dead letters of the job core on RabbitMQ.
//!
//! One [`AmqpDispatch`] stands behind [`drs_backend::Dispatch`], [`drs_backend::Feed`] and [`drs_backend::DeadLetters`]. What is there on
//! the server is listed in `topology`, how messages are taken in `gate`.
//!
//! # Invariants
//! - A message that was published is on the disks of a majority of the brokers: persistent, mandatory,
//!   confirmed. One that no queue took is an error.
//! - A message leaves its queue only for a worker that waits for it, and goes back at once when there is
//!   none. A worker that asks for critical jobs alone never sees another one.
//! - What cannot be understood never reaches a worker: it is put aside with a reason, and only then
//!   acknowledged.
//! - A message that a worker has is handed out again when its process is gone (at once), gives no sign of
//!   life (after two to three times the heartbeat), or has not acknowledged it in 60 s. Workers acknowledge
//!   as soon as the host has the job, within seconds.
//! - Nothing connects before it is asked for something. The first call is told why there is no connection;
//!   from then on one is sought until there is one.
//! - Trouble of any sort ends both connections; new ones are made with growing pauses (0.1 to 5 s), told once
//!   when they are lost and once when they are back. Meanwhile publishing fails within seconds and
//!   [`drs_backend::Dispatch::next`] gives nothing.
//!
//! # Crash points
//! Behind a publication and before its confirmation: the message may be in, and the sweeper publishes it
//! again. Between delivery and acknowledgement: it comes again, and the claim of its job tells what it
//! is worth. Between the copy of a dead letter and the acknowledgement of its original: there are two of it.
//!
//! Deliberately absent: delays, retries and priorities beyond the three classes. They belong to the store.

mod config;
mod dead;
mod feed;
mod gate;
mod hands;
mod intake;
mod link;
mod message;
mod publisher;
mod session;
mod topology;
mod trouble;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use drs_backend::{BackendError, Delivery, Dispatch};
use drs_model::JobClass;
use drs_protocol::store::JobMessage;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub use config::AmqpConfig;

use config::Target;
use hands::{Hands, Held};
use intake::{Input, Intake};
use link::Link;
use publisher::{Letter, Posted};
use session::Session;
use trouble::Trouble;

/// RabbitMQ behind the ports of the job core. Cheap to clone; the connections are closed when the last
/// clone is gone.
#[derive(Clone)]
pub struct AmqpDispatch {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    hands: Arc<Hands<Held>>,
    /// Begins with the first request for a message.
    intake: OnceLock<mpsc::UnboundedSender<Input>>,
    callers: AtomicU64,
}

impl AmqpDispatch {
    /// RabbitMQ, which is logged in to when it is first asked for something; until then nothing is sent. Must
    /// be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BackendError::Refused`] for an address or certificates that cannot be used.
    pub fn open(config: &AmqpConfig) -> Result<Self, BackendError> {
        let shared = Shared {
            link: Link::new(Target::of(config)?),
            hands: Arc::default(),
            intake: OnceLock::new(),
            callers: AtomicU64::new(1),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Logs in, and makes queues and exchanges that are not there. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// As [`AmqpDispatch::open`] and [`AmqpDispatch::reach`].
    pub async fn connect(config: &AmqpConfig) -> Result<Self, BackendError> {
        let dispatch = Self::open(config)?;
        dispatch.session().await?;
        Ok(dispatch)
    }

    /// The server, as errors name it.
    #[must_use]
    pub fn server(&self) -> &str {
        self.shared.link.server()
    }

    /// Asks the server whether it answers. The first question logs in.
    ///
    /// # Errors
    /// [`BackendError::Refused`] for a user, a virtual host, rights or certificates that do not fit, or queues
    /// that were made with other settings; [`BackendError::Unavailable`] when the server cannot be reached,
    /// within 10 s.
    pub async fn reach(&self) -> Result<(), BackendError> {
        let session = self.session().await?;
        session.greet().await.map_err(|trouble| self.told(trouble))
    }

    async fn session(&self) -> Result<Arc<Session>, BackendError> {
        self.shared.link.session().await
    }

    fn told(&self, trouble: Trouble) -> BackendError {
        trouble.told(self.shared.link.server())
    }

    async fn post(&self, session: &Session, message: &JobMessage) -> Result<(), BackendError> {
        let (body, properties) = message::encode(message)?;
        session.ensure(&message.lane).await.map_err(|trouble| self.told(trouble))?;
        let key = topology::queue(&message.lane, message.class);
        let letter = Letter { exchange: "", key: &key, body: &body, properties };
        match session.publish(letter).await.map_err(|trouble| self.told(trouble))? {
            Posted::Taken => Ok(()),
            Posted::Returned(why) => {
                session.forget(&message.lane).await;
                Err(self.told(Trouble::Away(format!("the queue {key} is gone ({why})"))))
            }
        }
    }

    fn intake(&self) -> &mpsc::UnboundedSender<Input> {
        let shared = &self.shared;
        shared.intake.get_or_init(|| {
            let hands = Arc::clone(&shared.hands);
            Intake::start(shared.link.lanes(), hands, shared.link.watch())
        })
    }
}

#[async_trait]
impl Dispatch for AmqpDispatch {
    async fn publish(&self, message: &JobMessage) -> Result<(), BackendError> {
        let session = self.session().await?;
        self.post(&session, message).await
    }

    async fn next(
        &self,
        classes: &[JobClass],
        wait: Duration,
    ) -> Result<Option<Delivery>, BackendError> {
        let ended = || self.told(Trouble::Away("its intake has ended".to_owned()));
        let caller = self.shared.callers.fetch_add(1, Ordering::Relaxed);
        let (reply, mut answer) = oneshot::channel();
        let (intake, classes) = (self.intake(), classes.to_vec());
        let asked = Input::Asked { caller, classes, patient: !wait.is_zero(), reply };
        intake.send(asked).map_err(|_| ended())?;
        let asking = Asking { caller, intake };
        let answered = match timeout(wait, &mut answer).await {
            Ok(answered) => answered,
            Err(_) => {
                drop(asking);
                answer.await
            }
        };
        let held = answered.map_err(|_| ended())?;
        Ok(held.map(|held| {
            let message = held.message.clone();
            Delivery { message, tag: self.shared.hands.take(Instant::now(), *held) }
        }))
    }

    async fn ack(&self, delivery: Delivery) -> Result<(), BackendError> {
        match self.shared.hands.release(delivery.tag) {
            Some(held) => held.acknowledge().await.map_err(|trouble| self.told(trouble)),
            None => {
                tracing::debug!(job = %delivery.message.id, "acknowledged too late: it comes again");
                Ok(())
            }
        }
    }

    async fn give_back(&self, delivery: Delivery) -> Result<(), BackendError> {
        // It goes back as it is dropped.
        drop(self.shared.hands.release(delivery.tag));
        Ok(())
    }
}

/// A request for a message. Dropped, it is over.
struct Asking<'a> {
    caller: u64,
    intake: &'a mpsc::UnboundedSender<Input>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.intake.send(Input::Overdue { caller: self.caller }).is_err() {
            tracing::trace!("the intake has ended");
        }
    }
}
