//! Pairs.

use drs_backend::BackendError;
use drs_model::{PairName, ReplicationPair};
use tokio_postgres::types::Json;

use super::{added, found, host_named, pair_named};
use crate::database::{Change, Database};

const ADD: &str = "\
    INSERT INTO drs.pair (name, source_host, target_host, record) VALUES ($1, $2, $3, $4) \
    ON CONFLICT DO NOTHING RETURNING name";
const UPDATE: &str = "\
    UPDATE drs.pair SET source_host = $2, target_host = $3, record = $4 WHERE name = $1 \
    RETURNING name";
const REMOVE: &str = "DELETE FROM drs.pair WHERE name = $1 RETURNING name";
const ONE: &str = "SELECT record FROM drs.pair WHERE name = $1";
const ALL: &str = "SELECT record FROM drs.pair ORDER BY name";
const USER: &str = "\
    SELECT 'schedule ' || name FROM drs.schedule WHERE pair = $1 ORDER BY 1 LIMIT 1";

/// Writes a pair; a host of it that is not there is named.
async fn put(
    database: &Database,
    sql: &str,
    pair: &ReplicationPair,
) -> Result<Change, BackendError> {
    let (source, target) = (&pair.source.host, &pair.target_host);
    let name = pair.name.as_str();
    let change =
        database.change(sql, &[&name, &source.as_str(), &target.as_str(), &Json(pair)]).await?;
    match change {
        Change::Breaks(key) => {
            let missing = if key == "pair_source" { source } else { target };
            Err(BackendError::NotFound(host_named(missing)))
        }
        change => Ok(change),
    }
}

pub(super) async fn add(database: &Database, pair: &ReplicationPair) -> Result<(), BackendError> {
    added(&put(database, ADD, pair).await?, || pair_named(&pair.name))
}

pub(super) async fn update(
    database: &Database,
    pair: &ReplicationPair,
) -> Result<(), BackendError> {
    found(&put(database, UPDATE, pair).await?, || pair_named(&pair.name))
}

pub(super) async fn remove(database: &Database, name: &PairName) -> Result<(), BackendError> {
    super::remove(database, REMOVE, USER, &[&name.as_str()], pair_named(name)).await
}

pub(super) async fn one(
    database: &Database,
    name: &PairName,
) -> Result<ReplicationPair, BackendError> {
    super::one(database.records(ONE, &[&name.as_str()]).await?, || pair_named(name))
}

pub(super) async fn all(database: &Database) -> Result<Vec<ReplicationPair>, BackendError> {
    database.records(ALL, &[]).await
}
