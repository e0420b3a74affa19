//! Schedules and their latest fires.

use drs_backend::{BackendError, Named};
use drs_model::{Fire, HostName, PairName, Schedule, ScheduleName, Subject};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::{added, found, host_named, pair_named};
use crate::database::{Change, Database};

const ADD: &str = "\
    INSERT INTO drs.schedule (name, host, pair, record) VALUES ($1, $2, $3, $4) \
    ON CONFLICT DO NOTHING RETURNING name";
const UPDATE: &str = "\
    UPDATE drs.schedule SET host = $2, pair = $3, record = $4 WHERE name = $1 RETURNING name";
const REMOVE: &str = "DELETE FROM drs.schedule WHERE name = $1 RETURNING name";
const ONE: &str = "SELECT record, fire FROM drs.schedule WHERE name = $1";
const ALL: &str = "SELECT record, fire FROM drs.schedule ORDER BY name";
const NOTE_FIRE: &str = "\
    UPDATE drs.schedule SET fire_at = $2, fire = $3 \
    WHERE name = $1 AND (fire_at IS NULL OR fire_at < $2) RETURNING name";

fn named(name: &ScheduleName) -> Named {
    Named::Schedule(name.clone())
}

/// The host and the pair that a schedule refers to.
fn refers_to(schedule: &Schedule) -> (Option<&HostName>, Option<&PairName>) {
    match &schedule.subject {
        Subject::Vm(vm) => (Some(&vm.host), None),
        Subject::Host(host) => (Some(host), None),
        Subject::Pair(pair) => (None, Some(pair)),
    }
}

/// Writes a schedule; a host or pair of it that is not there is named.
async fn put(database: &Database, sql: &str, schedule: &Schedule) -> Result<Change, BackendError> {
    let (host, pair) = refers_to(schedule);
    let name = schedule.name.as_str();
    let (of_host, of_pair) = (host.map(HostName::as_str), pair.map(PairName::as_str));
    match database.change(sql, &[&name, &of_host, &of_pair, &Json(schedule)]).await? {
        Change::Breaks(_) => {
            let missing = match &schedule.subject {
                Subject::Vm(vm) => host_named(&vm.host),
                Subject::Host(host) => host_named(host),
                Subject::Pair(pair) => pair_named(pair),
            };
            Err(BackendError::NotFound(missing))
        }
        change => Ok(change),
    }
}

pub(super) async fn add(database: &Database, schedule: &Schedule) -> Result<(), BackendError> {
    added(&put(database, ADD, schedule).await?, || named(&schedule.name))
}

pub(super) async fn update(database: &Database, schedule: &Schedule) -> Result<(), BackendError> {
    found(&put(database, UPDATE, schedule).await?, || named(&schedule.name))
}

pub(super) async fn remove(database: &Database, name: &ScheduleName) -> Result<(), BackendError> {
    let change = database.change(REMOVE, &[&name.as_str()]).await?;
    found(&change, || named(name))
}

fn read(database: &Database, row: &Row) -> Result<(Schedule, Option<Fire>), BackendError> {
    let fire: Option<Json<Fire>> = row.try_get(1).map_err(|error| database.damaged(&error))?;
    Ok((database.record(row)?, fire.map(|Json(fire)| fire)))
}

pub(super) async fn one(
    database: &Database,
    name: &ScheduleName,
) -> Result<(Schedule, Option<Fire>), BackendError> {
    match database.rows(ONE, &[&name.as_str()]).await?.first() {
        Some(row) => read(database, row),
        None => Err(BackendError::NotFound(named(name))),
    }
}

pub(super) async fn all(
    database: &Database,
) -> Result<Vec<(Schedule, Option<Fire>)>, BackendError> {
    database.rows(ALL, &[]).await?.iter().map(|row| read(database, row)).collect()
}

pub(super) async fn note_fire(
    database: &Database,
    name: &ScheduleName,
    fire: &Fire,
) -> Result<(), BackendError> {
    database.change(NOTE_FIRE, &[&name.as_str(), &fire.at, &Json(fire)]).await?;
    Ok(())
}
