//! Dead letters: listed without being lost, replayed, told why.

use drs_backend::{BackendError, DeadLetters, Dispatch};
use drs_model::JobClass::Normal;
use drs_model::JobId;
use lapin::BasicProperties;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::rig::{ALL, NORMAL, Rig, WAIT, message};

const DEAD: &str = "drs.dead";

#[tokio::test(flavor = "multi_thread")]
async fn they_are_listed_oldest_first_and_stay() {
    let rig = Rig::new().await;
    for (i, body) in ["one", "two", "three"].into_iter().enumerate() {
        rig.plain.publish(NORMAL, body.as_bytes(), BasicProperties::default()).await;
        assert!(rig.dispatch.next(&ALL, WAIT).await.expect("an answer").is_none());
        rig.plain.until_ready(DEAD, i as u32 + 1).await;
    }
    for _ in 0..3 {
        let letters = rig.dispatch.dead(2).await.expect("an answer");
        let bodies: Vec<&str> = letters.iter().map(|letter| letter.body.as_str()).collect();
        assert_eq!(bodies, ["one", "two"]);
        rig.plain.until_ready(DEAD, 3).await;
    }
    let letters = rig.dispatch.dead(10).await.expect("an answer");
    assert_eq!(letters.len(), 3);
    assert!(letters[0].reason.starts_with("it is no job message"), "{}", letters[0].reason);
    assert_eq!((letters[0].queue.as_str(), letters[0].job), (NORMAL, None));
    assert!(letters[0].at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_a_newer_version_wrote_cannot_be_replayed_and_stays() {
    let rig = Rig::new().await;
    let body = serde_json::to_vec(&message("a", Normal)).expect("JSON");
    let mut headers = FieldTable::default();
    headers.insert("drs-version".into(), AMQPValue::LongInt(2));
    rig.plain.publish(NORMAL, &body, BasicProperties::default().with_headers(headers)).await;
    assert!(rig.dispatch.next(&ALL, WAIT).await.expect("an answer").is_none());
    rig.plain.until_ready(DEAD, 1).await;
    let letters = rig.dispatch.dead(10).await.expect("an answer");
    assert_eq!(letters[0].job, Some(JobId::from_key("a")));
    rig.plain.until_ready(DEAD, 1).await;
    let replayed = rig.dispatch.replay(&letters[0].id).await.expect_err("a newer version");
    assert!(matches!(replayed, BackendError::LetterDamaged { .. }), "{replayed:?}");
    assert!(replayed.fault().remedy.contains("drs dead drop"), "{:?}", replayed.fault());
    rig.plain.until_ready(DEAD, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_removed_and_the_others_stay() {
    let rig = Rig::new().await;
    for (i, body) in ["one", "two", "three"].into_iter().enumerate() {
        rig.plain.publish(NORMAL, body.as_bytes(), BasicProperties::default()).await;
        assert!(rig.dispatch.next(&ALL, WAIT).await.expect("an answer").is_none());
        rig.plain.until_ready(DEAD, i as u32 + 1).await;
    }
    let letters = rig.dispatch.dead(10).await.expect("an answer");
    for _ in 0..2 {
        let first = rig.dispatch.dead(1).await.expect("an answer");
        assert_eq!(first[0].body, "one", "a look at some changes no order");
        rig.plain.until_ready(DEAD, 3).await;
    }
    rig.dispatch.remove(&letters[1].id).await.expect("removed");
    rig.plain.until_ready(DEAD, 2).await;
    let letters = rig.dispatch.dead(10).await.expect("an answer");
    let bodies: Vec<&str> = letters.iter().map(|letter| letter.body.as_str()).collect();
    assert_eq!(bodies, ["one", "three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_put_aside_is_told_with_its_reason_and_replayed() {
    let rig = Rig::new().await;
    // A queue beside ours with a delivery limit that is soon reached.
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-dead-letter-exchange", AMQPValue::LongString(DEAD.into())),
        ("x-delivery-limit", AMQPValue::LongInt(1)),
    ] {
        arguments.insert(name.into(), value);
    }
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let channel = &rig.plain.channel;
    channel.queue_declare("often".into(), durable, arguments).await.expect("declared");
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind("often".into(), "amq.direct".into(), "often".into(), options, none)
        .await
        .expect("bound");
    let sent = message("a", Normal);
    let properties = BasicProperties::default()
        .with_message_id(sent.id.to_string().into())
        .with_delivery_mode(2);
    rig.plain.publish("often", &serde_json::to_vec(&sent).expect("JSON"), properties).await;
    for _ in 0..2 {
        rig.plain.until_ready("often", 1).await;
        let options = lapin::options::BasicNackOptions { requeue: true, multiple: false };
        rig.plain.get("often").await.nack(options).await.expect("given back");
    }
    rig.plain.until_ready(DEAD, 1).await;
    let letters = rig.dispatch.dead(10).await.expect("an answer");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason, "delivered too often without being dealt with");
    assert_eq!((letters[0].queue.as_str(), letters[0].job), ("often", Some(sent.id)));
    assert!(letters[0].at.is_some());
    rig.plain.until_ready(DEAD, 1).await;
    let job = rig.dispatch.replay(&letters[0].id).await.expect("replayed");
    assert_eq!(job, sent.id);
    rig.plain.until_ready(DEAD, 0).await;
    assert_eq!(rig.must_come().await.message, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_letter_of_another_name() {
    let rig = Rig::new().await;
    let replayed = rig.dispatch.replay("nobody").await;
    assert!(matches!(replayed, Err(BackendError::NotFound(_))), "{replayed:?}");
    let removed = rig.dispatch.remove("nobody").await;
    assert!(matches!(removed, Err(BackendError::NotFound(_))), "{removed:?}");
}
