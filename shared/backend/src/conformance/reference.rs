//! The adapter beside the reference store: the same operations, the same answers.

use std::fmt::Debug;

use drs_model::{
    Fault, FaultCode, FencingToken, IllegalTransition, Job, JobClass, JobId, JobState, Phase,
    SignedDuration, StepMark, StepRecord, Timestamp,
};
use drs_protocol::store::{self, ClaimAnswer, Driving, HandOver, Ledger, Outcome, RefenceAnswer};

use super::dice::Dice;
use super::{TTL, Verdict, Violation, at, backup, broken, same};
use crate::{Backend, BackendError, JobFilter, Wait};

/// After how many operations all records are compared.
const COMPARE_EVERY: usize = 100;
const WORKERS: [&str; 3] = ["w1", "w2", "w3"];
const VMS: [&str; 6] = ["dc/web", "dc/db", "dc/mail", "dc/büro 1", "dr/web", "dr/db"];

/// Applies `steps` random operations to an empty adapter and to the reference store and compares
/// every answer, and from time to time every record. The same seed gives the same operations.
///
/// # Errors
/// The first difference, with the number of the operation.
pub async fn differential(backend: Backend, seed: u64, steps: usize) -> Verdict {
    let mut pair = Pair {
        dice: Dice(seed),
        backend,
        ledger: Ledger::default(),
        now: at(1_700_000_000_000),
        jobs: Vec::new(),
        claims: Vec::new(),
    };
    for step in 1..=steps {
        let located = |violation| match violation {
            Violation::Answer(what) => Violation::Answer(format!("operation {step}: {what}")),
            failed @ Violation::Failed(_) => failed,
        };
        pair.operate().await.map_err(located)?;
        if step % COMPARE_EVERY == 0 || step == steps {
            pair.compare_records().await.map_err(located)?;
        }
    }
    Ok(())
}

/// A claim that was given at some time; it may be long lost.
#[derive(Clone)]
struct Claim {
    job: Job,
    worker: &'static str,
}

struct Pair {
    dice: Dice,
    backend: Backend,
    ledger: Ledger,
    now: Timestamp,
    /// The jobs as they were submitted.
    jobs: Vec<Job>,
    claims: Vec<Claim>,
}

impl Pair {
    async fn operate(&mut self) -> Verdict {
        if !self.dice.one_in(3) {
            self.now += SignedDuration::from_nanos(self.dice.below(20_000_000_000) as i64);
        }
        match self.dice.below(24) {
            0..=2 => self.create().await,
            3..=8 => self.claim().await,
            9..=14 => self.drive().await,
            15 => self.cancel().await,
            16 => self.publish().await,
            17 => self.reap_or_bury().await,
            18 => self.sweep().await,
            19 => self.retry().await,
            20 => self.lead_or_resign().await,
            21 => self.record().await,
            22 => self.prune().await,
            _ => self.reassert().await,
        }
    }

