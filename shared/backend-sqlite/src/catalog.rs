//! The catalogue: hosts, sites, pairs and schedules as records, their names held together by foreign keys.

mod schedule;

use std::collections::BTreeMap;

use async_trait::async_trait;
use drs_backend::{BackendError, Catalog, Named};
use drs_model::{
    Fire, Host, HostName, PairName, ReplicationPair, Schedule, ScheduleName, Site, SiteName,
};
use rusqlite::{Connection, OptionalExtension, params};
use serde::de::DeserializeOwned;

use crate::SqliteBackend;
use crate::failure::Failure;
use crate::rows::{json, to_json};
use crate::writer::Durability;

pub(crate) const HOST: &str = "SELECT record FROM host WHERE name = ?1";
pub(crate) const HOSTS: &str = "SELECT record FROM host ORDER BY name";
pub(crate) const SITE: &str = "SELECT record FROM site WHERE name = ?1";
pub(crate) const SITES: &str = "SELECT record FROM site ORDER BY name";
pub(crate) const PAIR: &str = "SELECT record FROM pair WHERE name = ?1";
pub(crate) const PAIRS: &str = "SELECT record FROM pair ORDER BY name";
pub(crate) const PAIR_OF_HOST: &str =
    "SELECT name FROM pair WHERE source_host = ?1 OR target_host = ?1 ORDER BY name LIMIT 1";
const SCHEDULE_OF_HOST: &str = "SELECT name FROM schedule WHERE host = ?1 ORDER BY name LIMIT 1";
const SCHEDULE_OF_PAIR: &str = "SELECT name FROM schedule WHERE pair = ?1 ORDER BY name LIMIT 1";

#[async_trait]
impl Catalog for SqliteBackend {
    async fn add_host(&self, host: &Host) -> Result<(), BackendError> {
        let host = host.clone();
        self.describe(move |connection| {
            let added = connection
                .prepare_cached("INSERT OR IGNORE INTO host (name, record) VALUES (?1, ?2)")?
                .execute(params![host.name.as_str(), to_json("host", &host)?])?;
            if added == 0 {
                Err(BackendError::Exists(host_named(&host.name)).into())
            } else {
                Ok(())
            }
        })
        .await
    }

    async fn update_host(&self, host: &Host) -> Result<(), BackendError> {
        let host = host.clone();
        self.describe(move |connection| {
            let updated = connection
                .prepare_cached("UPDATE host SET record = ?2 WHERE name = ?1")?
                .execute(params![host.name.as_str(), to_json("host", &host)?])?;
            found(updated, || host_named(&host.name))
        })
        .await
    }

    async fn remove_host(&self, name: &HostName) -> Result<(), BackendError> {
        let name = name.clone();
        self.describe(move |connection| {
            let pair = user(connection, PAIR_OF_HOST, name.as_str())?;
            let schedule = user(connection, SCHEDULE_OF_HOST, name.as_str())?;
            refuse_used(host_named(&name), pair, schedule)?;
            let removed = connection
                .prepare_cached("DELETE FROM host WHERE name = ?1")?
                .execute([name.as_str()])?;
            found(removed, || host_named(&name))
        })
        .await
    }

    async fn host(&self, name: &HostName) -> Result<Host, BackendError> {
        let name = name.clone();
        self.database
            .read(move |connection| {
                one(connection, HOST, name.as_str(), "host")?
                    .ok_or_else(|| BackendError::NotFound(host_named(&name)).into())
            })
            .await
    }

    async fn hosts(&self) -> Result<Vec<Host>, BackendError> {
        self.database.read(|connection| all(connection, HOSTS, "host")).await
    }

