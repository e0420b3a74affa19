//! The contract of the port, held against RabbitMQ.

use std::sync::Arc;

use drs_backend::Backend;
use drs_backend::conformance::{self, Port};
use drs_backend_amqp::AmqpDispatch;
use drs_backend_sqlite::SqliteBackend;
use drs_lab_servers::RabbitMq;

use crate::rig::config;

#[tokio::test(flavor = "multi_thread")]
async fn dispatch_keeps_its_contract() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut backends = 0;
    let checks = conformance::run(&[Port::Dispatch], || {
        backends += 1;
        let path = folder.path().join(format!("{backends}.db"));
        async move {
            let config = config(&RabbitMq::shared().fresh_vhost());
            let amqp = AmqpDispatch::connect(&config).await.expect("a broker");
            let beside = SqliteBackend::open(&path).expect("a new file").backend();
            Backend { dispatch: Arc::new(amqp), ..beside }
        }
    })
    .await;
    match checks {
        Ok(checks) => assert!(checks >= 9, "only {checks} checks ran"),
        Err(violations) => panic!("{violations}"),
    }
}