    fn worker(&mut self) -> &'static str {
        WORKERS[self.dice.below(WORKERS.len())]
    }

    fn new_job(&mut self) -> Result<Job, Violation> {
        let key = format!("{}", self.jobs.len());
        let mut job = backup(&key, VMS[self.dice.below(VMS.len())], 0)?;
        job.class = [JobClass::Critical, JobClass::Normal, JobClass::Bulk][self.dice.below(3)];
        job.created_at = self.now;
        let delay = SignedDuration::from_secs(self.dice.below(3) as i64 * 7);
        job.state = JobState::Queued { not_before: self.now + delay };
        job.updated_at = self.now;
        self.jobs.push(job.clone());
        Ok(job)
    }

    /// What the reference answers. After a refusal it is as before, like a transaction.
    fn refer<T>(
        &mut self,
        operation: impl FnOnce(&mut Ledger) -> Result<T, IllegalTransition>,
    ) -> Result<T, IllegalTransition> {
        let before = self.ledger.clone();
        let answer = operation(&mut self.ledger);
        if answer.is_err() {
            self.ledger = before;
        }
        answer
    }

    async fn create(&mut self) -> Verdict {
        let job = match self.dice.recent(&self.jobs, 8).cloned() {
            Some(known) if self.dice.one_in(4) => known,
            _ => self.new_job()?,
        };
        let wanted = self.refer(|ledger| store::create(ledger, &job));
        agree("create", self.backend.store.create(&job).await, wanted)
    }

    async fn claim(&mut self) -> Verdict {
        let (now, worker) = (self.now, self.worker());
        // Now and then a message of a job that the store does not know.
        let job = match self.dice.recent(&self.jobs, 12).cloned() {
            Some(known) if !self.dice.one_in(12) => known,
            _ => self.new_job()?,
        };
        let message = (&job).into();
        let wanted = self.refer(|ledger| store::claim(ledger, now, &message, worker, TTL));
        if let Ok(ClaimAnswer::Claimed(job)) = &wanted {
            self.claims.push(Claim { job: (**job).clone(), worker });
        }
        agree("claim", self.backend.store.claim(now, &message, worker, TTL).await, wanted)
    }

    async fn drive(&mut self) -> Verdict {
        let Some(claim) = self.dice.recent(&self.claims, 5).cloned() else { return Ok(()) };
        let who = Driving { job: claim.job.id, worker: claim.worker, fence: claim.job.fence };
        match self.dice.below(7) {
            0..=1 => self.beat(who).await,
            2 => self.log_step(who).await,
            3 => self.refence(who, claim.clone()).await,
            4 => self.hand_over(who).await,
            _ => self.finish(who).await,
        }
    }

    async fn beat(&mut self, who: Driving<'_>) -> Verdict {
        let (now, accepted) = (self.now, self.dice.one_in(2));
        let wanted = self.refer(|ledger| store::beat(ledger, now, &who, TTL, accepted));
        agree("beat", self.backend.store.beat(now, who, TTL, accepted).await, wanted)
    }

    async fn log_step(&mut self, who: Driving<'_>) -> Verdict {
        let now = self.now;
        let mark = [StepMark::Planned, StepMark::Done, StepMark::Undone][self.dice.below(3)];
        let step = ["freeze", "copy", "thaw"][self.dice.below(3)].to_owned();
        let record = StepRecord { step, mark, output: serde_json::json!({"n": 1}), at: now };
        let wanted = self.refer(|ledger| store::log_step(ledger, now, &who, &record));
        agree("log_step", self.backend.store.log_step(now, who, &record).await, wanted)
    }

    async fn refence(&mut self, who: Driving<'_>, claim: Claim) -> Verdict {
        let (now, seen) = (self.now, FencingToken(who.fence.0 + self.dice.below(9) as u64));
        let wanted = self.refer(|ledger| store::refence(ledger, now, &who, seen));
        if let Ok(RefenceAnswer::Fenced(fence)) = wanted {
            self.claims.push(Claim { job: Job { fence, ..claim.job }, ..claim });
        }
        agree("refence", self.backend.store.refence(now, who, seen).await, wanted)
    }

    async fn hand_over(&mut self, who: Driving<'_>) -> Verdict {
        let now = self.now;
        let how = HandOver {
            not_before: now + SignedDuration::from_millis(self.dice.below(40_000) as i64),
            fault: self.dice.one_in(2).then(fault),
            keep: self.dice.one_in(2),
            counts: self.dice.one_in(2),
        };
        let wanted = self.refer(|ledger| store::hand_over(ledger, now, &who, &how));
        agree("hand_over", self.backend.store.hand_over(now, who, &how).await, wanted)
    }

    async fn finish(&mut self, who: Driving<'_>) -> Verdict {
        let now = self.now;
        let outcome = match self.dice.below(10) {
            0..=4 => Outcome::Succeeded,
            5..=6 => Outcome::Failed(fault()),
            7..=8 => Outcome::Cancelled,
            _ => Outcome::NeedsOperator(fault()),
        };
        let wanted = self.refer(|ledger| store::finish(ledger, now, &who, &outcome));
        agree("finish", self.backend.store.finish(now, who, &outcome).await, wanted)
    }

    async fn cancel(&mut self) -> Verdict {
        let (now, id) = (self.now, self.any_id());
        let wanted = self.refer(|ledger| store::cancel(ledger, now, id));
        agree("cancel", self.backend.store.cancel(now, id).await, wanted)
    }

    async fn retry(&mut self) -> Verdict {
        let (now, id) = (self.now, self.any_id());
        let wanted = self.refer(|ledger| store::retry(ledger, now, id));
        agree("retry", self.backend.store.retry(now, id).await, wanted)
    }

    async fn publish(&mut self) -> Verdict {
        let (now, id) = (self.now, self.any_id());
        let wanted = self.refer(|ledger| store::published(ledger, now, id));
        agree("published", self.backend.store.published(now, id).await, wanted)
    }

    async fn lead_or_resign(&mut self) -> Verdict {
        let (now, candidate) = (self.now, self.worker());
        if self.dice.one_in(4) {
            let wanted = self.refer(|ledger| store::resign(ledger, now, candidate));
            return agree("resign", self.backend.store.resign(now, candidate).await, wanted);
        }
        let wanted = self.refer(|ledger| store::lead(ledger, now, candidate, TTL));
        agree("lead", self.backend.store.lead(now, candidate, TTL).await, wanted)
    }

    /// What is over goes into history; now and then a job that is not.
    async fn record(&mut self) -> Verdict {
        let limit = 1 + self.dice.below(4);
        let wanted = self.refer(|ledger| store::settled(ledger, limit));
        let settled = wanted.clone().unwrap_or_default();
        agree("settled", self.backend.store.settled(limit).await, wanted)?;
        let id = settled.first().map_or_else(|| self.any_id(), |job| job.id);
        let wanted = self.refer(|ledger| store::recorded(ledger, id));
        agree("recorded", self.backend.store.recorded(id).await, wanted)
    }

    async fn prune(&mut self) -> Verdict {
        let before = self.now - SignedDuration::from_secs(self.dice.below(600) as i64);
        let limit = 1 + self.dice.below(3);
        let wanted = self.refer(|ledger| store::prune(ledger, before, limit));
        agree("prune", self.backend.store.prune(before, limit).await, wanted)
    }

    /// Often a job that holds something, so that the series does not come to a stop behind it.
    fn any_id(&mut self) -> JobId {
        let held = self.ledger.held();
        if let Some((_, holder)) = self.dice.recent(&held, held.len())
            && self.dice.one_in(2)
        {
            return *holder;
        }
        let known = self.dice.recent(&self.jobs, 20).map(|job| job.id);
        known.unwrap_or_else(|| JobId::from_key("nobody knows it"))
    }

    async fn reap_or_bury(&mut self) -> Verdict {
        let (now, limit, worker) = (self.now, 1 + self.dice.below(4), self.worker());
        if self.dice.one_in(3) {
            let wanted = self.refer(|ledger| store::bury(ledger, now, worker));
            return agree("bury", self.backend.store.bury(now, worker).await, wanted);
        }
        let wanted = self.refer(|ledger| store::reap(ledger, now, limit));
        agree("reap", self.backend.store.reap(now, limit).await, wanted)
    }

    async fn sweep(&mut self) -> Verdict {
        let (now, limit) = (self.now, 1 + self.dice.below(6));
        let stale = SignedDuration::from_secs(self.dice.below(90) as i64);
        let wanted = self.refer(|ledger| store::sweep(ledger, now, stale, limit));
        agree("sweep", self.backend.store.sweep(now, stale, limit).await, wanted)
    }

    /// A worker brings the record of a job, known to the store or (after a wipe) not.
    async fn reassert(&mut self) -> Verdict {
        let Some(claim) = self.dice.recent(&self.claims, 8).cloned() else { return Ok(()) };
        let (now, mut job) = (self.now, claim.job);
        if !self.dice.one_in(3) {
            job.id = self.new_job()?.id;
            job.fence = FencingToken(job.fence.0 + self.dice.below(5) as u64);
        }
        let worker = claim.worker;
        let wanted = self.refer(|ledger| store::reassert(ledger, now, &job, worker, TTL));
        self.claims.push(Claim { job: job.clone(), worker });
        agree("reassert", self.backend.store.reassert(now, &job, worker, TTL).await, wanted)
    }

    async fn compare_records(&mut self) -> Verdict {
        let mut wanted = self.ledger.jobs();
        for job in &wanted {
            same("a record", &self.backend.store.get(job.id).await?, &Some(job.clone()))?;
            let wait = wait_of(&self.ledger, &wanted, job);
            same("a wait", &self.backend.store.wait_of(job.id).await?, &wait)?;
        }
        for phase in Phase::ALL {
            let jobs = wanted.iter().filter(|job| job.state.phase() == phase).count();
            same("a count", &self.backend.store.count(phase).await?, &jobs)?;
        }
        wanted.sort_by_key(|job| std::cmp::Reverse((job.created_at, job.id)));
        let phases = vec![Phase::Queued, Phase::Parked, Phase::NeedsOperator];
        let open: Vec<Job> =
            wanted.iter().filter(|job| phases.contains(&job.state.phase())).cloned().collect();
        wanted.truncate(JobFilter::LIMIT_MAX);
        let all = JobFilter { limit: JobFilter::LIMIT_MAX, ..JobFilter::default() };
        same("the list", &self.backend.store.list(&all).await?, &wanted)?;
        let some = JobFilter { phases, ..all };
        same("a narrowed list", &self.backend.store.list(&some).await?, &open)
    }
}

