//! The job store: each operation of `drs_protocol::store` is one script.

use async_trait::async_trait;
use drs_backend::{BackendError, JobFilter, JobStore, Wait};
use drs_model::{
    Fault, FencingToken, Job, JobId, Phase, Resource, SignedDuration, StepRecord, Timestamp,
};
use drs_protocol::store::{
    BeatAnswer, CancelAnswer, ClaimAnswer, CreateAnswer, Driving, HandOver, JobMessage, LeadAnswer,
    Outcome, ReassertAnswer, RefenceAnswer, RetryAnswer, SettleAnswer, Term,
};

use crate::call::Call;
use crate::{RedisStore, record, script};

/// Most records that one call returns or changes.
const CALL_MAX: usize = 1000;

#[async_trait]
impl JobStore for RedisStore {
    async fn create(&self, job: &Job) -> Result<CreateAnswer, BackendError> {
        let call = self.at(job.created_at, &script::CREATE).text(job.id).record(job)?;
        let mut answer = call.run().await?;
        match answer.text()?.as_str() {
            "created" => Ok(CreateAnswer::Created),
            "exists" => Ok(CreateAnswer::Exists(Box::new(answer.job()?))),
            word => answer.unexpected(word),
        }
    }

    async fn claim(
        &self,
        now: Timestamp,
        message: &JobMessage,
        worker: &str,
        ttl: SignedDuration,
    ) -> Result<ClaimAnswer, BackendError> {
        let call = self.at(now, &script::CLAIM).text(message.id).arg(worker).duration(ttl);
        let mut answer = call.record(&fresh(message))?.run().await?;
        Ok(match answer.text()?.as_str() {
            "claimed" => ClaimAnswer::Claimed(Box::new(answer.job()?)),
            "leased" => ClaimAnswer::Leased { worker: answer.text()? },
            "parked" => ClaimAnswer::Parked {
                resource: answer.parsed()?,
                holders: answer.ids()?,
                woken: answer.jobs()?,
            },
            "waiting" => ClaimAnswer::Waiting,
            "done" => ClaimAnswer::Done(answer.phase()?),
            word => return answer.unexpected(word),
        })
    }

    async fn beat(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        ttl: SignedDuration,
        accepted: bool,
    ) -> Result<BeatAnswer, BackendError> {
        let call = self.at(now, &script::BEAT).driving(who).duration(ttl).flag(accepted);
        beaten(call).await
    }

    async fn log_step(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        step: &StepRecord,
    ) -> Result<BeatAnswer, BackendError> {
        let call = self.at(now, &script::LOG_STEP).driving(who);
        let call = call.arg(&step.step).arg(record::mark(step.mark));
        beaten(call.arg(self.json("step", step)?)).await
    }

    async fn reassert(
        &self,
        now: Timestamp,
        known: &Job,
        worker: &str,
        ttl: SignedDuration,
    ) -> Result<ReassertAnswer, BackendError> {
        let call = self.at(now, &script::REASSERT).text(known.id).arg(worker).duration(ttl);
        let mut answer = call.record(known)?.run().await?;
        match answer.text()?.as_str() {
            "restored" => Ok(ReassertAnswer::Restored),
            "exists" => Ok(ReassertAnswer::Exists),
            "conflict" => Ok(ReassertAnswer::Conflict(answer.parsed()?)),
            word => answer.unexpected(word),
        }
    }

    async fn refence(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        seen: FencingToken,
    ) -> Result<RefenceAnswer, BackendError> {
        let mut answer = self.at(now, &script::REFENCE).driving(who).text(seen.0).run().await?;
        match answer.text()?.as_str() {
            "fenced" => Ok(RefenceAnswer::Fenced(FencingToken(answer.parsed()?))),
            "lost" | "done" => Ok(RefenceAnswer::Lost),
            "unknown" => Ok(RefenceAnswer::Unknown),
            word => answer.unexpected(word),
        }
    }

    async fn finish(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        outcome: &Outcome,
    ) -> Result<SettleAnswer, BackendError> {
        let (phase, fault) = match outcome {
            Outcome::Succeeded => (Phase::Succeeded, None),
            Outcome::Failed(fault) => (Phase::Failed, Some(fault)),
            Outcome::Cancelled => (Phase::Cancelled, None),
            Outcome::NeedsOperator(fault) => (Phase::NeedsOperator, Some(fault)),
        };
        let call = self.at(now, &script::FINISH).driving(who).text(phase);
        settled(call.arg(self.fault(fault)?)).await
    }

