//! Dispatch: at least once, the most urgent first, and nothing lost between two workers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use drs_model::JobClass;
use drs_protocol::store::JobMessage;
use tokio::task::JoinSet;

use super::{PATIENCE, Verdict, Violation, backup, broken, checks, holds, same};
use crate::{Backend, BackendError, Delivery};

checks![
    what_is_published_comes_unchanged_and_is_gone_when_acknowledged,
    an_empty_queue_gives_nothing,
    the_most_urgent_class_comes_first,
    a_worker_gets_only_the_classes_it_asks_for,
    within_a_class_the_oldest_comes_first,
    a_message_published_twice_is_gone_when_all_deliveries_are_acknowledged,
    a_message_published_again_while_it_is_taken_comes_again,
    a_message_that_is_given_back_comes_again_at_once,
    a_waiting_worker_is_woken_by_a_publication,
    many_workers_share_many_messages_and_miss_none,
];

const ALL: [JobClass; 3] = [JobClass::Critical, JobClass::Normal, JobClass::Bulk];

fn message(key: &str, class: JobClass, created: i64) -> Result<JobMessage, Violation> {
    Ok(JobMessage { class, ..(&backup(key, "dc/web", created)?).into() })
}

async fn publish(backend: &Backend, messages: &[JobMessage]) -> Verdict {
    for message in messages {
        backend.dispatch.publish(message).await?;
    }
    Ok(())
}

async fn must_come(backend: &Backend, classes: &[JobClass]) -> Result<Delivery, Violation> {
    match backend.dispatch.next(classes, PATIENCE).await? {
        Some(delivery) => Ok(delivery),
        None => broken("no message came".into()),
    }
}

async fn nothing_left(backend: &Backend) -> Verdict {
    let left = backend.dispatch.next(&ALL, Duration::ZERO).await?;
    same("left behind", &left.map(|delivery| delivery.message), &None)
}

async fn what_is_published_comes_unchanged_and_is_gone_when_acknowledged(
    backend: Backend,
) -> Verdict {
    let sent = message("a", JobClass::Normal, 1)?;
    publish(&backend, std::slice::from_ref(&sent)).await?;
    let delivery = must_come(&backend, &ALL).await?;
    same("message", &delivery.message, &sent)?;
    nothing_left(&backend).await?;
    backend.dispatch.ack(delivery).await?;
    nothing_left(&backend).await
}

async fn an_empty_queue_gives_nothing(backend: Backend) -> Verdict {
    nothing_left(&backend).await?;
    let waited = backend.dispatch.next(&ALL, Duration::from_millis(1)).await?;
    holds("nothing comes", waited.is_none())
}

async fn the_most_urgent_class_comes_first(backend: Backend) -> Verdict {
    let bulk = message("bulk", JobClass::Bulk, 1)?;
    let normal = message("normal", JobClass::Normal, 2)?;
    let critical = message("critical", JobClass::Critical, 3)?;
    publish(&backend, &[bulk.clone(), normal.clone(), critical.clone()]).await?;
    let asked = [JobClass::Bulk, JobClass::Critical, JobClass::Normal];
    for wanted in [critical, normal, bulk] {
        let delivery = must_come(&backend, &asked).await?;
        same("next", &delivery.message.id, &wanted.id)?;
        backend.dispatch.ack(delivery).await?;
    }
    Ok(())
}

async fn a_worker_gets_only_the_classes_it_asks_for(backend: Backend) -> Verdict {
    let normal = message("normal", JobClass::Normal, 1)?;
    publish(&backend, std::slice::from_ref(&normal)).await?;
    let critical = backend.dispatch.next(&[JobClass::Critical], Duration::ZERO).await?;
    holds("a critical slot stays free", critical.is_none())?;
    same("next", &must_come(&backend, &[JobClass::Normal]).await?.message, &normal)
}

