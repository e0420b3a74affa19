//! How quick messages come: `cargo run -p drs-backend-amqp --example speed`.
//!
//! Starts a private broker. Prints no-op jobs per second for 32 asking slots, with the queue full and
//! with a producer beside it, and the time from publication to delivery on an idle worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use drs_backend::{BackendError, Dispatch};
use drs_backend_amqp::{AmqpConfig, AmqpDispatch};
use drs_lab_servers::{PASSWORD, RabbitMq};
use drs_model::{Job, JobClass, JobId, JobSpec, Need, Secret, Timestamp, VmRef};
use drs_protocol::store::JobMessage;
use tokio::task::JoinSet;

const SLOTS: usize = 32;
const MESSAGES: usize = 20_000;
const IDLE: usize = 500;
const WAIT: Duration = Duration::from_millis(100);
const ALL: [JobClass; 3] = [JobClass::Critical, JobClass::Normal, JobClass::Bulk];

#[tokio::main]
async fn main() -> Result<(), BackendError> {
    let broker = RabbitMq::start();
    let url = broker.url().replace(&format!(":{PASSWORD}@"), "@");
    let config = AmqpConfig::at(url).with_password(Secret::new(PASSWORD));
    let (producer, worker) =
        (AmqpDispatch::connect(&config).await?, AmqpDispatch::connect(&config).await?);
    idle(&producer, &worker).await?;
    let began = Instant::now();
    fill(&producer, MESSAGES).await;
    println!("publish, 64 callers: {:.0}/s", rate(MESSAGES, began));
    let began = Instant::now();
    drain(&worker, MESSAGES).await;
    println!("next and ack, {SLOTS} slots, queue full: {:.0}/s", rate(MESSAGES, began));
    let began = Instant::now();
    tokio::join!(fill(&producer, MESSAGES), drain(&worker, MESSAGES));
    println!("both at one time: {:.0}/s", rate(MESSAGES, began));
    Ok(())
}

fn rate(messages: usize, began: Instant) -> f64 {
    messages as f64 / began.elapsed().as_secs_f64()
}

async fn fill(producer: &AmqpDispatch, messages: usize) {
    let (mut tasks, next) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..64 {
        let (producer, next) = (producer.clone(), next.clone());
        tasks.spawn(async move {
            while let key @ 0..MESSAGES = next.fetch_add(1, Ordering::Relaxed) {
                if key >= messages {
                    break;
                }
                producer.publish(&message(&format!("{key}"))).await.expect("published");
            }
        });
    }
    tasks.join_all().await;
}

async fn drain(worker: &AmqpDispatch, messages: usize) {
    let (mut slots, done) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..SLOTS {
        let (worker, done) = (worker.clone(), done.clone());
        slots.spawn(async move {
            while done.load(Ordering::Relaxed) < messages {
                if let Some(delivery) = worker.next(&ALL, WAIT).await.expect("an answer") {
                    worker.ack(delivery).await.expect("acknowledged");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    slots.join_all().await;
}

/// One message at a time, to a worker whose slots all wait.
async fn idle(producer: &AmqpDispatch, worker: &AmqpDispatch) -> Result<(), BackendError> {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut slots = JoinSet::new();
    for _ in 0..SLOTS {
        let (worker, tell) = (worker.clone(), tell.clone());
        slots.spawn(async move {
            loop {
                if let Some(delivery) = worker.next(&ALL, WAIT).await.expect("an answer") {
                    tell.send(Instant::now()).expect("the main task listens");
                    worker.ack(delivery).await.expect("acknowledged");
                }
            }
        });
    }
    let mut took = Vec::new();
    for i in 0..IDLE {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        producer.publish(&message(&format!("idle {i}"))).await?;
        let came = told.recv().await.expect("the slots live");
        took.push(came.duration_since(began));
    }
    took.sort_unstable();
    let (half, most) = (took[IDLE / 2], took[IDLE * 99 / 100]);
    println!("publish to next on an idle worker: p50 {half:.2?}, p99 {most:.2?}");
    Ok(())
}

fn message(key: &str) -> JobMessage {
    let vm: VmRef = "dc/web".parse().expect("a VM");
    let needs = vec![Need::vm(vm.clone())];
    (&Job::new(JobId::from_key(key), JobSpec::backup(vm), needs, Timestamp::now())).into()
}