    async fn hand_over(
        &self,
        now: Timestamp,
        who: Driving<'_>,
        how: &HandOver,
    ) -> Result<SettleAnswer, BackendError> {
        // A delay is the same by every clock, a time is not.
        let delay = how.not_before.duration_since(now);
        let call = self.at(now, &script::HAND_OVER).driving(who).duration(delay);
        let call = call.arg(self.fault(how.fault.as_ref())?);
        settled(call.flag(how.keep).flag(how.counts)).await
    }

    async fn cancel(&self, now: Timestamp, id: JobId) -> Result<CancelAnswer, BackendError> {
        let mut answer = self.at(now, &script::CANCEL).text(id).run().await?;
        Ok(match answer.text()?.as_str() {
            "cancelled" => CancelAnswer::Cancelled { woken: answer.jobs()? },
            "asked" if answer.is_empty() => CancelAnswer::Asked { publish: None },
            "asked" => CancelAnswer::Asked { publish: Some(Box::new(answer.job()?)) },
            "done" => CancelAnswer::Done(answer.phase()?),
            "unknown" => CancelAnswer::Unknown,
            word => return answer.unexpected(word),
        })
    }

    async fn retry(&self, now: Timestamp, id: JobId) -> Result<RetryAnswer, BackendError> {
        let mut answer = self.at(now, &script::RETRY).text(id).run().await?;
        match answer.text()?.as_str() {
            "woken" => Ok(RetryAnswer::Woken(Box::new(answer.job()?))),
            "not_waiting" => Ok(RetryAnswer::NotWaiting(answer.phase()?)),
            "unknown" => Ok(RetryAnswer::Unknown),
            word => answer.unexpected(word),
        }
    }

    async fn published(&self, now: Timestamp, id: JobId) -> Result<(), BackendError> {
        self.at(now, &script::PUBLISHED).text(id).run().await.map(drop)
    }

    async fn reap(&self, now: Timestamp, limit: usize) -> Result<Vec<Job>, BackendError> {
        self.at(now, &script::REAP).arg(limit.min(CALL_MAX)).run().await?.jobs()
    }

    async fn sweep(
        &self,
        now: Timestamp,
        stale: SignedDuration,
        limit: usize,
    ) -> Result<Vec<Job>, BackendError> {
        let call = self.at(now, &script::SWEEP).duration(-stale).arg(limit.min(CALL_MAX));
        let mut answer = call.run().await?;
        let mut swept = answer.jobs()?;
        let mut woken = Vec::new();
        for mut group in answer.groups()? {
            woken.push((group.parsed::<Resource>()?, group.jobs()?));
        }
        woken.sort_by(|(a, _), (b, _)| a.cmp(b));
        swept.extend(woken.into_iter().flat_map(|(_, jobs)| jobs));
        Ok(swept)
    }

    async fn bury(&self, now: Timestamp, worker: &str) -> Result<usize, BackendError> {
        self.at(now, &script::BURY).arg(worker).run().await?.next()
    }

    async fn lead(
        &self,
        now: Timestamp,
        candidate: &str,
        ttl: SignedDuration,
    ) -> Result<LeadAnswer, BackendError> {
        let call = self.at(now, &script::LEAD).arg(candidate).duration(ttl);
        let mut answer = call.run().await?;
        let word = answer.text()?;
        let term = Term { leader: answer.text()?, number: answer.parsed()?, until: answer.time()? };
        match word.as_str() {
            "leading" => Ok(LeadAnswer::Leading(term)),
            "following" => Ok(LeadAnswer::Following(term)),
            word => answer.unexpected(word),
        }
    }

    async fn resign(&self, now: Timestamp, candidate: &str) -> Result<(), BackendError> {
        self.at(now, &script::RESIGN).arg(candidate).run().await.map(drop)
    }

