//! A job's record as the fields of a hash.
//!
//! What never changes is the job's message, one JSON text that no script reads; what scripts decide by
//! stands beside it, each in a field of its own. A field that would be empty is not there.

use std::collections::HashMap;

use drs_model::job::state::Lease;
use drs_model::{
    FencingToken, Job, JobClass, JobState, Phase, Resource, StepMark, StepRecord, Timestamp,
};
use drs_protocol::store::JobMessage;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::time;

/// The fields of a record, names and values.
pub(crate) type Fields = Vec<(String, String)>;

/// A record as it is stored.
pub(crate) fn fields(job: &Job) -> Result<Fields, Failure> {
    let mut fields = Fields::new();
    let mut put = |name: &str, value: String| fields.push((name.to_owned(), value));
    put("message", to_json("job", &JobMessage::from(job))?);
    put("order", format!("{}:{}:{}", rank(job.class), time::text(job.created_at), job.id));
    put("needs", lines(job.needs.iter().map(|n| format!("{} {}", n.capacity, n.resource))));
    put("about", lines(about(job)));
    put("phase", job.state.phase().to_string());
    put("attempt", job.attempt.to_string());
    put("fence", job.fence.0.to_string());
    put("updated", time::text(job.updated_at));
    match &job.state {
        JobState::Queued { not_before: at } | JobState::RetryWait { until: at } => {
            put("at", time::text(*at));
        }
        JobState::Parked { resource, since } => {
            put("resource", resource.to_string());
            put("at", time::text(*since));
        }
        JobState::Claimed(lease) | JobState::Running(lease) | JobState::Cancelling(lease) => {
            put("worker", lease.worker.clone());
            put("until", time::text(lease.until));
        }
        _ => {}
    }
    put("started", job.started_at.map(time::text).unwrap_or_default());
    put("published", job.published_at.map(time::text).unwrap_or_default());
    put("cancel", if job.cancel_requested { "1" } else { "" }.to_owned());
    put("fault", job.fault.as_ref().map(|f| to_json("fault", f)).transpose()?.unwrap_or_default());
    put("steps", if job.steps.is_empty() { String::new() } else { job.steps.len().to_string() });
    for (place, step) in job.steps.iter().enumerate() {
        let value = format!("{} {} {}", place + 1, mark(step.mark), to_json("step", step)?);
        put(&format!("step:{}", step.step), value);
    }
    fields.retain(|(_, value)| !value.is_empty());
    Ok(fields)
}

/// The VM and the host by which a job is found.
fn about(job: &Job) -> impl Iterator<Item = String> {
    let vm = Some(job.spec.subject()).filter(|subject| subject.contains('/'));
    vm.into_iter().chain(job.spec.host().map(ToString::to_string))
}

fn lines(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join("\n")
}

/// A class as a digit that sorts by urgency.
fn rank(class: JobClass) -> u8 {
    match class {
        JobClass::Critical => 0,
        JobClass::Normal => 1,
        JobClass::Bulk => 2,
    }
}

/// The name of a step's mark, as `cancel` looks for it.
pub(crate) fn mark(mark: StepMark) -> &'static str {
    match mark {
        StepMark::Planned => "planned",
        StepMark::Done => "done",
        StepMark::Undone => "undone",
    }
}

/// A record from its fields.
pub(crate) fn job(fields: &HashMap<String, String>) -> Result<Job, Failure> {
    let stored = Stored(fields);
    let message: JobMessage = json("job", stored.required("message")?)?;
    Ok(Job {
        id: message.id,
        spec: message.spec,
        class: message.class,
        lane: message.lane,
        needs: message.needs,
        created_at: message.created_at,
        trace: message.trace,
        state: stored.state()?,
        attempt: stored.number("attempt")?,
        fence: FencingToken(stored.number("fence")?),
        updated_at: stored.time("updated")?,
        started_at: stored.optional_time("started")?,
        published_at: stored.optional_time("published")?,
        cancel_requested: fields.contains_key("cancel"),
        steps: stored.steps()?,
        fault: fields.get("fault").map(|text| json("fault", text)).transpose()?,
    })
}

struct Stored<'a>(&'a HashMap<String, String>);

impl Stored<'_> {
    fn required(&self, field: &'static str) -> Result<&str, Failure> {
        let value = self.0.get(field).map(String::as_str);
        value.ok_or_else(|| Failure::record("job", format!("it has no field {field}")))
    }

    fn number<T: std::str::FromStr<Err: ToString>>(
        &self,
        field: &'static str,
    ) -> Result<T, Failure> {
        self.required(field)?.parse().map_err(|error: T::Err| Failure::record("job", error))
    }

    fn time(&self, field: &'static str) -> Result<Timestamp, Failure> {
        time::read(self.required(field)?).map_err(|error| Failure::record("job", error))
    }

    fn optional_time(&self, field: &'static str) -> Result<Option<Timestamp>, Failure> {
        if self.0.contains_key(field) { self.time(field).map(Some) } else { Ok(None) }
    }

    fn state(&self) -> Result<JobState, Failure> {
        Ok(match phase(self.required("phase")?)? {
            Phase::Queued => JobState::Queued { not_before: self.time("at")? },
            Phase::Parked => JobState::Parked {
                resource: resource(self.required("resource")?)?,
                since: self.time("at")?,
            },
            Phase::RetryWait => JobState::RetryWait { until: self.time("at")? },
            Phase::Claimed => JobState::Claimed(self.lease()?),
            Phase::Running => JobState::Running(self.lease()?),
            Phase::Cancelling => JobState::Cancelling(self.lease()?),
            Phase::NeedsOperator => JobState::NeedsOperator,
            Phase::Succeeded => JobState::Succeeded,
            Phase::Failed => JobState::Failed,
            Phase::Cancelled => JobState::Cancelled,
        })
    }

    fn lease(&self) -> Result<Lease, Failure> {
        Ok(Lease { worker: self.required("worker")?.to_owned(), until: self.time("until")? })
    }

    fn steps(&self) -> Result<Vec<StepRecord>, Failure> {
        let mut steps = Vec::new();
        for (_, value) in self.0.iter().filter(|(field, _)| field.starts_with("step:")) {
            let mut parts = value.splitn(3, ' ');
            let place: usize = parts.next().and_then(|text| text.parse().ok()).unwrap_or_default();
            let step: StepRecord = json("step", parts.nth(1).unwrap_or_default())?;
            steps.push((place, step));
        }
        steps.sort_by_key(|(place, _)| *place);
        Ok(steps.into_iter().map(|(_, step)| step).collect())
    }
}

/// A phase by its name.
pub(crate) fn phase(name: &str) -> Result<Phase, Failure> {
    let phase = Phase::ALL.into_iter().find(|phase| phase.as_str() == name);
    phase.ok_or_else(|| Failure::record("job", format!("{name:?} is no phase")))
}

/// A resource by its text form.
pub(crate) fn resource(text: &str) -> Result<Resource, Failure> {
    text.parse().map_err(|error| Failure::record("resource", error))
}

/// A value from the JSON that is stored.
pub(crate) fn json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::record(what, error))
}

/// A value as the JSON that is stored.
pub(crate) fn to_json(what: &'static str, value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::record(what, error))
}
