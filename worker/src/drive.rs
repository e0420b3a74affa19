//! Drives one claimed job: does what its session decides and tells the session what came of it.

mod activity;
mod beside;
mod detached;
mod evidence;
mod hold;
mod meet;
mod store_calls;

use std::sync::Arc;
use std::time::Duration;

use drs_backend::{Backend, Delivery, Happening};
use drs_hypervisor::Drivers;
use drs_model::{Job, Progress, StepMark};
use drs_protocol::session::{Action, Event, Session};
use drs_protocol::store::{BeatAnswer, Driving, HandOver, Outcome, RefenceAnswer, SettleAnswer};
use drs_runtime::{Shutdown, clock};
use drs_transport::Hold;
use drs_vault::Vault;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, watch};

pub(crate) use self::meet::{Meeting, met};
use self::store_calls::Answer;
use crate::children::Children;
use crate::limits::{LimitBook, Limits};
use crate::pairs::Pairs;
use crate::reporter::Reporter;
use crate::saga::{Hosts, Saga, StepContext};
use crate::sagas::saga_of;
use crate::spool::Spool;
use crate::telemetry;
use crate::worker::{WorkerConfig, publish_all};

/// What a worker works with.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) backend: Backend,
    pub(crate) drivers: Arc<dyn Drivers>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) spool: Spool,
    pub(crate) limits: Arc<LimitBook>,
}

/// How long a release of the hold may take before the hold is simply dropped.
const RELEASE_LIMIT: Duration = Duration::from_secs(10);

/// Resolves when the hold is lost; never when there is none.
async fn lost(hold: Option<&dyn Hold>) {
    match hold {
        Some(hold) => hold.lost().await,
        None => std::future::pending().await,
    }
}

/// One claimed job and what drives it.
pub(crate) struct Drive<'a> {
    config: &'a WorkerConfig,
    means: &'a Means,
    shutdown: &'a Shutdown,
    session: Session,
    saga: Arc<Saga>,
    hosts: Hosts,
    limits: Limits,
    /// What the session is told first.
    begin: Event,
    report: Reporter,
    delivery: Option<Delivery>,
    hold: Option<Box<dyn Hold>>,
    /// The step, undo or hold request that runs; its last event comes as the future's value, earlier
    /// ones through the channel.
    activity: Option<BoxFuture<'static, Option<Event>>>,
    answers: FuturesUnordered<BoxFuture<'a, Answer>>,
    aside: (mpsc::UnboundedSender<activity::Aside>, mpsc::UnboundedReceiver<activity::Aside>),
    abandoned: bool,
}

impl<'a> Drive<'a> {
    /// A drive of a claimed job whose hosts were `met`. When they were not found the session decides, from the log
    /// and from a saga as it is on hosts that can do everything, whether the job waits or ends. What the
    /// log lacks, the vault may tell.
    pub(crate) async fn begin(
        config: &'a WorkerConfig,
        means: &'a Means,
        mut job: Job,
        met: Meeting,
        delivery: Delivery,
        shutdown: &'a Shutdown,
    ) -> Self {
        let report = Reporter::new(&job, Arc::clone(&means.backend.events));
        let (hosts, limits, begin) = match met {
            Ok((hosts, limits)) => (hosts, limits, Event::Tick),
            Err(fault) => (Hosts::default(), Limits::default(), Event::HostFault(fault)),
        };
        let saga = Arc::new(saga_of(&job.spec, &hosts));
        let plan = saga.plan();
        if evidence::of_point(means.vault.as_ref(), &mut job, &plan, clock::now()).await {
            report.info(format!("recovery point {} is complete already", job.id)).await;
        }
        Self {
            config,
            means,
            shutdown,
            session: Session::new(job, plan, config.pace, clock::now()),
            saga,
            hosts,
            limits,
            begin,
            report,
            delivery: Some(delivery),
            hold: None,
            activity: None,
            answers: FuturesUnordered::new(),
            aside: mpsc::unbounded_channel(),
            abandoned: false,
        }
    }

