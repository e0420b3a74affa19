//! A message leaves its queue only for a slot that waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drs_backend::Dispatch;
use drs_backend_amqp::AmqpDispatch;
use drs_model::JobClass::{Bulk, Critical, Normal};
use drs_model::Lane;
use drs_protocol::store::JobMessage;
use tokio::task::JoinSet;

use crate::rig::{ALL, NORMAL, PATIENCE, Rig, WAIT, config, message};

#[tokio::test(flavor = "multi_thread")]
async fn no_message_waits_in_a_worker_whose_slots_are_busy() {
    let rig = Rig::new().await;
    for key in ["1", "2", "3"] {
        rig.dispatch.publish(&message(key, Normal)).await.expect("published");
    }
    let busy = rig.must_come().await;
    rig.plain.until_ready(NORMAL, 2).await;
    rig.dispatch.ack(busy).await.expect("acknowledged");
    rig.plain.until_ready(NORMAL, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_just_after_the_last_slot_got_busy_stays_in_its_queue() {
    let rig = Rig::new().await;
    // The slot leaves a bell behind.
    assert!(rig.dispatch.next(&ALL, WAIT).await.expect("an answer").is_none());
    rig.dispatch.publish(&message("1", Normal)).await.expect("published");
    rig.plain.until_ready(NORMAL, 1).await;
    assert_eq!(rig.must_come().await.message, message("1", Normal));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_for_critical_jobs_never_sees_another_one() {
    let rig = Rig::new().await;
    let reserved = {
        let dispatch = rig.dispatch.clone();
        tokio::spawn(async move {
            loop {
                if let Some(delivery) = dispatch.next(&[Critical], WAIT).await.expect("an answer") {
                    return delivery.message;
                }
            }
        })
    };
    for (key, class) in [("1", Normal), ("2", Bulk), ("3", Critical)] {
        rig.dispatch.publish(&message(key, class)).await.expect("published");
    }
    assert_eq!(reserved.await.expect("a slot"), message("3", Critical));
    rig.plain.until_ready(NORMAL, 1).await;
    rig.plain.until_ready("drs.jobs.main.bulk", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_wait_get_every_message_once_and_leave_nothing() {
    const MESSAGES: usize = 600;
    let rig = Rig::new().await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut slots = JoinSet::new();
    for slot in 0..8 {
        let (dispatch, done) = (rig.dispatch.clone(), done.clone());
        let classes = if slot == 0 { &ALL[..1] } else { &ALL[..] };
        slots.spawn(async move {
            let mut got = Vec::new();
            while done.load(Ordering::Relaxed) < MESSAGES {
                if let Some(delivery) = dispatch.next(classes, WAIT).await.expect("an answer") {
                    assert!(classes.contains(&delivery.message.class));
                    got.push(delivery.message.id);
                    dispatch.ack(delivery).await.expect("acknowledged");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
            got
        });
    }
    for i in 0..MESSAGES {
        let sent = message(&format!("{i}"), ALL[i % 3]);
        rig.dispatch.publish(&sent).await.expect("published");
    }
    let mut times = BTreeMap::new();
    for id in slots.join_all().await.into_iter().flatten() {
        *times.entry(id).or_insert(0) += 1;
    }
    assert_eq!(times.len(), MESSAGES);
    assert!(times.values().all(|times| *times == 1), "a message came twice");
    assert!(rig.dispatch.next(&ALL, Duration::ZERO).await.expect("an answer").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_gives_up_half_way_loses_nothing() {
    let rig = Rig::new().await;
    for round in 0..30 {
        let key = format!("{round}");
        let asking = rig.dispatch.next(&ALL, PATIENCE);
        let sent = message(&key, Normal);
        tokio::select! {
            () = async {
                rig.dispatch.publish(&sent).await.expect("published");
                tokio::time::sleep(Duration::from_micros(200 * round)).await;
            } => {}
            got = asking => {
                rig.dispatch.ack(got.expect("an answer").expect("a message")).await.expect("acknowledged");
                continue;
            }
        }
        let delivery = rig.must_come().await;
        assert_eq!(delivery.message.id, sent.id);
        rig.dispatch.ack(delivery).await.expect("acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_its_lanes_in_turn_and_no_other() {
    let rig = Rig::new().await;
    let lane = |name: &str| -> Lane { name.parse().expect("a lane") };
    let in_lane = |key: &str, name| JobMessage { lane: lane(name), ..message(key, Normal) };
    let config = config(&rig.url).with_lanes(vec![lane("north"), lane("south")]);
    let worker = AmqpDispatch::connect(&config).await.expect("a broker");
    for i in 0..10 {
        for name in ["north", "south", "west"] {
            let sent = in_lane(&format!("{name}{i}"), name);
            rig.dispatch.publish(&sent).await.expect("published");
        }
    }
    let mut came = Vec::new();
    while came.len() < 20 {
        let delivery = worker.next(&ALL, Duration::from_secs(30)).await.expect("an answer");
        let delivery = delivery.expect("a message of a lane of its own");
        came.push(delivery.message.lane.to_string());
        worker.ack(delivery).await.expect("acknowledged");
    }
    let north = came[..10].iter().filter(|lane| *lane == "north").count();
    assert_eq!(north, 5, "in turn: {came:?}");
    rig.plain.until_ready("drs.jobs.west.normal", 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_travels_with_its_trace_and_stays_through_a_restart() {
    let rig = Rig::new().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let sent = JobMessage { trace: trace.parse().ok(), ..message("1", Normal) };
    rig.dispatch.publish(&sent).await.expect("published");
    let seen = rig.plain.get(NORMAL).await;
    let headers = seen.properties.headers().clone().expect("headers");
    let value =
        headers.inner().get("traceparent").and_then(|value| value.as_long_string()).cloned();
    assert_eq!(value.map(|value| value.to_string()).as_deref(), Some(trace));
    assert_eq!(*seen.properties.delivery_mode(), Some(2), "persistent");
}
