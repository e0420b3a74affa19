//! The catalogue: names are unique, and nothing that is used goes away.

use std::num::NonZeroU64;

use drs_model::{Host, HypervisorKind, ReplicationPair, Site};
use drs_protocol::store::{ClaimAnswer, Driving, Outcome};

use super::{TTL, Verdict, Violation, at, backup, broken, checks, name, same};
use crate::{Backend, BackendError};

checks![
    hosts_and_pairs_read_back_as_they_are_by_name,
    a_name_is_given_once,
    what_is_not_there_is_named,
    a_pair_needs_both_its_hosts,
    a_change_replaces_the_whole_description,
    a_site_is_known_by_its_hosts_and_by_its_description,
    a_host_of_a_pair_stays,
    a_host_of_an_unfinished_job_stays,
];

fn host(text: &str) -> Result<Host, Violation> {
    Ok(Host {
        name: name(text)?,
        site: name("site")?,
        kind: HypervisorKind::Simulated,
        address: "vms=1".into(),
        key_file: Some("/etc/key".into()),
        host_keys: vec!["SHA256:abc".into()],
        image_dir: None,
        dump_dir: None,
        slots: Host::SLOTS_DEFAULT,
        bytes_per_second: None,
    })
}

fn pair(text: &str, source: &str, target: &str) -> Result<ReplicationPair, Violation> {
    Ok(ReplicationPair {
        name: name(text)?,
        source: name(source)?,
        target_host: name(target)?,
        target_name: name("web-dr")?,
        networks: [("lan".into(), "lan-dr".into())].into(),
        storage: Default::default(),
        keep_macs: true,
    })
}

/// The refusal that must come, in words.
fn refused<T: std::fmt::Debug>(got: Result<T, BackendError>, wanted: &str) -> Verdict {
    match got {
        Err(error @ BackendError::Unavailable { .. }) => Err(error.into()),
        Err(error) => same("refusal", &error.to_string(), &wanted.to_owned()),
        Ok(value) => broken(format!("got {value:?}, wanted {wanted:?}")),
    }
}

async fn hosts_and_pairs_read_back_as_they_are_by_name(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    let (dc, dr) = (host("dc")?, host("dr")?);
    catalog.add_host(&dr).await?;
    catalog.add_host(&dc).await?;
    same("host", &catalog.host(&dc.name).await?, &dc)?;
    same("hosts", &catalog.hosts().await?, &vec![dc, dr])?;
    let (a, b) = (pair("a", "dc/web", "dr")?, pair("b", "dc/db", "dr")?);
    catalog.add_pair(&b).await?;
    catalog.add_pair(&a).await?;
    same("pair", &catalog.pair(&a.name).await?, &a)?;
    same("pairs", &catalog.pairs().await?, &vec![a, b])
}

async fn a_name_is_given_once(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    let other = Host { address: "vms=2".into(), ..host("dc")? };
    catalog.add_host(&host("dc")?).await?;
    refused(catalog.add_host(&other).await, "host dc exists already")?;
    same("host", &catalog.host(&other.name).await?, &host("dc")?)?;
    catalog.add_pair(&pair("web", "dc/web", "dc")?).await?;
    refused(catalog.add_pair(&pair("web", "dc/db", "dc")?).await, "pair web exists already")
}

async fn what_is_not_there_is_named(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    let dc = host("dc")?;
    refused(catalog.host(&dc.name).await, "there is no host dc")?;
    refused(catalog.update_host(&dc).await, "there is no host dc")?;
    refused(catalog.remove_host(&dc.name).await, "there is no host dc")?;
    catalog.add_host(&dc).await?;
    let web = pair("web", "dc/web", "dc")?;
    refused(catalog.pair(&web.name).await, "there is no pair web")?;
    refused(catalog.update_pair(&web).await, "there is no pair web")?;
    refused(catalog.remove_pair(&web.name).await, "there is no pair web")
}

async fn a_pair_needs_both_its_hosts(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    let web = pair("web", "dc/web", "dr")?;
    catalog.add_host(&host("dc")?).await?;
    refused(catalog.add_pair(&web).await, "there is no host dr")?;
    catalog.add_host(&host("dr")?).await?;
    catalog.add_pair(&web).await?;
    let lost = pair("web", "nowhere/web", "dr")?;
    refused(catalog.update_pair(&lost).await, "there is no host nowhere")?;
    same("pair", &catalog.pair(&web.name).await?, &web)
}

async fn a_change_replaces_the_whole_description(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    catalog.add_host(&host("dc")?).await?;
    catalog.add_host(&host("dr")?).await?;
    let dc = Host { host_keys: vec![], key_file: None, slots: 9, ..host("dc")? };
    catalog.update_host(&dc).await?;
    same("host", &catalog.host(&dc.name).await?, &dc)?;
    catalog.add_pair(&pair("web", "dc/web", "dc")?).await?;
    let web = pair("web", "dr/other", "dr")?;
    catalog.update_pair(&web).await?;
    same("pair", &catalog.pair(&web.name).await?, &web)?;
    catalog.remove_host(&dc.name).await?;
    refused(catalog.remove_host(&web.target_host).await, "host dr is used by pair web")
}

async fn a_site_is_known_by_its_hosts_and_by_its_description(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    let plain = Site::named(name("site")?);
    same("site", &catalog.site(&plain.name).await?, &plain)?;
    same("sites", &catalog.sites().await?, &vec![])?;
    catalog.add_host(&host("dc")?).await?;
    same("sites", &catalog.sites().await?, &vec![plain.clone()])?;
    let limited = Site { bytes_per_second: NonZeroU64::new(1000), ..plain.clone() };
    let other = Site::named(name("a-site")?);
    for site in [&plain, &limited, &other] {
        catalog.put_site(site).await?;
    }
    same("site", &catalog.site(&plain.name).await?, &limited)?;
    same("sites", &catalog.sites().await?, &vec![other, limited])
}

async fn a_host_of_a_pair_stays(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    let (dc, dr, web) = (host("dc")?, host("dr")?, pair("web", "dc/web", "dr")?);
    catalog.add_host(&dc).await?;
    catalog.add_host(&dr).await?;
    catalog.add_pair(&web).await?;
    refused(catalog.remove_host(&dc.name).await, "host dc is used by pair web")?;
    refused(catalog.remove_host(&dr.name).await, "host dr is used by pair web")?;
    catalog.remove_pair(&web.name).await?;
    catalog.remove_host(&dc.name).await?;
    same("hosts", &catalog.hosts().await?, &vec![dr])
}

async fn a_host_of_an_unfinished_job_stays(backend: Backend) -> Verdict {
    let (dc, job) = (host("dc")?, backup("a", "dc/web", 1)?);
    let used = format!("host dc is used by job {}", job.id);
    backend.catalog.add_host(&dc).await?;
    backend.store.create(&job).await?;
    refused(backend.remove_host(&dc.name).await, &used)?;
    let claim = backend.store.claim(at(2), &(&job).into(), "w", TTL).await?;
    let ClaimAnswer::Claimed(job) = claim else { return broken(format!("{claim:?}")) };
    refused(backend.remove_host(&dc.name).await, &used)?;
    let who = Driving { job: job.id, worker: "w", fence: job.fence };
    backend.store.finish(at(3), who, &Outcome::Succeeded).await?;
    Ok(backend.remove_host(&dc.name).await?)
}
