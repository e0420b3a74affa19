//! Brokers that stop, die and freeze, networks that break: nothing confirmed is lost, nothing hangs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use drs_backend::{BackendError, Delivery, Dispatch};
use drs_backend_amqp::{AmqpConfig, AmqpDispatch};
use drs_lab_servers::{Proxy, RabbitMq};
use drs_model::JobClass::{Critical, Normal};
use drs_model::JobId;
use lapin::options::QueueDeleteOptions;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::rig::{ALL, NORMAL, PATIENCE, Rig, WAIT, aside, config, message};

async fn connect(config: &AmqpConfig) -> AmqpDispatch {
    AmqpDispatch::connect(config).await.expect("a broker")
}

/// A configuration over a proxy, with quick heartbeats.
fn over(proxy: &Proxy, url: &str) -> AmqpConfig {
    let port = RabbitMq::shared().port();
    let url = url.replace(&format!(":{port}/"), &format!(":{}/", proxy.port()));
    AmqpConfig { heartbeat: Duration::from_secs(1), ..config(&url) }
}

/// Publishes until it works.
async fn must_publish(dispatch: &AmqpDispatch, key: &str) {
    let began = Instant::now();
    while let Err(error) = dispatch.publish(&message(key, Normal)).await {
        assert!(began.elapsed() < PATIENCE, "still not: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks as a slot does until a message comes.
async fn must_come(dispatch: &AmqpDispatch) -> Delivery {
    let began = Instant::now();
    loop {
        if let Ok(Some(delivery)) = dispatch.next(&ALL, WAIT).await {
            return delivery;
        }
        assert!(began.elapsed() < PATIENCE, "no message comes");
    }
}

/// Publishes one message after the other until it is over; the ids that were confirmed, and how many
/// were not.
async fn produce(producer: AmqpDispatch, over: Arc<AtomicBool>) -> (BTreeSet<JobId>, usize) {
    let (mut confirmed, mut refused) = (BTreeSet::new(), 0);
    for i in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let sent = message(&format!("{i}"), ALL[i % 3]);
        match producer.publish(&sent).await {
            Ok(()) => drop(confirmed.insert(sent.id)),
            Err(_) => refused += 1,
        }
    }
    (confirmed, refused)
}

/// Takes and acknowledges, and tells what, as long as somebody listens.
async fn work(worker: AmqpDispatch, tell: mpsc::UnboundedSender<JobId>) {
    while !tell.is_closed() {
        if let Ok(Some(delivery)) = worker.next(&ALL, WAIT).await {
            let id = delivery.message.id;
            if worker.ack(delivery).await.is_ok() && tell.send(id).is_err() {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_needed_at_the_first_call_and_found_when_it_comes() {
    let url = RabbitMq::shared().fresh_vhost();
    let proxy = Proxy::to(RabbitMq::shared().port());
    aside(|| proxy.sever());
    let dispatch = AmqpDispatch::open(&over(&proxy, &url)).expect("nothing is asked so far");
    match dispatch.reach().await {
        Err(BackendError::Unavailable { what, .. }) => assert_eq!(what, dispatch.server()),
        other => panic!("{other:?}"),
    }
    let asking = dispatch.next(&ALL, WAIT).await;
    assert!(asking.is_ok_and(|message| message.is_none()));
    aside(|| proxy.heal());
    must_publish(&dispatch, "a").await;
    assert_eq!(must_come(&dispatch).await.message, message("a", Normal));
    dispatch.reach().await.expect("it answers");
}

fn kill_and_start(broker: &RabbitMq) {
    broker.kill();
    broker.restart();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_a_stopped_and_a_killed_broker() {
    let broker = aside(RabbitMq::start);
    let config = config(&broker.url());
    let (producer, worker) = (connect(&config).await, connect(&config).await);
    let over = Arc::new(AtomicBool::new(false));
    let producing = tokio::spawn(produce(producer, over.clone()));
    let (tell, mut told) = mpsc::unbounded_channel();
    for _ in 0..4 {
        tokio::spawn(work(worker.clone(), tell.clone()));
    }
    let mut came = BTreeSet::new();
    let faults: [fn(&RabbitMq); 3] =
        [|broker| broker.restart(), kill_and_start, |broker| broker.restart()];
    for fault in faults {
        // Something moves before and behind each fault.
        for _ in 0..50 {
            came.insert(told.recv().await.expect("the slots live"));
        }
        aside(|| fault(&broker));
        while told.try_recv().map(|id| came.insert(id)).is_ok() {}
    }
    for _ in 0..50 {
        came.insert(told.recv().await.expect("the slots live"));
    }
    over.store(true, Ordering::Relaxed);
    let (confirmed, refused) = producing.await.expect("the producer");
    let began = Instant::now();
    while !confirmed.is_subset(&came) {
        assert!(began.elapsed() < PATIENCE, "{} lost", confirmed.difference(&came).count());
        if let Ok(Some(id)) = timeout(WAIT, told.recv()).await {
            came.insert(id);
        }
    }
    assert!(refused > 0, "no fault was felt");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_had_comes_again_at_once_and_its_late_ack_is_no_error() {
    let rig = Rig::new().await;
    let proxy = Proxy::to(RabbitMq::shared().port());
    let dying = connect(&over(&proxy, &rig.url)).await;
    rig.dispatch.publish(&message("a", Normal)).await.expect("published");
    let taken = must_come(&dying).await;
    rig.plain.until_ready(NORMAL, 0).await;
    aside(|| proxy.sever());
    let again = rig.must_come().await;
    assert_eq!(again.message, taken.message);
    rig.dispatch.ack(again).await.expect("acknowledged");
    aside(|| proxy.heal());
    must_publish(&dying, "b").await;
    dying.ack(taken).await.expect("too late, and no error");
    assert_eq!(must_come(&dying).await.message, message("b", Normal));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_worker_had_comes_again_when_its_heartbeats_are_missed() {
    let rig = Rig::new().await;
    let proxy = Proxy::to(RabbitMq::shared().port());
    let frozen = connect(&over(&proxy, &rig.url)).await;
    rig.dispatch.publish(&message("a", Normal)).await.expect("published");
    let taken = must_come(&frozen).await;
    proxy.cut();
    assert_eq!(rig.must_come().await.message, taken.message);
    // Nothing hangs while the line is cut, and it is noticed there, too.
    let began = Instant::now();
    loop {
        assert!(frozen.next(&ALL, WAIT).await.is_ok_and(|message| message.is_none()));
        if let Err(BackendError::Unavailable { .. }) = frozen.publish(&message("b", Normal)).await {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "a cut line is not noticed");
    }
    aside(|| proxy.heal());
    must_publish(&frozen, "c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_keeps_nobody_for_long() {
    let broker = aside(RabbitMq::start);
    let config = AmqpConfig { heartbeat: Duration::from_secs(1), ..config(&broker.url()) };
    let dispatch = connect(&config).await;
    must_publish(&dispatch, "a").await;
    aside(|| broker.freeze());
    for wait in [Duration::ZERO, WAIT] {
        let answered = timeout(PATIENCE, dispatch.next(&ALL, wait)).await;
        assert!(answered.is_ok_and(|next| next.is_ok_and(|message| message.is_none())));
    }
    let answered = timeout(PATIENCE, dispatch.publish(&message("b", Normal))).await;
    assert!(matches!(answered, Ok(Err(BackendError::Unavailable { .. }))), "{answered:?}");
    aside(|| broker.thaw());
    assert_eq!(must_come(&dispatch).await.message, message("a", Normal));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_low_on_memory_says_so_and_is_asked_nothing_meanwhile() {
    let broker = aside(RabbitMq::start);
    let dispatch = connect(&config(&broker.url())).await;
    must_publish(&dispatch, "a").await;
    let taken = must_come(&dispatch).await;
    aside(|| broker.ctl(&["set_vm_memory_high_watermark", "0"]));
    let began = Instant::now();
    let low = |answer| match answer {
        Err(BackendError::Unavailable { reason, .. }) => reason.contains("low on memory"),
        _ => false,
    };
    while !low(dispatch.publish(&message("b", Normal)).await) {
        assert!(began.elapsed() < PATIENCE, "it takes messages");
    }
    // More often than a connection has channels.
    for _ in 0..3000 {
        assert!(low(dispatch.reach().await) && low(dispatch.publish(&message("b", Normal)).await));
    }
    dispatch.ack(taken).await.expect("acknowledged");
    aside(|| broker.ctl(&["set_vm_memory_high_watermark", "0.9"]));
    must_publish(&dispatch, "c").await;
    dispatch.reach().await.expect("it answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_no_queue_takes_is_an_error_and_the_next_one_heals_it() {
    let rig = Rig::new().await;
    rig.dispatch.publish(&message("a", Normal)).await.expect("published");
    let delete = rig.plain.channel.queue_delete(NORMAL.into(), QueueDeleteOptions::default());
    delete.await.expect("deleted");
    // Beside one that is taken: the server may confirm both at once.
    let (lost, urgent) = (message("b", Normal), message("c", Critical));
    let (lost, taken) = tokio::join!(rig.dispatch.publish(&lost), rig.dispatch.publish(&urgent));
    let said = lost.expect_err("nobody has it").to_string();
    assert!(said.contains(NORMAL) && said.contains("NO_ROUTE"), "{said}");
    taken.expect("published");
    rig.dispatch.publish(&message("d", Normal)).await.expect("the queue is there again");
    rig.plain.until_ready(NORMAL, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_queue_was_removed_makes_it_anew() {
    let rig = Rig::new().await;
    assert!(rig.dispatch.next(&ALL, WAIT).await.expect("an answer").is_none());
    let delete = rig.plain.channel.queue_delete(NORMAL.into(), QueueDeleteOptions::default());
    delete.await.expect("deleted");
    let waiting = {
        let dispatch = rig.dispatch.clone();
        tokio::spawn(async move { must_come(&dispatch).await })
    };
    must_publish(&rig.dispatch, "a").await;
    assert_eq!(waiting.await.expect("a slot").message, message("a", Normal));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatch_that_is_dropped_gives_back_what_it_had() {
    let rig = Rig::new().await;
    rig.dispatch.publish(&message("a", Normal)).await.expect("published");
    let other = connect(&config(&rig.url)).await;
    let taken = must_come(&other).await;
    rig.plain.until_ready(NORMAL, 0).await;
    drop(other);
    rig.plain.until_ready(NORMAL, 1).await;
    assert_eq!(rig.must_come().await.message, taken.message);
}