    async fn settled(&self, limit: usize) -> Result<Vec<Job>, BackendError> {
        // What cannot be read stays where it is, maybe before all others: so many more are asked for.
        loop {
            let known = self.link.unreadable().count();
            let call = self.call(&script::SETTLED).arg(limit.min(CALL_MAX) + known);
            let mut jobs = call.run().await?.jobs()?;
            jobs.truncate(limit);
            if !jobs.is_empty() || self.link.unreadable().count() == known {
                return Ok(jobs);
            }
        }
    }

    async fn recorded(&self, id: JobId) -> Result<(), BackendError> {
        self.call(&script::RECORDED).text(id).run().await.map(drop)
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> Result<usize, BackendError> {
        let call = self.call(&script::PRUNE).arg(crate::time::text(before));
        call.arg(limit.min(CALL_MAX)).run().await?.next()
    }

    async fn waiting(&self, limit: usize) -> Result<Vec<(Resource, usize)>, BackendError> {
        let mut answer = self.call(&script::WAITING).arg(limit.min(CALL_MAX)).run().await?;
        let mut waiting = Vec::new();
        while !answer.is_empty() {
            waiting.push((answer.parsed()?, answer.next()?));
        }
        Ok(waiting)
    }

    async fn count(&self, phase: Phase) -> Result<usize, BackendError> {
        self.call(&script::COUNT).text(phase).run().await?.next()
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, BackendError> {
        let mut answer = self.call(&script::GET).text(id).run().await?;
        if answer.is_empty() { Ok(None) } else { answer.job().map(Some) }
    }

    async fn list(&self, filter: &JobFilter) -> Result<Vec<Job>, BackendError> {
        let limit = filter.limit.min(JobFilter::LIMIT_MAX);
        let all = Phase::ALL;
        let phases = if filter.phases.is_empty() { &all } else { filter.phases.as_slice() };
        let mut behind = match filter.before {
            Some(id) => format!("id:{id}"),
            None => String::new(),
        };
        let mut jobs = Vec::new();
        loop {
            let call = self.call(&script::LIST).arg(&behind).arg(limit - jobs.len());
            let call = call.arg(filter.subject.as_deref().unwrap_or_default());
            let names: Vec<&str> = phases.iter().map(|phase| phase.as_str()).collect();
            let mut answer = call.arg(names).run().await?;
            jobs.extend(answer.jobs()?);
            behind = answer.text()?;
            if behind.is_empty() || jobs.len() >= limit {
                return Ok(jobs);
            }
        }
    }

    async fn wait_of(&self, id: JobId) -> Result<Option<Wait>, BackendError> {
        let mut answer = self.call(&script::WAIT_OF).text(id).run().await?;
        if answer.is_empty() {
            return Ok(None);
        }
        Ok(Some(Wait {
            resource: answer.parsed()?,
            holders: answer.ids()?,
            position: answer.next()?,
            waiters: answer.next()?,
        }))
    }
}

impl RedisStore {
    /// A fault as it is stored; none is an empty text.
    fn fault(&self, fault: Option<&Fault>) -> Result<String, BackendError> {
        fault.map_or(Ok(String::new()), |fault| self.json("fault", fault))
    }
}

/// The record that a message makes when the store has none.
fn fresh(message: &JobMessage) -> Job {
    Job {
        class: message.class,
        lane: message.lane.clone(),
        trace: message.trace.clone(),
        ..Job::new(message.id, message.spec.clone(), message.needs.clone(), message.created_at)
    }
}

async fn beaten(call: Call<'_>) -> Result<BeatAnswer, BackendError> {
    let mut answer = call.run().await?;
    Ok(match answer.text()?.as_str() {
        "kept" => BeatAnswer::Kept { cancel: answer.text()? == "1" },
        "lost" => BeatAnswer::Lost,
        "done" => BeatAnswer::Done(answer.phase()?),
        "unknown" => BeatAnswer::Unknown,
        word => return answer.unexpected(word),
    })
}

async fn settled(call: Call<'_>) -> Result<SettleAnswer, BackendError> {
    let mut answer = call.run().await?;
    Ok(match answer.text()?.as_str() {
        "settled" => SettleAnswer::Settled { woken: answer.jobs()? },
        "lost" => SettleAnswer::Lost,
        "done" => SettleAnswer::Done(answer.phase()?),
        "unknown" => SettleAnswer::Unknown,
        word => return answer.unexpected(word),
    })
}
