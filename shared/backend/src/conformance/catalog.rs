//! The catalogue: names are unique, and nothing that is used goes away.

use std::num::NonZeroU64;

use drs_model::{
    Calendar, Fire, FireOutcome, Host, HypervisorKind, JobId, ReplicationPair, Schedule, Site,
    Subject, Transfer, Work,
};
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
    schedules_read_back_as_they_are_by_name,
    the_name_of_a_schedule_is_given_once,
    a_schedule_needs_what_it_is_about,
    a_changed_schedule_is_about_something_else_and_keeps_its_fire,
    what_a_schedule_is_about_stays,
    a_fire_is_noted_when_it_is_later,
    a_removed_schedule_takes_its_fire_with_it,
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

fn schedule(text: &str, subject: Subject) -> Result<Schedule, Violation> {
    let calendar = Calendar::cron("30 2 * * *", "Europe/Berlin");
    Ok(Schedule {
        name: name(text)?,
        subject,
        work: Work::Replicate,
        calendar: calendar.or_else(|error| broken(error.to_string()))?,
        transfer: Transfer { bytes_per_second: NonZeroU64::new(1000), ..Transfer::default() },
        paused: false,
        counts_from: at(1),
    })
}

fn fire(milliseconds: i64, outcome: FireOutcome) -> Fire {
    Fire { at: at(milliseconds), job: JobId::from_key(&format!("run {milliseconds}")), outcome }
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

/// A host `dc`, and a pair `web` of it.
async fn with_a_pair(backend: &Backend) -> Verdict {
    backend.catalog.add_host(&host("dc")?).await?;
    Ok(backend.catalog.add_pair(&pair("web", "dc/web", "dc")?).await?)
}

async fn schedules_read_back_as_they_are_by_name(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    with_a_pair(&backend).await?;
    same("none", &catalog.schedules().await?, &vec![])?;
    let a = schedule("a", Subject::Vm(name("dc/web")?))?;
    let b = schedule("b", Subject::Pair(name("web")?))?;
    let c = Schedule { paused: true, ..schedule("c", Subject::Host(name("dc")?))? };
    for one in [&c, &a, &b] {
        catalog.add_schedule(one).await?;
    }
    same("schedule", &catalog.schedule(&a.name).await?, &(a.clone(), None))?;
    let fire = fire(7, FireOutcome::Skipped);
    catalog.note_fire(&b.name, &fire).await?;
    let wanted = vec![(a, None), (b, Some(fire)), (c, None)];
    same("schedules", &catalog.schedules().await?, &wanted)
}

async fn the_name_of_a_schedule_is_given_once(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    with_a_pair(&backend).await?;
    let nightly = schedule("nightly", Subject::Vm(name("dc/web")?))?;
    let (missing, taken) = ("there is no schedule nightly", "schedule nightly exists already");
    refused(catalog.schedule(&nightly.name).await, missing)?;
    refused(catalog.update_schedule(&nightly).await, missing)?;
    refused(catalog.remove_schedule(&nightly.name).await, missing)?;
    catalog.add_schedule(&nightly).await?;
    let other = schedule("nightly", Subject::Pair(name("web")?))?;
    refused(catalog.add_schedule(&other).await, taken)?;
    same("schedule", &catalog.schedule(&nightly.name).await?, &(nightly, None))
}

async fn a_schedule_needs_what_it_is_about(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    with_a_pair(&backend).await?;
    let nightly = schedule("nightly", Subject::Vm(name("dc/web")?))?;
    for (subject, missing) in [
        (Subject::Vm(name("dr/web")?), "there is no host dr"),
        (Subject::Host(name("dr")?), "there is no host dr"),
        (Subject::Pair(name("db")?), "there is no pair db"),
    ] {
        let lost = Schedule { subject, ..nightly.clone() };
        refused(catalog.add_schedule(&lost).await, missing)?;
        catalog.add_schedule(&nightly).await?;
        refused(catalog.update_schedule(&lost).await, missing)?;
        same("schedule", &catalog.schedule(&nightly.name).await?, &(nightly.clone(), None))?;
        catalog.remove_schedule(&nightly.name).await?;
    }
    Ok(())
}

async fn a_changed_schedule_is_about_something_else_and_keeps_its_fire(
    backend: Backend,
) -> Verdict {
    let catalog = &backend.catalog;
    with_a_pair(&backend).await?;
    catalog.add_host(&host("dr")?).await?;
    let nightly = schedule("nightly", Subject::Pair(name("web")?))?;
    catalog.add_schedule(&nightly).await?;
    let fire = fire(7, FireOutcome::Submitted);
    catalog.note_fire(&nightly.name, &fire).await?;
    let subject = Subject::Host(name("dr")?);
    let changed = Schedule { subject, work: Work::Verify, paused: true, ..nightly };
    catalog.update_schedule(&changed).await?;
    let wanted = (changed, Some(fire));
    same("schedule", &catalog.schedule(&wanted.0.name).await?, &wanted)?;
    catalog.remove_pair(&name("web")?).await?;
    refused(catalog.remove_host(&name("dr")?).await, "host dr is used by schedule nightly")
}

async fn what_a_schedule_is_about_stays(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    with_a_pair(&backend).await?;
    catalog.add_host(&host("dr")?).await?;
    catalog.add_schedule(&schedule("host", Subject::Host(name("dr")?))?).await?;
    refused(catalog.remove_host(&name("dr")?).await, "host dr is used by schedule host")?;
    catalog.remove_schedule(&name("host")?).await?;
    catalog.add_schedule(&schedule("vm", Subject::Vm(name("dr/web")?))?).await?;
    refused(catalog.remove_host(&name("dr")?).await, "host dr is used by schedule vm")?;
    catalog.remove_schedule(&name("vm")?).await?;
    catalog.remove_host(&name("dr")?).await?;
    catalog.add_schedule(&schedule("pair", Subject::Pair(name("web")?))?).await?;
    refused(catalog.remove_pair(&name("web")?).await, "pair web is used by schedule pair")?;
    catalog.remove_schedule(&name("pair")?).await?;
    Ok(catalog.remove_pair(&name("web")?).await?)
}

async fn a_fire_is_noted_when_it_is_later(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    catalog.add_host(&host("dc")?).await?;
    let nightly = schedule("nightly", Subject::Host(name("dc")?))?;
    catalog.add_schedule(&nightly).await?;
    for (noted, latest) in [
        (fire(20, FireOutcome::Submitted), fire(20, FireOutcome::Submitted)),
        (fire(20, FireOutcome::Skipped), fire(20, FireOutcome::Submitted)),
        (fire(10, FireOutcome::Submitted), fire(20, FireOutcome::Submitted)),
        (fire(30, FireOutcome::Skipped), fire(30, FireOutcome::Skipped)),
    ] {
        catalog.note_fire(&nightly.name, &noted).await?;
        same("the latest", &catalog.schedule(&nightly.name).await?.1, &Some(latest))?;
    }
    Ok(())
}

async fn a_removed_schedule_takes_its_fire_with_it(backend: Backend) -> Verdict {
    let catalog = &backend.catalog;
    catalog.add_host(&host("dc")?).await?;
    let nightly = schedule("nightly", Subject::Host(name("dc")?))?;
    let fire = fire(20, FireOutcome::Submitted);
    catalog.add_schedule(&nightly).await?;
    catalog.note_fire(&nightly.name, &fire).await?;
    catalog.remove_schedule(&nightly.name).await?;
    catalog.note_fire(&nightly.name, &fire).await?;
    same("schedules", &catalog.schedules().await?, &vec![])?;
    catalog.add_schedule(&nightly).await?;
    same("made anew", &catalog.schedule(&nightly.name).await?, &(nightly, None))
}
