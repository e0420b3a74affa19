//! The tables, as numbered migrations that only go forward.

use deadpool_postgres::{Client, GenericClient};
use drs_backend::BackendError;
use tokio_postgres::{Error, IsolationLevel};

use crate::failure::Failure;

/// Every migration, oldest first; `drs.drs_schema` has a row for each that was applied. A migration that was
/// released is never changed.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_catalog.sql"),
    include_str!("../migrations/0002_history.sql"),
];

/// One process migrates at a time: the lock is the transaction's, and its number spells `drs`.
const ALONE: &str = "\
    SET LOCAL statement_timeout = '290s'; \
    SELECT pg_advisory_xact_lock(6583923)";

/// Read from the catalogue's tables: `to_regclass` answers from a cache, which may still say no when another
/// process made the table while this one waited for the lock.
const IS_THERE: &str = "\
    SELECT EXISTS (SELECT FROM pg_catalog.pg_class \
    JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace \
    WHERE nspname = 'drs' AND relname = 'drs_schema')";
const VERSION: &str = "SELECT coalesce(max(version), 0) FROM drs.drs_schema";
const APPLIED: &str = "INSERT INTO drs.drs_schema (version) VALUES ($1)";

/// Applies what is missing of `migrations`, all or nothing. Where nothing is, no right to change the schema
/// is needed.
pub(crate) async fn migrate(
    client: &mut Client,
    migrations: &[&str],
    what: &str,
) -> Result<(), Failure> {
    if missing(client, migrations, what).await? == 0 {
        return Ok(());
    }
    // What another process committed while this one waited for the lock must be seen.
    let transaction =
        client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
    transaction.batch_execute(ALONE).await?;
    let applied = migrations.len() - missing(&transaction, migrations, what).await?;
    for (number, sql) in (1_i64..).zip(migrations).skip(applied) {
        transaction.batch_execute(sql).await?;
        transaction.execute(APPLIED, &[&number]).await?;
    }
    Ok(transaction.commit().await?)
}

/// How many migrations the database lacks; one of a newer version is refused.
async fn missing(
    client: &impl GenericClient,
    migrations: &[&str],
    what: &str,
) -> Result<usize, Failure> {
    let found = version(client).await?;
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    match usize::try_from(known - found) {
        Ok(missing) => Ok(missing),
        Err(_) => Err(BackendError::TooNew { what: what.to_owned(), found, known }.into()),
    }
}

async fn version(client: &impl GenericClient) -> Result<i64, Error> {
    if client.query_one(IS_THERE, &[]).await?.try_get(0)? {
        client.query_one(VERSION, &[]).await?.try_get(0)
    } else {
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
