//! What the operator is told when the server does not let us in: one clear line and no secret.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Instant;

use drs_backend::{BackendError, Dispatch};
use drs_backend_amqp::{AmqpConfig, AmqpDispatch};
use drs_lab_servers::{PASSWORD, RabbitMq};
use drs_model::JobClass::Normal;
use drs_model::{FaultClass, Secret};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use crate::rig::{PATIENCE, Plain, Rig, aside, config, message};

/// What is said by a connection that must fail, and whether waiting may help.
async fn said(config: &AmqpConfig) -> (String, FaultClass) {
    let error = match AmqpDispatch::connect(config).await {
        Ok(_) => panic!("{} was let in", config.url),
        Err(error) => error,
    };
    let fault = error.fault();
    let told = format!("{error} {}", fault.remedy);
    assert!(!fault.remedy.is_empty(), "no remedy: {error}");
    assert!(!error.to_string().contains('\n'), "more than a line: {error}");
    assert!(!told.contains(PASSWORD) && !told.contains("hunter2"), "a secret: {told}");
    (told, fault.class)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() {
    let good = config(&RabbitMq::shared().fresh_vhost());
    let (told, class) = said(&good.clone().with_password(Secret::new("hunter2"))).await;
    assert!(told.contains("does not know this user with this password"), "{told}");
    assert_eq!(class, FaultClass::Permanent);
    let url = good.url.replace("drs@", "nobody@");
    let (told, _) = said(&AmqpConfig { url, ..good }).await;
    assert!(told.contains("does not know this user"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_that_is_not_there() {
    let good = config(&RabbitMq::shared().url());
    let url = good.url.replace("%2f", "nowhere");
    let (told, class) = said(&AmqpConfig { url, ..good }).await;
    assert!(told.contains("nowhere") && told.contains("add_vhost"), "{told}");
    assert_eq!(class, FaultClass::Permanent);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_are_allowed() {
    let broker = RabbitMq::shared();
    let config = config(&broker.fresh_vhost());
    let vhost = config.url.rsplit('/').next().expect("a virtual host").to_owned();
    let user_url = config.url.replace("drs@", "crowded@");
    aside(|| broker.ctl(&["set_vhost_limits", "-p", &vhost, r#"{"max-connections": 0}"#]));
    let (told, class) = said(&config).await;
    assert!(told.contains("limit") && told.contains(&vhost), "{told}");
    assert_eq!(class, FaultClass::Transient);
    aside(|| broker.ctl(&["clear_vhost_limits", "-p", &vhost]));
    aside(|| broker.ctl(&["add_user", "crowded", "hunter2"]));
    aside(|| broker.ctl(&["set_permissions", "-p", &vhost, "crowded", ".*", ".*", ".*"]));
    aside(|| broker.ctl(&["set_user_limits", "crowded", r#"{"max-connections": 0}"#]));
    let crowded = AmqpConfig { url: user_url, ..config }.with_password(Secret::new("hunter2"));
    let (told, class) = said(&crowded).await;
    assert!(told.contains("limit") && told.contains("crowded"), "{told}");
    assert_eq!(class, FaultClass::Transient);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_rights() {
    let broker = RabbitMq::shared();
    let config = config(&broker.fresh_vhost());
    let vhost = config.url.rsplit('/').next().expect("a virtual host").to_owned();
    aside(|| broker.ctl(&["add_user", "guarded", "hunter2"]));
    let url = config.url.replace("drs@", "guarded@");
    let config = AmqpConfig { url, ..config }.with_password(Secret::new("hunter2"));
    let (told, class) = said(&config).await;
    assert!(told.contains("set_permissions"), "{told}");
    assert_eq!(class, FaultClass::Permanent);
    aside(|| broker.ctl(&["set_permissions", "-p", &vhost, "guarded", "nothing", ".*", ".*"]));
    let (told, _) = said(&config).await;
    assert!(told.contains("drs.dead") && told.contains("set_permissions"), "{told}");
    let (ours, write) = (r"drs\..*", r"drs\..*|amq\.default");
    aside(|| broker.ctl(&["set_permissions", "-p", &vhost, "guarded", ours, write, ours]));
    let dispatch = AmqpDispatch::connect(&config).await.expect("what the remedy says is enough");
    dispatch.publish(&message("a", Normal)).await.expect("published");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there() {
    let port = free_port();
    let url = format!("amqp://drs@127.0.0.1:{port}/%2f");
    let (told, class) = said(&AmqpConfig::at(url).with_password(Secret::new("hunter2"))).await;
    assert!(told.contains("connection refused") && told.contains(&port.to_string()), "{told}");
    assert_eq!(class, FaultClass::Transient);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_there_who_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let url = format!("amqp://drs@127.0.0.1:{port}/%2f");
    let (told, class) = said(&AmqpConfig::at(url).with_password(Secret::new("hunter2"))).await;
    assert!(told.contains("no answer"), "{told}");
    assert_eq!(class, FaultClass::Transient);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_made_with_other_settings() {
    let url = RabbitMq::shared().fresh_vhost();
    let plain = Plain::at(&url).await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let declare = plain.channel.queue_declare("drs.dead".into(), durable, FieldTable::default());
    declare.await.expect("declared");
    let (told, class) = said(&config(&url)).await;
    assert!(told.contains("inequivalent") && told.contains("drs.dead"), "{told}");
    assert_eq!(class, FaultClass::Permanent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_finds_everything_as_it_needs_it() {
    let rig = Rig::new().await;
    rig.dispatch.publish(&message("a", Normal)).await.expect("published");
    let second = Rig::at(rig.url.clone()).await;
    assert_eq!(second.must_come().await.message, message("a", Normal));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_a_server_that_is_vouched_for_alone() {
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker/certificates");
    let file = |name: &str| -> PathBuf { certificates.join(name) };
    let port = free_port();
    let conf = format!(
        "listeners.ssl.default = 127.0.0.1:{port}\nssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\nssl_options.keyfile = {}\nssl_options.verify = verify_none",
        file("ca.pem").display(),
        file("server.pem").display(),
        file("server.key").display()
    );
    let broker = aside(|| RabbitMq::start_with(&conf));
    let at = |host: &str, ca_file: Option<PathBuf>| {
        let config = AmqpConfig::at(format!("amqps://drs@{host}:{port}/%2f"));
        AmqpConfig { ca_file, ..config }.with_password(Secret::new(PASSWORD))
    };
    let dispatch = AmqpDispatch::connect(&at("localhost", Some(file("ca.pem")))).await;
    dispatch.expect("it is vouched for").publish(&message("a", Normal)).await.expect("published");
    let folder = tempfile::tempdir().expect("a folder");
    let nonsense = folder.path().join("nonsense.pem");
    fs::write(&nonsense, "nothing").expect("a file");
    for (config, says) in [
        (at("localhost", None), "no trusted connection"),
        (at("localhost", Some(nonsense)), "nonsense.pem holds no certificate"),
        (at("localhost", Some(file("missing.pem"))), "missing.pem cannot be read"),
        // A server of another name.
        (at("127.0.0.1", Some(file("ca.pem"))), "no trusted connection"),
    ] {
        let (told, class) = said(&config).await;
        assert!(told.contains(says), "{told}");
        assert_eq!(class, FaultClass::Permanent, "{told}");
    }
    // TLS spoken to a port that does not.
    let url = format!("amqps://drs@localhost:{}/%2f", broker.port());
    let plain_port = AmqpConfig { url, ..at("localhost", None) };
    let refused = AmqpDispatch::connect(&plain_port).await.err();
    assert!(matches!(refused, Some(BackendError::Refused { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_refused_while_it_runs_says_so_and_goes_on_when_it_is_let_in_again() {
    let broker = RabbitMq::shared();
    let config = config(&broker.fresh_vhost());
    let vhost = config.url.rsplit('/').next().expect("a virtual host").to_owned();
    aside(|| broker.ctl(&["add_user", "rotated", "hunter2"]));
    aside(|| broker.ctl(&["set_permissions", "-p", &vhost, "rotated", ".*", ".*", ".*"]));
    let url = config.url.replace("drs@", "rotated@");
    let config = AmqpConfig { url, ..config }.with_password(Secret::new("hunter2"));
    let dispatch = AmqpDispatch::connect(&config).await.expect("a broker");
    aside(|| broker.ctl(&["change_password", "rotated", "another"]));
    aside(|| broker.ctl(&["close_all_user_connections", "rotated", "rotation"]));
    let began = Instant::now();
    loop {
        match dispatch.publish(&message("a", Normal)).await {
            Err(BackendError::Refused { reason, .. }) => {
                assert!(reason.contains("does not know this user"), "{reason}");
                break;
            }
            other => assert!(began.elapsed() < PATIENCE, "not refused: {other:?}"),
        }
    }
    aside(|| broker.ctl(&["change_password", "rotated", "hunter2"]));
    while let Err(error) = dispatch.publish(&message("a", Normal)).await {
        assert!(began.elapsed() < PATIENCE * 2, "still not: {error}");
    }
}
