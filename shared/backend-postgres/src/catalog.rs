//! The catalogue: hosts, sites, pairs and schedules as records, their names held together by foreign keys.

mod pair;
mod schedule;

use std::collections::BTreeMap;

use async_trait::async_trait;
use drs_backend::{BackendError, Catalog, Named};
use drs_model::{
    Fire, Host, HostName, PairName, ReplicationPair, Schedule, ScheduleName, Site, SiteName,
};
use tokio_postgres::types::Json;

use crate::PostgresCatalog;
use crate::database::{Change, Database, Values};

const ADD_HOST: &str = "\
    INSERT INTO drs.host (name, record) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING name";
const UPDATE_HOST: &str = "UPDATE drs.host SET record = $2 WHERE name = $1 RETURNING name";
const REMOVE_HOST: &str = "DELETE FROM drs.host WHERE name = $1 RETURNING name";
const HOST: &str = "SELECT record FROM drs.host WHERE name = $1";
const HOSTS: &str = "SELECT record FROM drs.host ORDER BY name";
const USER_OF_HOST: &str = "\
    SELECT 'pair ' || name FROM drs.pair WHERE source_host = $1 OR target_host = $1 \
    UNION ALL SELECT 'schedule ' || name FROM drs.schedule WHERE host = $1 ORDER BY 1 LIMIT 1";
const PUT_SITE: &str = "\
    INSERT INTO drs.site (name, record) VALUES ($1, $2) \
    ON CONFLICT (name) DO UPDATE SET record = EXCLUDED.record RETURNING name";
const SITE: &str = "SELECT record FROM drs.site WHERE name = $1";
const SITES: &str = "SELECT record FROM drs.site ORDER BY name";

#[async_trait]
impl Catalog for PostgresCatalog {
    async fn add_host(&self, host: &Host) -> Result<(), BackendError> {
        let change = self.database.change(ADD_HOST, &[&host.name.as_str(), &Json(host)]).await?;
        added(&change, || host_named(&host.name))
    }

    async fn update_host(&self, host: &Host) -> Result<(), BackendError> {
        let change = self.database.change(UPDATE_HOST, &[&host.name.as_str(), &Json(host)]).await?;
        found(&change, || host_named(&host.name))
    }

    async fn remove_host(&self, name: &HostName) -> Result<(), BackendError> {
        let values: &Values<'_> = &[&name.as_str()];
        remove(&self.database, REMOVE_HOST, USER_OF_HOST, values, host_named(name)).await
    }

    async fn host(&self, name: &HostName) -> Result<Host, BackendError> {
        let hosts = self.database.records(HOST, &[&name.as_str()]).await?;
        one(hosts, || host_named(name))
    }

    async fn hosts(&self) -> Result<Vec<Host>, BackendError> {
        self.database.records(HOSTS, &[]).await
    }

    async fn put_site(&self, site: &Site) -> Result<(), BackendError> {
        self.database.change(PUT_SITE, &[&site.name.as_str(), &Json(site)]).await?;
        Ok(())
    }

    async fn site(&self, name: &SiteName) -> Result<Site, BackendError> {
        let described = self.database.records(SITE, &[&name.as_str()]).await?;
        Ok(described.into_iter().next().unwrap_or_else(|| Site::named(name.clone())))
    }

    async fn sites(&self) -> Result<Vec<Site>, BackendError> {
        let named = self.hosts().await?.into_iter().map(|host| Site::named(host.site));
        let described: Vec<Site> = self.database.records(SITES, &[]).await?;
        let sites: BTreeMap<SiteName, Site> =
            named.chain(described).map(|site| (site.name.clone(), site)).collect();
        Ok(sites.into_values().collect())
    }

    async fn add_pair(&self, pair: &ReplicationPair) -> Result<(), BackendError> {
        pair::add(&self.database, pair).await
    }

    async fn update_pair(&self, pair: &ReplicationPair) -> Result<(), BackendError> {
        pair::update(&self.database, pair).await
    }

    async fn remove_pair(&self, name: &PairName) -> Result<(), BackendError> {
        pair::remove(&self.database, name).await
    }

    async fn pair(&self, name: &PairName) -> Result<ReplicationPair, BackendError> {
        pair::one(&self.database, name).await
    }

    async fn pairs(&self) -> Result<Vec<ReplicationPair>, BackendError> {
        pair::all(&self.database).await
    }

    async fn add_schedule(&self, schedule: &Schedule) -> Result<(), BackendError> {
        schedule::add(&self.database, schedule).await
    }

    async fn update_schedule(&self, schedule: &Schedule) -> Result<(), BackendError> {
        schedule::update(&self.database, schedule).await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> Result<(), BackendError> {
        schedule::remove(&self.database, name).await
    }

    async fn schedule(
        &self,
        name: &ScheduleName,
    ) -> Result<(Schedule, Option<Fire>), BackendError> {
        schedule::one(&self.database, name).await
    }

    async fn schedules(&self) -> Result<Vec<(Schedule, Option<Fire>)>, BackendError> {
        schedule::all(&self.database).await
    }

    async fn note_fire(&self, name: &ScheduleName, fire: &Fire) -> Result<(), BackendError> {
        schedule::note_fire(&self.database, name, fire).await
    }
}

fn host_named(name: &HostName) -> Named {
    Named::Host(name.clone())
}

fn pair_named(name: &PairName) -> Named {
    Named::Pair(name.clone())
}

/// The answer to a change that adds a record.
fn added(change: &Change, what: impl FnOnce() -> Named) -> Result<(), BackendError> {
    if *change == Change::Nothing { Err(BackendError::Exists(what())) } else { Ok(()) }
}

/// The answer to a change of a record that must be there.
fn found(change: &Change, what: impl FnOnce() -> Named) -> Result<(), BackendError> {
    if *change == Change::Nothing { Err(BackendError::NotFound(what())) } else { Ok(()) }
}

fn one<T>(records: Vec<T>, what: impl FnOnce() -> Named) -> Result<T, BackendError> {
    records.into_iter().next().ok_or_else(|| BackendError::NotFound(what()))
}

/// Removes a record that nothing refers to; `user` finds what does.
async fn remove(
    database: &Database,
    sql: &str,
    user: &str,
    values: &Values<'_>,
    what: Named,
) -> Result<(), BackendError> {
    let change = database.change(sql, values).await?;
    if !matches!(change, Change::Breaks(_)) {
        return found(&change, || what);
    }
    let rows = database.rows(user, values).await?;
    let by = match rows.first() {
        Some(row) => row.try_get(0).map_err(|error| database.damaged(&error))?,
        None => "something that went away meanwhile".into(),
    };
    Err(BackendError::InUse { what: what.to_string(), by })
}