    async fn put_site(&self, site: &Site) -> Result<(), BackendError> {
        let site = site.clone();
        self.describe(move |connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO site (name, record) VALUES (?1, ?2)")?
                .execute(params![site.name.as_str(), to_json("site", &site)?])?;
            Ok(())
        })
        .await
    }

    async fn site(&self, name: &SiteName) -> Result<Site, BackendError> {
        let name = name.clone();
        self.database
            .read(move |connection| {
                let described = one(connection, SITE, name.as_str(), "site")?;
                Ok(described.unwrap_or_else(|| Site::named(name)))
            })
            .await
    }

    async fn sites(&self) -> Result<Vec<Site>, BackendError> {
        self.database
            .read(|connection| {
                let hosts: Vec<Host> = all(connection, HOSTS, "host")?;
                let named = hosts.into_iter().map(|host| Site::named(host.site));
                let described: Vec<Site> = all(connection, SITES, "site")?;
                let sites: BTreeMap<SiteName, Site> =
                    named.chain(described).map(|site| (site.name.clone(), site)).collect();
                Ok(sites.into_values().collect())
            })
            .await
    }

    async fn add_pair(&self, pair: &ReplicationPair) -> Result<(), BackendError> {
        let pair = pair.clone();
        self.describe(move |connection| {
            refuse_unknown_hosts(connection, &pair)?;
            let added = put_pair(
                connection,
                "INSERT OR IGNORE INTO pair (name, source_host, target_host, record) \
                 VALUES (?1, ?2, ?3, ?4)",
                &pair,
            )?;
            if added == 0 {
                Err(BackendError::Exists(pair_named(&pair.name)).into())
            } else {
                Ok(())
            }
        })
        .await
    }

    async fn update_pair(&self, pair: &ReplicationPair) -> Result<(), BackendError> {
        let pair = pair.clone();
        self.describe(move |connection| {
            refuse_unknown_hosts(connection, &pair)?;
            let updated = put_pair(
                connection,
                "UPDATE pair SET source_host = ?2, target_host = ?3, record = ?4 WHERE name = ?1",
                &pair,
            )?;
            found(updated, || pair_named(&pair.name))
        })
        .await
    }

    async fn remove_pair(&self, name: &PairName) -> Result<(), BackendError> {
        let name = name.clone();
        self.describe(move |connection| {
            let schedule = user(connection, SCHEDULE_OF_PAIR, name.as_str())?;
            refuse_used(pair_named(&name), None, schedule)?;
            let removed = connection
                .prepare_cached("DELETE FROM pair WHERE name = ?1")?
                .execute([name.as_str()])?;
            found(removed, || pair_named(&name))
        })
        .await
    }

    async fn pair(&self, name: &PairName) -> Result<ReplicationPair, BackendError> {
        let name = name.clone();
        self.database
            .read(move |connection| {
                one(connection, PAIR, name.as_str(), "pair")?
                    .ok_or_else(|| BackendError::NotFound(pair_named(&name)).into())
            })
            .await
    }

    async fn pairs(&self) -> Result<Vec<ReplicationPair>, BackendError> {
        self.database.read(|connection| all(connection, PAIRS, "pair")).await
    }

    async fn add_schedule(&self, schedule: &Schedule) -> Result<(), BackendError> {
        let schedule = schedule.clone();
        self.describe(move |connection| schedule::add(connection, &schedule)).await
    }

    async fn update_schedule(&self, schedule: &Schedule) -> Result<(), BackendError> {
        let schedule = schedule.clone();
        self.describe(move |connection| schedule::update(connection, &schedule)).await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> Result<(), BackendError> {
        let name = name.clone();
        self.describe(move |connection| schedule::remove(connection, &name)).await
    }

    async fn schedule(
        &self,
        name: &ScheduleName,
    ) -> Result<(Schedule, Option<Fire>), BackendError> {
        let name = name.clone();
        self.database.read(move |connection| schedule::one(connection, &name)).await
    }

    async fn schedules(&self) -> Result<Vec<(Schedule, Option<Fire>)>, BackendError> {
        self.database.read(schedule::all).await
    }

    async fn note_fire(&self, name: &ScheduleName, fire: &Fire) -> Result<(), BackendError> {
        let (name, fire) = (name.clone(), fire.clone());
        self.describe(move |connection| schedule::note_fire(connection, &name, &fire)).await
    }
}

impl SqliteBackend {
    async fn describe<F>(&self, change: F) -> Result<(), BackendError>
    where
        F: FnOnce(&Connection) -> Result<(), Failure> + Send + 'static,
    {
        self.database.write(Durability::Full, change).await
    }
}

fn host_named(name: &HostName) -> Named {
    Named::Host(name.clone())
}

fn pair_named(name: &PairName) -> Named {
    Named::Pair(name.clone())
}

fn found(changed: usize, what: impl FnOnce() -> Named) -> Result<(), Failure> {
    if changed == 0 { Err(BackendError::NotFound(what()).into()) } else { Ok(()) }
}

fn put_pair(connection: &Connection, sql: &str, pair: &ReplicationPair) -> Result<usize, Failure> {
    Ok(connection.prepare_cached(sql)?.execute(params![
        pair.name.as_str(),
        pair.source.host.as_str(),
        pair.target_host.as_str(),
        to_json("pair", pair)?
    ])?)
}

fn refuse_unknown_hosts(connection: &Connection, pair: &ReplicationPair) -> Result<(), Failure> {
    for host in [&pair.source.host, &pair.target_host] {
        if !connection.prepare_cached(HOST)?.exists([host.as_str()])? {
            return Err(BackendError::NotFound(host_named(host)).into());
        }
    }
    Ok(())
}

/// The name of somebody who refers to a record.
fn user(connection: &Connection, sql: &str, name: &str) -> Result<Option<String>, Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

fn refuse_used(what: Named, pair: Option<String>, schedule: Option<String>) -> Result<(), Failure> {
    let pair = pair.map(|name| format!("pair {name}"));
    match pair.or(schedule.map(|name| format!("schedule {name}"))) {
        Some(by) => Err(BackendError::InUse { what: what.to_string(), by }.into()),
        None => Ok(()),
    }
}

fn one<T: DeserializeOwned>(
    connection: &Connection,
    sql: &str,
    name: &str,
    what: &'static str,
) -> Result<Option<T>, Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    let record = statement.query_row([name], |row| row.get(0)).optional()?;
    record.map(|text: String| json(what, &text)).transpose()
}

fn all<T: DeserializeOwned>(
    connection: &Connection,
    sql: &str,
    what: &'static str,
) -> Result<Vec<T>, Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    let records = statement.query_map([], |row| row.get::<_, String>(0))?;
    records.map(|text| json(what, &text?)).collect()
}
