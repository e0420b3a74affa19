//! TLS, with an authority of our own.

use std::path::Path;

use drs_backend::JobStore;
use drs_backend_redis::{Clock, RedisConfig, RedisStore};
use drs_lab_servers::Redis;
use drs_protocol::store::CreateAnswer;

use super::{backup, free_port};

#[expect(clippy::disallowed_methods, reason = "makes certificates for the test")]
fn openssl(folder: &Path, args: &str) {
    let output = std::process::Command::new("openssl")
        .args(args.split(' '))
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority and a certificate of it for 127.0.0.1.
fn certificates(folder: &Path) {
    openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
    );
    openssl(
        folder,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=redis",
    );
    let names = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
    std::fs::write(folder.join("names"), names).expect("a file");
    openssl(
        folder,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
    );
}

#[tokio::test]
async fn a_server_is_trusted_by_the_authority_that_is_named_and_by_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    certificates(folder.path());
    let port = free_port().to_string();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let _redis = Redis::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &path("server.pem"),
        "--tls-key-file",
        &path("server.key"),
        "--tls-ca-cert-file",
        &path("ca.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let config = RedisConfig::new(format!("rediss://127.0.0.1:{port}"));
    let trusting = RedisConfig { ca_file: Some(folder.path().join("ca.pem")), ..config.clone() };
    let store = RedisStore::connect(&trusting, Clock::Server).await.expect("a connection");
    let created = store.create(&backup("a", "dc/web")).await.expect("an answer");
    assert_eq!(created, CreateAnswer::Created);

    let stranger = RedisStore::connect(&config, Clock::Server).await.err().expect("a refusal");
    assert!(stranger.to_string().contains("certificate"), "{stranger}");
    let missing = RedisConfig { ca_file: Some(folder.path().join("none.pem")), ..config };
    let missing = RedisStore::connect(&missing, Clock::Server).await.err().expect("a refusal");
    assert!(missing.to_string().contains("none.pem"), "{missing}");
}
