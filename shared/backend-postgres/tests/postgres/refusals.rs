//! Whoever is not let in is told why, on one line, without a secret.

use std::fs;

use drs_backend::{BackendError, Catalog};
use drs_backend_postgres::{PostgresCatalog, PostgresConfig};
use drs_lab_servers::Postgres;
use drs_model::{FaultClass, FaultCode, Secret};

use crate::{config, connect, fresh, refusal, sql};

/// A refusal that no waiting changes.
fn assert_refused(error: &BackendError, wanted: &str) {
    let fault = error.fault();
    assert_eq!((fault.class, fault.code), (FaultClass::Permanent, FaultCode::InvalidConfig));
    assert_line(error, wanted);
}

/// A failure that may pass by itself.
fn assert_unavailable(error: &BackendError, wanted: &str) {
    let fault = error.fault();
    assert_eq!((fault.class, fault.code), (FaultClass::Transient, FaultCode::StoreFailed));
    assert_line(error, wanted);
}

fn assert_line(error: &BackendError, wanted: &str) {
    let line = error.to_string();
    assert!(line.starts_with("PostgreSQL at ") && line.contains(wanted), "{line}");
    assert!(
        !line.contains('\n') && !line.contains("hunter2") && !line.contains("secret"),
        "{line}"
    );
}

#[tokio::test]
async fn a_wrong_password() {
    let password = Some(Secret::new("hunter2"));
    let error = refusal(&PostgresConfig { password, ..config(&fresh()) }).await;
    assert_refused(&error, "password authentication failed for user \"drs\"");
}

#[tokio::test]
async fn a_user_that_is_not_there() {
    let error = refusal(&config(&fresh().replace("drs:", "nobody:"))).await;
    assert_refused(&error, "password authentication failed for user \"nobody\"");
}

#[tokio::test]
async fn no_password_where_one_is_asked_for() {
    let error = refusal(&PostgresConfig { password: None, ..config(&fresh()) }).await;
    assert_refused(&error, "password missing");
}

#[tokio::test]
async fn a_database_that_is_not_there() {
    let error = refusal(&config(&format!("{}_not", fresh()))).await;
    assert_refused(&error, "does not exist");
    assert!(error.fault().remedy.contains("createdb"), "{error:?}");
}

#[tokio::test]
async fn encryption_that_the_server_has_not() {
    let mut config = config(&fresh());
    config.url += "?sslmode=require";
    assert_refused(&refusal(&config).await, "server does not support TLS");
}

#[tokio::test]
async fn authorities_that_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content, wanted) in [
        ("missing.pem", None, "No such file"),
        ("empty.pem", Some(""), "it holds no certificate"),
        ("text.pem", Some("no certificate"), "it holds no certificate"),
    ] {
        let path = folder.path().join(name);
        if let Some(content) = content {
            fs::write(&path, content).expect("written");
        }
        let error = refusal(&PostgresConfig { ca_file: Some(path), ..config(&fresh()) }).await;
        assert_refused(&error, wanted);
        assert_line(&error, name);
    }
}

#[tokio::test]
async fn nobody_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let error = refusal(&config(&format!("postgres://drs@127.0.0.1:{port}/drs"))).await;
    assert_unavailable(&error, &format!("127.0.0.1:{port}/drs cannot be used"));
    assert_line(&error, "Connection refused");
}

#[tokio::test]
async fn somebody_listens_and_says_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let error = refusal(&config(&format!("postgres://drs@127.0.0.1:{port}/drs"))).await;
    assert_unavailable(&error, "it did not answer in time");
}

#[tokio::test]
async fn no_connection_is_left_for_the_user() {
    let url = fresh();
    connect(&url).await.expect("the tables are there");
    let user = format!("crowd_in_{}", url.rsplit('/').next().expect("a name"));
    let limited = format!(
        "CREATE ROLE {user} LOGIN PASSWORD 'secret' CONNECTION LIMIT 1; \
         GRANT USAGE ON SCHEMA drs TO {user}; GRANT SELECT ON ALL TABLES IN SCHEMA drs TO {user}"
    );
    sql(&url, &limited).await;
    let url = url.replace("drs:", &format!("{user}:"));
    let first = connect(&url).await.expect("connected");
    assert_unavailable(&refusal(&config(&url)).await, "too many connections");
    assert_eq!(first.hosts().await.expect("read"), []);
}

#[tokio::test]
async fn a_record_that_nobody_understands() {
    let url = fresh();
    let catalog = connect(&url).await.expect("connected");
    sql(&url, "INSERT INTO drs.host (name, record) VALUES ('dc', '{}')").await;
    match catalog.hosts().await {
        Err(BackendError::Damaged { what, reason }) => {
            assert!(what.starts_with("PostgreSQL at "), "{what}");
            assert!(reason.contains("missing field"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_socket_needs_no_password_where_the_server_trusts_it() {
    let server = Postgres::shared();
    let url = fresh();
    let database = url.rsplit('/').next().expect("a name");
    let (folder, port) = (server.dir().display(), server.port());
    let url = format!("postgres:///{database}?host={folder}&port={port}&user=drs");
    let catalog = PostgresCatalog::connect(&PostgresConfig::new(url)).await.expect("connected");
    assert_eq!(catalog.hosts().await.expect("read"), []);
}
