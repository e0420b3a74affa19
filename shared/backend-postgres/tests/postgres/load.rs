//! Many callers on few connections.

use drs_backend::{BackendError, Catalog};
use drs_model::{HostName, ReplicationPair, VmRef};
use tokio::task::JoinSet;

use crate::{connect, fresh, host, sql};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_share_eight_connections() {
    let url = fresh();
    let catalog = connect(&url).await.expect("connected");
    let mut calls = JoinSet::new();
    for i in 0..100 {
        let catalog = catalog.clone();
        calls.spawn(async move {
            let host = host(&format!("h{i}"));
            catalog.add_host(&host).await?;
            for _ in 0..10 {
                catalog.host(&host.name).await?;
            }
            catalog.update_host(&host).await
        });
    }
    for answer in calls.join_all().await {
        answer.expect("an answer");
    }
    assert_eq!(catalog.hosts().await.expect("read").len(), 100);
    let connections = "\
        SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'drs'";
    assert_eq!(sql(&url, connections).await, "8");
}

/// A host is removed while a pair of it is added: one of the two is refused, by name.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_while_it_comes_into_use_is_either_gone_or_used() {
    let url = fresh();
    let catalog = connect(&url).await.expect("connected");
    let dc: HostName = "dc".parse().expect("a name");
    let source: VmRef = "dc/web".parse().expect("a VM");
    let pair = ReplicationPair {
        name: "web".parse().expect("a name"),
        target_host: dc.clone(),
        target_name: "web-dr".parse().expect("a name"),
        source,
        networks: Default::default(),
        storage: Default::default(),
        keep_macs: true,
    };
    for _ in 0..100 {
        catalog.add_host(&host("dc")).await.expect("added");
        match tokio::join!(catalog.add_pair(&pair), catalog.remove_host(&dc)) {
            (Ok(()), Err(BackendError::InUse { what, by })) => {
                assert_eq!((what.as_str(), by.as_str()), ("host dc", "pair web"));
                catalog.remove_pair(&pair.name).await.expect("removed");
                catalog.remove_host(&dc).await.expect("removed");
            }
            (Err(BackendError::NotFound(what)), Ok(())) => assert_eq!(what.to_string(), "host dc"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(catalog.hosts().await.expect("read"), []);
}