async fn within_a_class_the_oldest_comes_first(backend: Backend) -> Verdict {
    let mut messages = Vec::new();
    for i in 0..5 {
        messages.push(message(&format!("{i}"), JobClass::Normal, i)?);
    }
    publish(&backend, &messages).await?;
    for wanted in &messages {
        same("next", &must_come(&backend, &ALL).await?.message.id, &wanted.id)?;
    }
    Ok(())
}

async fn a_message_published_twice_is_gone_when_all_deliveries_are_acknowledged(
    backend: Backend,
) -> Verdict {
    let sent = message("a", JobClass::Normal, 1)?;
    publish(&backend, &[sent.clone(), sent.clone()]).await?;
    let first = must_come(&backend, &ALL).await?;
    same("message", &first.message, &sent)?;
    backend.dispatch.ack(first).await?;
    if let Some(second) = backend.dispatch.next(&ALL, Duration::ZERO).await? {
        backend.dispatch.ack(second).await?;
    }
    nothing_left(&backend).await
}

async fn a_message_published_again_while_it_is_taken_comes_again(backend: Backend) -> Verdict {
    let sent = message("a", JobClass::Normal, 1)?;
    publish(&backend, std::slice::from_ref(&sent)).await?;
    let parked = must_come(&backend, &ALL).await?;
    publish(&backend, std::slice::from_ref(&sent)).await?;
    backend.dispatch.ack(parked).await?;
    let woken = must_come(&backend, &ALL).await?;
    same("message", &woken.message, &sent)?;
    backend.dispatch.ack(woken).await?;
    nothing_left(&backend).await
}

async fn a_message_that_is_given_back_comes_again_at_once(backend: Backend) -> Verdict {
    let sent = message("a", JobClass::Normal, 1)?;
    publish(&backend, std::slice::from_ref(&sent)).await?;
    let given_back = must_come(&backend, &ALL).await?;
    backend.dispatch.give_back(given_back).await?;
    let again = must_come(&backend, &ALL).await?;
    same("message", &again.message, &sent)?;
    backend.dispatch.ack(again).await?;
    nothing_left(&backend).await
}

async fn a_waiting_worker_is_woken_by_a_publication(backend: Backend) -> Verdict {
    let worker = {
        let dispatch = backend.dispatch.clone();
        tokio::spawn(async move { dispatch.next(&ALL, PATIENCE).await })
    };
    let sent = message("a", JobClass::Normal, 1)?;
    publish(&backend, std::slice::from_ref(&sent)).await?;
    let came = worker.await.or_else(|error| broken(error.to_string()))??;
    same("message", &came.map(|delivery| delivery.message), &Some(sent))
}

async fn many_workers_share_many_messages_and_miss_none(backend: Backend) -> Verdict {
    const MESSAGES: usize = 200;
    let mut sent = BTreeSet::new();
    for i in 0..MESSAGES {
        let message = message(&format!("{i}"), ALL[i % ALL.len()], 1)?;
        sent.insert(message.id);
        publish(&backend, &[message]).await?;
    }
    let mut workers = JoinSet::new();
    let (left, until) = (Arc::new(AtomicUsize::new(MESSAGES)), Instant::now() + PATIENCE);
    for _ in 0..8 {
        let (dispatch, left) = (backend.dispatch.clone(), Arc::clone(&left));
        workers.spawn(async move {
            let mut got = Vec::new();
            while left.load(Ordering::Relaxed) > 0 && Instant::now() < until {
                let Some(delivery) = dispatch.next(&ALL, Duration::from_millis(50)).await? else {
                    continue;
                };
                got.push(delivery.message.id);
                dispatch.ack(delivery).await?;
                left.fetch_sub(1, Ordering::Relaxed);
            }
            Ok::<_, BackendError>(got)
        });
    }
    let mut came = BTreeSet::new();
    for got in workers.join_all().await {
        came.extend(got?);
    }
    same("messages", &came, &sent)
}
