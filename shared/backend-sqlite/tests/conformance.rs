//! The contract of every port, held against the file.

use drs_backend::conformance;
use drs_backend_sqlite::SqliteBackend;

#[tokio::test(flavor = "multi_thread")]
async fn every_port_keeps_its_contract() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = 0;
    let checks = conformance::run(&conformance::Port::EMBEDDED, || {
        files += 1;
        let path = folder.path().join(format!("{files}.db"));
        async move { SqliteBackend::open(&path).expect("a new file").backend() }
    })
    .await;
    match checks {
        Ok(checks) => assert!(checks >= 30, "only {checks} checks ran"),
        Err(violations) => panic!("{violations}"),
    }
}
