//! A job's message on the wire, and what makes one unfit.
//!
//! JSON of [`JobMessage`], at most [`BYTES_MAX`]; message id: the job's id; headers `drs-version` (1) and
//! `traceparent` (the span under which the job was submitted).

use std::collections::BTreeSet;

use drs_backend::BackendError;
use drs_model::{Job, Need, Resource};
use drs_protocol::store::JobMessage;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};

/// Largest message that is sent or read.
pub(crate) const BYTES_MAX: usize = 256 * 1024;
/// The newest format known.
const VERSION: i64 = 1;
const VERSION_HEADER: &str = "drs-version";
/// Longest reason.
const REASON_CHARS: usize = 500;

/// Why a message cannot be handed to a worker, in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) String);

/// The body and what goes with it.
pub(crate) fn encode(message: &JobMessage) -> Result<(Vec<u8>, BasicProperties), BackendError> {
    let refused = |reason: String| BackendError::Refused {
        what: format!("the message of job {}", message.id),
        reason,
        remedy: "Ask for less in one job.".to_owned(),
    };
    let body = serde_json::to_vec(message).map_err(|error| refused(error.to_string()))?;
    if body.len() > BYTES_MAX {
        return Err(refused(format!("it has {} bytes, {BYTES_MAX} are allowed", body.len())));
    }
    let mut headers = FieldTable::default();
    headers.insert(VERSION_HEADER.into(), AMQPValue::LongLongInt(VERSION));
    if let Some(trace) = &message.trace {
        headers.insert("traceparent".into(), text(trace.as_str()));
    }
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_message_id(message.id.to_string().into())
        .with_headers(headers);
    Ok((body, properties))
}

/// The message, when a worker can do something with it.
pub(crate) fn decode(body: &[u8], properties: &BasicProperties) -> Result<JobMessage, Unfit> {
    if body.len() > BYTES_MAX {
        return unfit(format!("it has {} bytes, {BYTES_MAX} are allowed", body.len()));
    }
    if let Some(version) = header(properties, VERSION_HEADER) {
        match number(version) {
            Some(1..=VERSION) => {}
            Some(newer) if newer > VERSION => {
                return unfit(format!(
                    "its format is {newer}, this version of drs knows {VERSION}"
                ));
            }
            _ => return unfit(format!("its {VERSION_HEADER} is no number of a version")),
        }
    }
    let message: JobMessage = match serde_json::from_slice(body) {
        Ok(message) => message,
        Err(error) => return unfit(format!("it is no job message: {error}")),
    };
    match nonsense(&message) {
        Some(reason) => unfit(reason),
        None => Ok(message),
    }
}

fn unfit<T>(reason: String) -> Result<T, Unfit> {
    Err(Unfit(reason.chars().take(REASON_CHARS).collect()))
}

/// Rules that the types do not hold: a job that broke them could run beside another one on its VM, or
/// would wait for ever.
fn nonsense(message: &JobMessage) -> Option<String> {
    let needs = &message.needs;
    if needs.len() > Job::NEEDS_MAX {
        return Some(format!("it needs {} resources, {} are allowed", needs.len(), Job::NEEDS_MAX));
    }
    let distinct: BTreeSet<&Resource> = needs.iter().map(|need| &need.resource).collect();
    if distinct.len() < needs.len() {
        return Some("it needs a resource twice".to_owned());
    }
    let wrong = |need: &&Need| match need.resource {
        Resource::Vm(_) | Resource::DumpSlot(_) => need.capacity != 1,
        Resource::HostSlot(_) => need.capacity == 0,
    };
    if let Some(need) = needs.iter().find(wrong) {
        return Some(format!("no {} jobs can share {}", need.capacity, need.resource));
    }
    let vms = message.spec.vm().into_iter().chain(message.spec.counterpart()).cloned();
    let missing = vms.map(Resource::Vm).find(|vm| !distinct.contains(vm))?;
    Some(format!("it does not ask for {missing}, which it works on"))
}

/// A header of a message.
pub(crate) fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

fn number(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(number) => Some((*number).into()),
        AMQPValue::ShortShortUInt(number) => Some((*number).into()),
        AMQPValue::ShortInt(number) => Some((*number).into()),
        AMQPValue::ShortUInt(number) => Some((*number).into()),
        AMQPValue::LongInt(number) => Some((*number).into()),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => words(value)?.parse().ok(),
    }
}

/// A header's value when it is text.
pub(crate) fn words(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Text as a header's value.
pub(crate) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

#[cfg(test)]
mod tests;
