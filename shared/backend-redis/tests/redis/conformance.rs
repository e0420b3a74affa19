//! The contract of both ports, held against the server.

use std::sync::Arc;

use drs_backend::Backend;
use drs_backend::conformance::{self, Port};
use drs_backend_sqlite::SqliteBackend;
use drs_lab_servers::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_keep_their_contract() {
    let redis = Redis::shared();
    let folder = tempfile::tempdir().expect("a folder");
    let rest = SqliteBackend::open(&folder.path().join("rest.db")).expect("a new file").backend();
    let checks = conformance::run(&[Port::Store, Port::Events], || {
        let rest = rest.clone();
        async move {
            let store = Arc::new(super::fresh(redis).await);
            Backend { store: store.clone(), events: store, ..rest }
        }
    })
    .await;
    match checks {
        Ok(checks) => assert!(checks >= 20, "only {checks} checks ran"),
        Err(violations) => panic!("{violations}"),
    }
}