    /// Drives the job until it is settled, handed over, or lost to another worker. What is told of its
    /// start keeps it waiting for nothing.
    pub(crate) async fn run(self) {
        let told =
            tell_start(self.means.backend.clone(), self.report.clone(), self.session.job().clone());
        tokio::join!(told, self.drive());
    }

    async fn drive(mut self) {
        let mut seen = self.report.watch();
        self.until_over(&mut seen).await;
        self.report.flush(&mut seen).await;
    }

    async fn until_over(&mut self, seen: &mut watch::Receiver<Progress>) {
        let (backend, job) = (self.means.backend.clone(), self.session.job().clone());
        let beside = beside::of(backend, self.report.clone(), job, seen, self.aside.0.clone());
        tokio::pin!(beside);
        self.happened(self.begin.clone()).await;
        let mut told_to_stop = false;
        while !self.session.ended() && !self.abandoned {
            let next_tick = self.session.next_tick();
            let event = tokio::select! {
                biased;
                () = self.shutdown.stopping(), if !told_to_stop => {
                    told_to_stop = true;
                    Some(Event::Stop)
                }
                Some(aside) = self.aside.1.recv() => self.accept_aside(aside),
                event = activity::of(&mut self.activity) => {
                    self.activity = None;
                    event
                }
                Some(answer) = self.answers.next() => self.accept_answer(answer),
                () = lost(self.hold.as_deref()) => {
                    self.hold = None;
                    Some(Event::HoldLost)
                }
                () = &mut beside => None,
                () = clock::until(next_tick) => Some(Event::Tick),
            };
            if let Some(event) = event {
                self.happened(event).await;
            }
        }
    }

    /// Tells the session what happened and does what it wants, until it waits again.
    async fn happened(&mut self, event: Event) {
        if let Event::Settled(answer) = &event {
            publish_woken(&self.means.backend, answer).await;
        }
        if is_lost(&event) {
            telemetry::lease_lost();
        }
        let actions = self.session.step(clock::now(), event);
        for action in actions {
            self.perform(action).await;
        }
    }

    async fn perform(&mut self, action: Action) {
        let context = self.context();
        let calls = self.store_calls();
        match action {
            Action::Hold => {
                let asides = self.aside.0.clone();
                self.activity = Some(activity::hold(Arc::clone(&self.saga), context, asides));
            }
            Action::Release => self.release().await,
            Action::Run(n) => {
                let asides = self.aside.0.clone();
                self.activity = Some(activity::run(Arc::clone(&self.saga), n, context, asides));
            }
            Action::Undo(n) => {
                self.activity = Some(activity::undo(Arc::clone(&self.saga), n, context));
            }
            Action::Abort => self.activity = None,
            Action::Log(record) => {
                if record.mark == StepMark::Planned {
                    self.report.progress(|progress| progress.step.clone_from(&record.step));
                }
                self.answers.push(Box::pin(calls.log(record)));
            }
            Action::Beat { accepted } => self.answers.push(Box::pin(calls.beat(accepted))),
            Action::Reassert => self.answers.push(Box::pin(calls.reassert())),
            Action::Refence(seen) => self.answers.push(Box::pin(calls.refence(seen))),
            Action::Ack => self.ack().await,
            Action::Finish(outcome) => {
                let report = self.report.clone();
                self.answers.push(Box::pin(async move {
                    // In this order, and without waiting for the one before the other.
                    let told = tell_outcome(&report, &outcome);
                    let ((), answer) = tokio::join!(told, calls.finish(outcome.clone()));
                    answer
                }));
            }
            Action::HandOver(how) => {
                let report = self.report.clone();
                self.answers.push(Box::pin(async move {
                    let told = tell_fault(&report, &how);
                    let ((), answer) = tokio::join!(told, calls.hand_over(how.clone()));
                    answer
                }));
            }
            Action::End => {}
        }
    }

