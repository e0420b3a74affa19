//! What the tests share: a broker, a dispatch on a virtual host of its own, jobs, and a look behind
//! the scenes over a plain connection.

use std::time::Duration;

use drs_backend::Dispatch;
use drs_backend_amqp::{AmqpConfig, AmqpDispatch};
use drs_lab_servers::{PASSWORD, RabbitMq};
use drs_model::{Job, JobClass, JobId, JobSpec, Need, Secret, Timestamp, VmRef};
use drs_protocol::store::JobMessage;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

/// How long something may take that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// As a worker's slots ask.
pub(crate) const WAIT: Duration = Duration::from_millis(100);
pub(crate) const ALL: [JobClass; 3] = [JobClass::Critical, JobClass::Normal, JobClass::Bulk];
pub(crate) const NORMAL: &str = "drs.jobs.main.normal";

/// A configuration for a URL with the lab's password in it.
pub(crate) fn config(url: &str) -> AmqpConfig {
    let url = url.replace(&format!(":{PASSWORD}@"), "@");
    AmqpConfig::at(url).with_password(Secret::new(PASSWORD))
}

/// A virtual host of the shared broker, seen by the product and by a plain client.
pub(crate) struct Rig {
    pub(crate) url: String,
    pub(crate) dispatch: AmqpDispatch,
    pub(crate) plain: Plain,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::at(RabbitMq::shared().fresh_vhost()).await
    }

    pub(crate) async fn at(url: String) -> Self {
        let dispatch = AmqpDispatch::connect(&config(&url)).await.expect("a broker");
        let plain = Plain::at(&url).await;
        Self { url, dispatch, plain }
    }

    /// The next message of any class; it must come.
    pub(crate) async fn must_come(&self) -> drs_backend::Delivery {
        let next = self.dispatch.next(&ALL, PATIENCE).await.expect("the broker answers");
        next.expect("a message comes")
    }
}

/// Another program on the same virtual host.
pub(crate) struct Plain {
    /// Kept, since a dropped connection closes.
    _connection: Connection,
    pub(crate) channel: Channel,
}

impl Plain {
    pub(crate) async fn at(url: &str) -> Self {
        let connecting = Connection::connect(url, ConnectionProperties::default());
        let connection = connecting.await.expect("a broker");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Self { _connection: connection, channel }
    }

    /// Messages that wait in a queue, in nobody's hands.
    pub(crate) async fn ready(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = self.channel.queue_declare(queue.into(), passive, FieldTable::default());
        declared.await.expect("the queue is there").message_count()
    }

    pub(crate) async fn until_ready(&self, queue: &str, messages: u32) {
        let mut ready = self.ready(queue).await;
        let began = std::time::Instant::now();
        while ready != messages {
            assert!(began.elapsed() < PATIENCE, "{queue} has {ready} messages, not {messages}");
            tokio::time::sleep(Duration::from_millis(5)).await;
            ready = self.ready(queue).await;
        }
    }

    pub(crate) async fn publish(&self, queue: &str, body: &[u8], properties: BasicProperties) {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let sent = self.channel.basic_publish("".into(), queue.into(), options, body, properties);
        let confirmed = sent.await.expect("sent").await.expect("confirmed");
        assert!(confirmed.is_ack() && confirmed.take_message().is_none(), "{queue} takes it");
    }

    /// The first message of a queue, left unacknowledged.
    pub(crate) async fn get(&self, queue: &str) -> lapin::message::Delivery {
        let got = self.channel.basic_get(queue.into(), BasicGetOptions::default());
        got.await.expect("an answer").expect("a message").delivery
    }
}

/// The message of a backup job.
pub(crate) fn message(key: &str, class: JobClass) -> JobMessage {
    let vm: VmRef = "dc/web".parse().expect("a VM");
    let needs = vec![Need::vm(vm.clone()), Need::host_slot(vm.host.clone(), 2)];
    let job = Job::new(JobId::from_key(key), JobSpec::backup(vm), needs, Timestamp::UNIX_EPOCH);
    JobMessage { class, ..(&job).into() }
}

/// Blocks for what a server does; the runtime goes on meanwhile.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