/// What a job waits for, worked out from the reference.
fn wait_of(ledger: &Ledger, jobs: &[Job], job: &Job) -> Option<Wait> {
    let JobState::Parked { resource, .. } = &job.state else { return None };
    let parked_there =
        |job: &&Job| matches!(&job.state, JobState::Parked { resource: r, .. } if r == resource);
    let mut waiters: Vec<_> =
        jobs.iter().filter(parked_there).map(|job| (job.class, job.created_at, job.id)).collect();
    waiters.sort_unstable();
    let held = ledger.held();
    Some(Wait {
        resource: resource.clone(),
        holders: held.into_iter().filter(|(held, _)| held == resource).map(|(_, id)| id).collect(),
        position: waiters.iter().position(|(_, _, id)| *id == job.id)? + 1,
        waiters: waiters.len(),
    })
}

fn fault() -> Fault {
    Fault::transient(FaultCode::HostUnreachable, "the host is gone", "Look at the cable.")
}

fn agree<T: PartialEq + Debug>(
    operation: &str,
    got: Result<T, BackendError>,
    wanted: Result<T, IllegalTransition>,
) -> Verdict {
    match (got, wanted) {
        (Ok(got), Ok(wanted)) => same(operation, &got, &wanted),
        (Err(BackendError::Illegal(got)), Err(wanted)) => same(operation, &got, &wanted),
        (Err(error), Ok(_)) => Err(error.into()),
        (got, Err(wanted)) => {
            broken(format!("{operation}: got {got:?}, wanted the refusal {wanted}"))
        }
    }
}
