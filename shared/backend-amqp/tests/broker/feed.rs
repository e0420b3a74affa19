//! Announcements, as a program without any library of ours receives them.

use drs_backend::{Announcement, Feed, Happening};
use drs_model::{JobId, JobKind, Phase, Progress, Timestamp};
use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::rig::Rig;

fn announcement(what: Happening) -> Announcement {
    Announcement {
        job: JobId::from_key("a"),
        kind: JobKind::Backup,
        subject: "dc/web".to_owned(),
        at: Timestamp::UNIX_EPOCH,
        what,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_what_it_asked_for_and_can_tell_repetitions() {
    let rig = Rig::new().await;
    let channel = &rig.plain.channel;
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let none = FieldTable::default;
    channel.queue_declare("mine".into(), exclusive, none()).await.expect("declared");
    let options = QueueBindOptions::default();
    channel
        .queue_bind("mine".into(), "drs.events".into(), "job.*.succeeded".into(), options, none())
        .await
        .expect("bound");
    let end = Happening::Ended { phase: Phase::Succeeded, fault: None };
    for what in [
        Happening::Submitted,
        Happening::Progress(Progress::default()),
        end.clone(),
        Happening::Ended { phase: Phase::Failed, fault: None },
        end,
    ] {
        rig.dispatch.announce(&announcement(what)).await.expect("told");
    }
    rig.plain.until_ready("mine", 2).await;
    let (first, again) = (rig.plain.get("mine").await, rig.plain.get("mine").await);
    let json: serde_json::Value = serde_json::from_slice(&first.data).expect("JSON");
    assert_eq!(json["specversion"], "1.0");
    assert_eq!(json["type"], "dev.drs.job.succeeded");
    assert_eq!(json["data"]["job"], JobId::from_key("a").to_string());
    assert_eq!(first.routing_key.as_str(), "job.backup.succeeded");
    let content_type = first.properties.content_type().as_ref().map(ToString::to_string);
    assert!(content_type.is_some_and(|is| is.starts_with("application/cloudevents+json")));
    let second: serde_json::Value = serde_json::from_slice(&again.data).expect("JSON");
    assert_eq!(json["id"], second["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_everything_again_from_its_beginning() {
    let rig = Rig::new().await;
    rig.dispatch.announce(&announcement(Happening::Submitted)).await.expect("told");
    let started = Happening::Started { attempt: 1 };
    rig.dispatch.announce(&announcement(started)).await.expect("told");
    let channel = &rig.plain.channel;
    channel.basic_qos(10, BasicQosOptions::default()).await.expect("prefetch");
    let mut from = FieldTable::default();
    from.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let options = BasicConsumeOptions::default();
    let mut log = channel
        .basic_consume("drs.events.log".into(), "replay".into(), options, from)
        .await
        .expect("the log is there");
    for key in ["job.backup.submitted", "job.backup.started"] {
        let told = log.next().await.expect("an announcement").expect("no error");
        assert_eq!(told.routing_key.as_str(), key);
    }
}
