//! Announcements as CloudEvents 1.0 (structured JSON), for programs that need no library of ours.
//!
//! They go to the topic exchange `drs.events` under the key `job.KIND.WHAT` and stay in the stream
//! `drs.events.log` for 30 days. `WHAT` is `submitted`, `started`, `progress`, `succeeded`, `failed` or
//! `cancelled`, the type is `dev.drs.job.WHAT`, the data are an [`Announcement`]. Told twice, an end has the
//! same id both times.

use std::time::Duration;

use async_trait::async_trait;
use drs_backend::{Announcement, BackendError, Feed, Happening};
use lapin::BasicProperties;
use serde::Serialize;
use tokio::time::{error::Elapsed, timeout};
use uuid::Uuid;

use crate::AmqpDispatch;
use crate::publisher::{Letter, Posted};
use crate::topology::EVENTS;
use crate::trouble::Trouble;

/// How long progress may keep a worker waiting.
const PROGRESS_MAX: Duration = Duration::from_secs(1);

/// Name space of the ids of ends.
const END_SPACE: Uuid = Uuid::from_u128(0x6472_7300_6665_4564_8b79_5370_6163_6531);

/// The envelope of CloudEvents.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: Uuid,
    source: &'static str,
    r#type: String,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    data: &'a Announcement,
}

#[async_trait]
impl Feed for AmqpDispatch {
    async fn announce(&self, announcement: &Announcement) -> Result<(), BackendError> {
        let telling = self.tell(announcement);
        if !matches!(announcement.what, Happening::Progress(_)) {
            return telling.await;
        }
        match timeout(PROGRESS_MAX, telling).await {
            Ok(told) => told,
            Err(Elapsed { .. }) => Err(self.told(Trouble::silent("progress", PROGRESS_MAX))),
        }
    }
}

impl AmqpDispatch {
    async fn tell(&self, announcement: &Announcement) -> Result<(), BackendError> {
        let session = self.session().await?;
        let (key, event) = event(announcement);
        let body = serde_json::to_vec(&event)
            .map_err(|error| self.told(Trouble::Away(format!("no announcement: {error}"))))?;
        let properties = BasicProperties::default()
            .with_content_type("application/cloudevents+json; charset=UTF-8".into())
            .with_message_id(event.id.to_string().into());
        let letter = Letter { exchange: EVENTS, key: &key, body: &body, properties };
        match session.publish(letter).await.map_err(|trouble| self.told(trouble))? {
            Posted::Taken => Ok(()),
            Posted::Returned(why) => {
                // The stream takes everything: somebody removed it, and the next session makes it anew.
                let gone = Trouble::Away(format!("nothing listens to {EVENTS} ({why})"));
                Err(self.told(session.end(gone)))
            }
        }
    }
}

fn event(announcement: &Announcement) -> (String, CloudEvent<'_>) {
    let (what, id) = match &announcement.what {
        Happening::Submitted => ("submitted", Uuid::now_v7()),
        Happening::Started { .. } => ("started", Uuid::now_v7()),
        Happening::Progress(_) => ("progress", Uuid::now_v7()),
        Happening::Ended { phase, .. } => {
            let end = format!("{}/{phase}", announcement.job);
            (phase.as_str(), Uuid::new_v5(&END_SPACE, end.as_bytes()))
        }
    };
    let event = CloudEvent {
        specversion: "1.0",
        id,
        source: "/drs",
        r#type: format!("dev.drs.job.{what}"),
        subject: &announcement.subject,
        time: announcement.at.to_string(),
        datacontenttype: "application/json",
        data: announcement,
    };
    (format!("job.{}.{what}", announcement.kind), event)
}

#[cfg(test)]
mod tests {
    use drs_model::{JobId, JobKind, Phase, Timestamp};

    use super::*;

    fn announcement(what: Happening) -> Announcement {
        Announcement {
            job: JobId::from_key("a"),
            kind: JobKind::Backup,
            subject: "dc/web".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            what,
        }
    }

    #[test]
    fn an_end_has_the_same_id_whenever_it_is_told() {
        let end = |phase| announcement(Happening::Ended { phase, fault: None });
        let (once, again) = (end(Phase::Succeeded), end(Phase::Succeeded));
        assert_eq!(event(&once).1.id, event(&again).1.id);
        assert_ne!(event(&once).1.id, event(&end(Phase::Failed)).1.id);
        let started = announcement(Happening::Started { attempt: 1 });
        assert_ne!(event(&started).1.id, event(&started).1.id);
    }

    #[test]
    fn an_announcement_is_a_cloud_event() {
        let announcement = announcement(Happening::Started { attempt: 2 });
        let (key, event) = event(&announcement);
        assert_eq!(key, "job.backup.started");
        let json = serde_json::to_value(&event).expect("JSON");
        for (name, value) in [
            ("specversion", "1.0"),
            ("source", "/drs"),
            ("type", "dev.drs.job.started"),
            ("subject", "dc/web"),
            ("time", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(json[name], value, "{name}");
        }
        assert_eq!(json["data"]["what"]["attempt"], 2);
    }
}