    fn accept_aside(&mut self, aside: activity::Aside) -> Option<Event> {
        match aside {
            activity::Aside::Held(hold) => {
                self.hold = Some(hold);
                None
            }
            activity::Aside::Guard(answer) => Some(Event::Guard(answer)),
            activity::Aside::CancelAsked => Some(Event::CancelAsked),
        }
    }

    fn accept_answer(&mut self, answer: Answer) -> Option<Event> {
        match answer {
            Answer::Event(event) => Some(event),
            Answer::GaveUp => {
                self.abandoned = true;
                None
            }
        }
    }

    async fn release(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        match tokio::time::timeout(RELEASE_LIMIT, hold.release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the hold ended with its connection"),
            Err(_) => tracing::warn!("the host took too long to give the VM back"),
        }
    }

    async fn ack(&mut self) {
        let Some(delivery) = self.delivery.take() else { return };
        crate::crash::at("ack/before");
        if let Err(error) = self.means.backend.dispatch.ack(delivery).await {
            tracing::warn!(%error, "not acknowledged; the message will come again and be refused");
        }
        crate::crash::at("ack/after");
    }

    fn context(&self) -> StepContext {
        StepContext {
            job: self.session.job().clone(),
            vault: Arc::clone(&self.means.vault),
            hosts: self.hosts.clone(),
            limits: self.limits.clone(),
            spool: self.means.spool.clone(),
            pairs: Pairs::new(Arc::clone(&self.means.backend.catalog)),
            children: Children::new(self.means.backend.clone()),
            report: self.report.clone(),
        }
    }

    fn store_calls(&self) -> store_calls::StoreCalls<'a> {
        let job = self.session.job();
        store_calls::StoreCalls {
            store: self.means.backend.store.as_ref(),
            worker: &self.config.name,
            lease: self.config.lease,
            shutdown: self.shutdown,
            job: job.clone(),
        }
    }
}

async fn tell_start(backend: Backend, report: Reporter, job: Job) {
    greet(&report, &job).await;
    let started = Happening::Started { attempt: job.attempt };
    backend.announce(&job, clock::now(), started).await;
}

async fn greet(report: &Reporter, job: &Job) {
    let text = match job.attempt {
        1 => format!("{} of {} begins", job.spec.kind(), job.spec.subject()),
        n => format!("{} of {} goes on, attempt {n}", job.spec.kind(), job.spec.subject()),
    };
    report.info(text).await;
}

async fn tell_outcome(report: &Reporter, outcome: &Outcome) {
    match outcome {
        Outcome::Succeeded => report.info("succeeded").await,
        Outcome::Cancelled => report.warn("cancelled").await,
        Outcome::Failed(fault) => report.error(format!("failed: {fault}")).await,
        Outcome::NeedsOperator(fault) => {
            report.error(format!("waits for an operator: {fault}")).await;
        }
    }
}

async fn tell_fault(report: &Reporter, how: &HandOver) {
    if let Some(fault) = &how.fault {
        report.warn(format!("{fault}; trying again at {}", how.not_before)).await;
    }
}

/// Whether another claim has the job.
fn is_lost(event: &Event) -> bool {
    matches!(
        event,
        Event::Beat(BeatAnswer::Lost)
            | Event::Logged(BeatAnswer::Lost)
            | Event::Settled(SettleAnswer::Lost)
            | Event::Refenced(RefenceAnswer::Lost)
    )
}

async fn publish_woken(backend: &Backend, answer: &SettleAnswer) {
    if let SettleAnswer::Settled { woken } = answer {
        publish_all(backend, woken).await;
    }
}

impl store_calls::StoreCalls<'_> {
    fn driving(&self) -> Driving<'_> {
        Driving { job: self.job.id, worker: self.worker, fence: self.job.fence }
    }
}
