//! The catalogue and the history on a real PostgreSQL.

mod conformance;
mod load;
mod outages;
mod points;
mod refusals;
mod schema;
mod tls;

use drs_backend::BackendError;
use drs_backend_postgres::{PostgresCatalog, PostgresConfig};
use drs_lab_servers::{PASSWORD, Postgres};
use drs_model::{Host, HypervisorKind, Secret};
use tokio_postgres::NoTls;

/// How to get into the database of such a URL as the lab gives it: with the password apart.
fn config(url: &str) -> PostgresConfig {
    let url = url.replace(&format!(":{PASSWORD}@"), "@");
    PostgresConfig { password: Some(Secret::new(PASSWORD)), ..PostgresConfig::new(url) }
}

async fn connect(url: &str) -> Result<PostgresCatalog, BackendError> {
    PostgresCatalog::connect(&config(url)).await
}

/// Why there is no connection.
async fn refusal(config: &PostgresConfig) -> BackendError {
    match PostgresCatalog::connect(config).await {
        Ok(_) => panic!("it connects to {}", config.url),
        Err(error) => error,
    }
}

/// Runs SQL in a database and gives the rows, one a line, columns parted by `|`.
async fn sql(url: &str, sql: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    let connection = tokio::spawn(connection);
    let messages = client.simple_query(sql).await.expect(sql);
    drop(client);
    connection.await.expect("a task").expect("closed in good order");
    let rows = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(
            (0..row.len()).map(|i| row.get(i).unwrap_or_default()).collect::<Vec<_>>().join("|"),
        ),
        _ => None,
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// A database of the shared server.
fn fresh() -> String {
    Postgres::shared().fresh_database()
}

fn host(name: &str) -> Host {
    Host {
        name: name.parse().expect("a name"),
        site: "site".parse().expect("a name"),
        kind: HypervisorKind::Simulated,
        address: "vms=1".into(),
        key_file: None,
        host_keys: Vec::new(),
        image_dir: None,
        dump_dir: None,
        slots: 2,
        bytes_per_second: None,
    }
}
