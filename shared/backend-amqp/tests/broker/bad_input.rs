//! What no worker can understand: put aside with a reason, seen by no worker, and no crash loop.

use drs_backend::{DeadLetters, Dispatch};
use drs_model::JobClass::Normal;
use drs_protocol::store::JobMessage;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};

use crate::rig::{NORMAL, Rig, message};

#[tokio::test(flavor = "multi_thread")]
async fn each_sort_is_put_aside_and_the_good_ones_between_them_come() {
    let rig = Rig::new().await;
    let plain = BasicProperties::default;
    let changed = |change: fn(&mut Value)| {
        let mut value = serde_json::to_value(message("bad", Normal)).expect("JSON");
        change(&mut value);
        serde_json::to_vec(&value).expect("JSON")
    };
    let newer = {
        let mut headers = FieldTable::default();
        headers.insert("drs-version".into(), AMQPValue::LongInt(2));
        plain().with_headers(headers)
    };
    let bad: Vec<(Vec<u8>, BasicProperties, &str)> = vec![
        (b"{not json".to_vec(), plain(), "it is no job message"),
        (vec![0xff; 100], plain(), "it is no job message"),
        (vec![b' '; 300 * 1024], plain(), "262144 are allowed"),
        (changed(|_| {}), newer, "its format is 2"),
        (changed(|value| value["spec"] = json!({"kind": "fly"})), plain(), "unknown variant"),
        (changed(|value| value["needs"] = json!("all")), plain(), "invalid type"),
        (changed(|value| value["needs"] = json!([])), plain(), "does not ask for vm:dc/web"),
    ];
    let (count, good) = (bad.len(), |i: usize| message(&format!("good {i}"), Normal));
    for (i, (body, properties, _)) in bad.iter().enumerate() {
        rig.plain.publish(NORMAL, body, properties.clone()).await;
        rig.dispatch.publish(&good(i)).await.expect("published");
    }
    for i in 0..count {
        let delivery = rig.must_come().await;
        assert_eq!(delivery.message, good(i));
        rig.dispatch.ack(delivery).await.expect("acknowledged");
    }
    rig.plain.until_ready("drs.dead", count as u32).await;
    rig.plain.until_ready(NORMAL, 0).await;
    let letters = rig.dispatch.dead(100).await.expect("an answer");
    for (_, _, reason) in bad {
        let told = letters.iter().any(|letter| letter.reason.contains(reason));
        assert!(told, "nobody says {reason:?}: {letters:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_not_published() {
    let rig = Rig::new().await;
    let one = message("a", Normal);
    let large = JobMessage { needs: vec![one.needs[0].clone(); 10_000], ..one };
    let refused = rig.dispatch.publish(&large).await.expect_err("it is too large").fault();
    assert!(refused.message.contains("262144 are allowed"), "{}", refused.message);
    assert!(!refused.remedy.is_empty());
}
