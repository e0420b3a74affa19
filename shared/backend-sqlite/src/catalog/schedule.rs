//! Schedules and their latest fires.

use drs_backend::{BackendError, Named};
use drs_model::{Fire, HostName, PairName, Schedule, ScheduleName, Subject};
use rusqlite::{Connection, OptionalExtension, params};

use super::{HOST, PAIR, found, host_named, pair_named};
use crate::failure::Failure;
use crate::rows::{json, to_json};

const ADD: &str = "\
    INSERT OR IGNORE INTO schedule (name, host, pair, record) VALUES (?1, ?2, ?3, ?4)";
const UPDATE: &str = "UPDATE schedule SET host = ?2, pair = ?3, record = ?4 WHERE name = ?1";
const ONE: &str = "SELECT record, fire FROM schedule WHERE name = ?1";
const ALL: &str = "SELECT record, fire FROM schedule ORDER BY name";

type Row = (String, Option<String>);

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

fn put(connection: &Connection, sql: &str, schedule: &Schedule) -> Result<usize, Failure> {
    let (host, pair) = refers_to(schedule);
    if let Some(host) = host
        && !connection.prepare_cached(HOST)?.exists([host.as_str()])?
    {
        return Err(BackendError::NotFound(host_named(host)).into());
    }
    if let Some(pair) = pair
        && !connection.prepare_cached(PAIR)?.exists([pair.as_str()])?
    {
        return Err(BackendError::NotFound(pair_named(pair)).into());
    }
    Ok(connection.prepare_cached(sql)?.execute(params![
        schedule.name.as_str(),
        host.map(HostName::as_str),
        pair.map(PairName::as_str),
        to_json("schedule", schedule)?
    ])?)
}

pub(super) fn add(connection: &Connection, schedule: &Schedule) -> Result<(), Failure> {
    if put(connection, ADD, schedule)? == 0 {
        return Err(BackendError::Exists(named(&schedule.name)).into());
    }
    Ok(())
}

pub(super) fn update(connection: &Connection, schedule: &Schedule) -> Result<(), Failure> {
    let updated = put(connection, UPDATE, schedule)?;
    found(updated, || named(&schedule.name))
}

pub(super) fn remove(connection: &Connection, name: &ScheduleName) -> Result<(), Failure> {
    let removed = connection
        .prepare_cached("DELETE FROM schedule WHERE name = ?1")?
        .execute([name.as_str()])?;
    found(removed, || named(name))
}

fn read((record, fire): Row) -> Result<(Schedule, Option<Fire>), Failure> {
    Ok((json("schedule", &record)?, fire.map(|text| json("fire", &text)).transpose()?))
}

pub(super) fn one(
    connection: &Connection,
    name: &ScheduleName,
) -> Result<(Schedule, Option<Fire>), Failure> {
    let mut statement = connection.prepare_cached(ONE)?;
    let row = statement.query_row([name.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
    match row.optional()? {
        Some(row) => read(row),
        None => Err(BackendError::NotFound(named(name)).into()),
    }
}

pub(super) fn all(connection: &Connection) -> Result<Vec<(Schedule, Option<Fire>)>, Failure> {
    let mut statement = connection.prepare_cached(ALL)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.map(|row| read(row?)).collect()
}

pub(super) fn note_fire(
    connection: &Connection,
    name: &ScheduleName,
    fire: &Fire,
) -> Result<(), Failure> {
    let latest = match one(connection, name) {
        Ok((_, latest)) => latest,
        Err(Failure::Answer(BackendError::NotFound(_))) => return Ok(()),
        Err(failure) => return Err(failure),
    };
    if latest.is_none_or(|latest| latest.at < fire.at) {
        connection
            .prepare_cached("UPDATE schedule SET fire = ?2 WHERE name = ?1")?
            .execute(params![name.as_str(), to_json("fire", fire)?])?;
    }
    Ok(())
}
