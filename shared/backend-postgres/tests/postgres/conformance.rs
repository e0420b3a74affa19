//! The contracts of both ports, each check in a database of its own.

use std::sync::Arc;

use drs_backend::Backend;
use drs_backend::conformance::{Port, run};
use drs_backend_sqlite::SqliteBackend;

use crate::{connect, fresh};

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_keep_their_contracts() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = 0;
    let checks = run(&[Port::Catalog, Port::History], || {
        files += 1;
        let path = folder.path().join(format!("{files}.db"));
        async move {
            let postgres = Arc::new(connect(&fresh()).await.expect("a new database"));
            let others = SqliteBackend::open(&path).expect("a new file").backend();
            Backend { catalog: postgres.clone(), history: Some(postgres), ..others }
        }
    })
    .await;
    match checks {
        Ok(checks) => assert!(checks >= 20, "only {checks} checks ran"),
        Err(violations) => panic!("{violations}"),
    }
}
