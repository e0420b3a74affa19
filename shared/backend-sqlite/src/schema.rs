//! The tables, as numbered migrations that only go forward.

use drs_backend::BackendError;
use rusqlite::{Connection, TransactionBehavior};

use crate::failure::told;

/// Every migration, oldest first; the file's `user_version` counts the applied ones. A migration
/// that was released is never changed.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_job_core.sql"),
    include_str!("../migrations/0002_site.sql"),
    include_str!("../migrations/0003_schedule.sql"),
];

/// Refuses a file of a newer version. Changes nothing.
pub(crate) fn refuse_newer(connection: &Connection, path: &str) -> Result<(), BackendError> {
    let found = version(connection).map_err(|error| told(&error, path))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(BackendError::TooNew { what: path.to_owned(), found, known });
    }
    Ok(())
}

/// Applies what is missing of `migrations`, all or nothing. Processes that do it at one time do it
/// one after the other, and only the first has something to do.
pub(crate) fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let applied = usize::try_from(version(&transaction)?).unwrap_or(0);
    for (number, sql) in (1_i64..).zip(migrations).skip(applied) {
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", number)?;
    }
    transaction.commit()
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests;
