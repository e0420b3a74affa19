//! Connections, and the one way to ask something over them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    Client, Hook, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts,
};
use drs_backend::BackendError;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};

use crate::config::{PostgresConfig, named};
use crate::connect::{CONNECT_WITHIN, HostByHost};
use crate::failure::{Failure, SLOW, unavailable, unconnected};
use crate::{schema, tls};

/// For a connection of the pool to become free.
const FREE_WITHIN: Duration = Duration::from_secs(10);
/// For a connection of the pool to show that it is alive; one that does not is replaced.
const ALIVE_WITHIN: Duration = Duration::from_secs(2);
/// For the connections of the pool that turn out to be dead, however many, before a new one is made.
const DEAD_WITHIN: Duration = Duration::from_secs(10);
/// For an answer: a little longer than the server allows a statement.
const ANSWER_WITHIN: Duration = Duration::from_secs(12);
/// For the migrations together.
const MIGRATED_WITHIN: Duration = Duration::from_secs(300);

/// The values of a statement.
pub(crate) type Values<'a> = [&'a (dyn ToSql + Sync)];

/// What a change did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is made.
    Made,
    /// There was no row to change, or one of that name where a new one was to come.
    Nothing,
    /// Nothing was changed: it would have broken this foreign key.
    Breaks(String),
}

pub(crate) struct Database {
    pool: Pool,
    what: String,
    reached_within: Duration,
    /// Whether the tables are up to date.
    current: OnceCell<()>,
    /// Whether a connection broke since the latest one was made.
    broke: Arc<AtomicBool>,
}

impl Database {
    /// Connects when it is first asked.
    pub(crate) fn open(config: &PostgresConfig) -> Result<Self, BackendError> {
        let parsed = config.parsed()?;
        let what = named(&parsed);
        let broke = Arc::new(AtomicBool::new(false));
        let tls = tls::verifier(config.ca_file.as_deref(), &what)?;
        let hosts = config.host_by_host()?;
        let connected_within =
            CONNECT_WITHIN.saturating_mul(u32::try_from(hosts.len()).unwrap_or(u32::MAX));
        let manager = Manager::from_connect(
            parsed,
            HostByHost { hosts, tls },
            ManagerConfig { recycling_method: RecyclingMethod::Verified },
        );
        let pool = Pool::builder(manager)
            .max_size(config.connections_max.max(1))
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(FREE_WITHIN),
                create: Some(connected_within),
                recycle: Some(ALIVE_WITHIN),
            })
            .pre_recycle(notices(&broke))
            .post_create(counts(&broke))
            .build()
            .map_err(|error| unavailable(&what, error.to_string()))?;
        let reached_within = connected_within + DEAD_WITHIN;
        Ok(Self { pool, what, reached_within, current: OnceCell::new(), broke })
    }

    /// The server, as errors name it.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// A connection to tables that are up to date. It is there before anybody waits for another caller: a server
    /// that is silent costs each of them its own time alone.
    async fn client(&self) -> Result<Client, BackendError> {
        let mut client = self.connection().await?;
        let migrating = async || schema::migrate(&mut client, schema::MIGRATIONS, &self.what).await;
        let migrated = timeout(MIGRATED_WITHIN, self.current.get_or_try_init(migrating)).await;
        match migrated {
            Ok(Ok(())) => Ok(client),
            Ok(Err(failure)) => Err(failure.told(&self.what)),
            Err(_) => Err(self.silent(client, MIGRATED_WITHIN)),
        }
    }

    /// A connection that was alive just now.
    pub(crate) async fn connection(&self) -> Result<Client, BackendError> {
        match timeout(self.reached_within, self.pool.get()).await {
            Ok(client) => client.map_err(|error| unconnected(&error, &self.what)),
            Err(_) => Err(unavailable(&self.what, SLOW)),
        }
    }

    /// Why there is no answer. The connection is given up: nobody knows what comes over it next.
    fn silent(&self, client: Client, waited: Duration) -> BackendError {
        drop(Object::take(client));
        self.broke.store(true, Ordering::Relaxed);
        unavailable(&self.what, format!("no answer for {} s", waited.as_secs()))
    }

    async fn ask(&self, sql: &str, values: &Values<'_>) -> Result<Vec<Row>, Failure> {
        let client = self.client().await?;
        let answer = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, values).await
        };
        let answered = timeout(ANSWER_WITHIN, answer).await;
        match answered {
            Ok(rows) => Ok(rows?),
            Err(_) => Err(self.silent(client, ANSWER_WITHIN).into()),
        }
    }

    /// What a query finds.
    pub(crate) async fn rows(
        &self,
        sql: &str,
        values: &Values<'_>,
    ) -> Result<Vec<Row>, BackendError> {
        self.ask(sql, values).await.map_err(|failure| failure.told(&self.what))
    }

    /// The first column of every row that a query finds.
    pub(crate) async fn records<T: DeserializeOwned>(
        &self,
        sql: &str,
        values: &Values<'_>,
    ) -> Result<Vec<T>, BackendError> {
        let rows = self.rows(sql, values).await?;
        rows.iter().map(|row| self.record(row)).collect()
    }

    /// The record in the first column of a row.
    pub(crate) fn record<T: DeserializeOwned>(&self, row: &Row) -> Result<T, BackendError> {
        let read = row.try_get(0).map(|Json(record)| record);
        read.map_err(|error| self.damaged(&error))
    }

    /// A stored value that does not read back.
    pub(crate) fn damaged(&self, error: &tokio_postgres::Error) -> BackendError {
        BackendError::Damaged { what: self.what.clone(), reason: crate::failure::chain(error) }
    }

    /// Runs a statement that returns the rows that it changed.
    pub(crate) async fn change(
        &self,
        sql: &str,
        values: &Values<'_>,
    ) -> Result<Change, BackendError> {
        match self.ask(sql, values).await {
            Ok(rows) if rows.is_empty() => Ok(Change::Nothing),
            Ok(_) => Ok(Change::Made),
            Err(failure) => match failure.broken_key() {
                Some(key) => Ok(Change::Breaks(key.to_owned())),
                None => Err(failure.told(&self.what)),
            },
        }
    }
}

/// Notices a connection of the pool that broke.
fn notices(broke: &Arc<AtomicBool>) -> Hook {
    let broke = Arc::clone(broke);
    Hook::sync_fn(move |client, _| {
        if client.is_closed() {
            broke.store(true, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// Counts a connection that is made after one broke.
fn counts(broke: &Arc<AtomicBool>) -> Hook {
    let broke = Arc::clone(broke);
    Hook::sync_fn(move |_, _| {
        if broke.swap(false, Ordering::Relaxed) {
            tracing::info!(target: "drs::metric", name = "drs_reconnects_total", backend = "postgres", value = 1);
        }
        Ok(())
    })
}
