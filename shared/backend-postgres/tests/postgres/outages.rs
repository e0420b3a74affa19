//! A server that goes away costs the calls that meet it, and none that come after it is back.

use drs_backend::{BackendError, Catalog};
use drs_backend_postgres::{PostgresCatalog, PostgresConfig};
use drs_lab_servers::{Postgres, Proxy};
use tokio::task::JoinSet;

use crate::{config, connect, host};

fn assert_unavailable<T: std::fmt::Debug>(answer: Result<T, BackendError>) {
    match answer {
        Err(BackendError::Unavailable { what, reason }) => {
            assert!(what.starts_with("PostgreSQL at 127.0.0.1:"), "{what}");
            assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

/// As many calls at once as there are connections, so that each of them is open.
async fn use_every_connection(catalog: &PostgresCatalog) {
    let mut calls = JoinSet::new();
    for _ in 0..4 * PostgresConfig::CONNECTIONS_MAX {
        let catalog = catalog.clone();
        calls.spawn(async move { catalog.hosts().await });
    }
    for answer in calls.join_all().await {
        answer.expect("an answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_next_call_works_whatever_it_is() {
    let server = Postgres::start();
    let catalog = connect(&server.url()).await.expect("connected");
    for round in 0..4 {
        use_every_connection(&catalog).await;
        if round % 2 == 0 {
            server.kill();
        }
        server.restart();
        catalog.add_host(&host(&format!("h{round}"))).await.expect("added");
        use_every_connection(&catalog).await;
    }
    assert_eq!(catalog.hosts().await.expect("read").len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_gone_or_frozen_it_cannot_be_used() {
    let server = Postgres::start();
    let catalog = connect(&server.url()).await.expect("connected");
    use_every_connection(&catalog).await;
    server.stop();
    assert_unavailable(catalog.hosts().await);
    assert_unavailable(catalog.add_host(&host("dc")).await);
    server.restart();
    use_every_connection(&catalog).await;
    server.freeze();
    assert_unavailable(catalog.hosts().await);
    server.thaw();
    catalog.add_host(&host("dc")).await.expect("added");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_needed_at_the_first_call_and_its_tables_are_made_then() {
    let server = Postgres::start();
    let catalog = PostgresCatalog::open(&config(&server.url())).expect("nothing is asked so far");
    server.stop();
    assert_unavailable(catalog.reach().await);
    server.restart();
    assert_eq!(server.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'drs'").trim(), "0");
    use_every_connection(&catalog).await;
    catalog.add_host(&host("dc")).await.expect("added");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_silent_leaves_the_next_its_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = listener.local_addr().expect("an address").port();
    let server = Postgres::start();
    let url = server.url().replace("@127.0.0.1:", &format!("@127.0.0.1:{silent},127.0.0.1:"));
    let catalog = connect(&url).await.expect("connected to the second");
    catalog.add_host(&host("dc")).await.expect("added");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_a_server_that_is_silent_from_the_first_wait_side_by_side() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let url = format!("postgres://drs@127.0.0.1:{port}/drs?sslmode=disable");
    let catalog = PostgresCatalog::open(&config(&url)).expect("nothing is asked so far");
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let catalog = catalog.clone();
        calls.spawn(async move { catalog.reach().await });
    }
    let mut connections = Vec::new();
    while connections.len() < calls.len() {
        tokio::select! {
            biased;
            connection = silent.accept() => connections.push(connection.expect("a caller")),
            answer = calls.join_next() => panic!("one waits for another: {answer:?}"),
        }
    }
    calls.join_all().await.into_iter().for_each(assert_unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_gets_no_answer_fails_and_gives_its_connection_up() {
    let server = Postgres::start();
    let proxy = Proxy::to(server.port());
    let through =
        server.url().replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
    let catalog =
        PostgresCatalog::connect(&PostgresConfig { connections_max: 1, ..config(&through) })
            .await
            .expect("connected");
    // Another session holds the table, so that the statement is under way when the line is cut.
    let (other, connection) =
        tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.expect("connected");
    let connection = tokio::spawn(connection);
    other.batch_execute("BEGIN; LOCK TABLE drs.host").await.expect("locked");
    let waiting = tokio::spawn({
        let catalog = catalog.clone();
        async move { catalog.add_host(&host("dc")).await }
    });
    let blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while other.query_one(blocked, &[]).await.expect("read").get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    proxy.cut();
    assert_unavailable(waiting.await.expect("a task"));
    proxy.heal();
    other.batch_execute("ROLLBACK").await.expect("released");
    drop(other);
    connection.await.expect("a task").expect("closed in good order");
    assert_eq!(catalog.hosts().await.expect("read"), []);
}
