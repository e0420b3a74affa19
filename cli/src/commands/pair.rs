//! `drs pair`

use std::collections::BTreeMap;

use drs_model::{NetworkMap, PairName, ReplicationPair, StorageMap};

use super::host::place_fits;
use crate::args::catalog::{Mapping, PairCommand};
use crate::args::values::{NetworkEntry, StorageEntry, Target};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::output::table::Table;
use crate::place::Place;

pub(super) async fn run(place: &Place, output: Output, command: PairCommand) -> Outcome<Exit> {
    match command {
        PairCommand::Add { name, source, target, mapping } => {
            let pair = ReplicationPair {
                name,
                target_host: target.host,
                target_name: target.name.unwrap_or_else(|| source.name.clone()),
                source,
                networks: networks(&mapping),
                storage: storage(&mapping),
                keep_macs: mapping.new_macs != Some(true),
            };
            sane(&pair)?;
            places_fit(place, &pair).await?;
            place.backend.catalog.add_pair(&pair).await?;
            warn_of_one_site(place, output, &pair).await?;
            shown(output, &pair)
        }
        PairCommand::List => list(place, output).await,
        PairCommand::Edit { name, source, target, mapping } => {
            let mut pair = place.backend.catalog.pair(&name).await?;
            if let Some(source) = source {
                pair.source = source;
            }
            if let Some(target) = target {
                retarget(&mut pair, target);
            }
            remap(&mut pair, &mapping);
            sane(&pair)?;
            places_fit(place, &pair).await?;
            warn_of_one_site(place, output, &pair).await?;
            place.backend.catalog.update_pair(&pair).await?;
            shown(output, &pair)
        }
        PairCommand::Remove { name } => remove(place, output, name).await,
    }
}

/// The networks to exchange; entries without a right side are no entries.
pub(super) fn networks(mapping: &Mapping) -> NetworkMap {
    let mut map = NetworkMap::new();
    mapping.networks.iter().for_each(|NetworkEntry(old, new)| set(&mut map, old, new));
    map
}

/// The folders or storages to use; entries without a right side are no entries.
pub(super) fn storage(mapping: &Mapping) -> StorageMap {
    let mut map = StorageMap::new();
    mapping.storage.iter().for_each(|StorageEntry(disk, folder)| set(&mut map, disk, folder));
    map
}

fn set(map: &mut BTreeMap<String, String>, key: &str, value: &str) {
    if value.is_empty() {
        map.remove(key);
    } else {
        map.insert(key.to_owned(), value.to_owned());
    }
}

fn retarget(pair: &mut ReplicationPair, target: Target) {
    pair.target_host = target.host;
    if let Some(name) = target.name {
        pair.target_name = name;
    }
}

fn remap(pair: &mut ReplicationPair, mapping: &Mapping) {
    for NetworkEntry(old, new) in &mapping.networks {
        set(&mut pair.networks, old, new);
    }
    for StorageEntry(disk, folder) in &mapping.storage {
        set(&mut pair.storage, disk, folder);
    }
    if let Some(new_macs) = mapping.new_macs {
        pair.keep_macs = !new_macs;
    }
}

/// A pair restores beside its source, never onto it.
fn sane(pair: &ReplicationPair) -> Outcome<()> {
    if pair.target() != pair.source {
        return Ok(());
    }
    Err(Failure::invalid(
        format!("the pair {} would restore {} onto itself", pair.name, pair.source),
        "Name another host, or another name on it: `--target HOST/VM`.",
    ))
}

async fn places_fit(place: &Place, pair: &ReplicationPair) -> Outcome<()> {
    let target = place.backend.catalog.host(&pair.target_host).await?;
    pair.storage.values().try_for_each(|disks| place_fits(&target, disks, "--storage"))
}

/// The hosts of a site fail together: a pair within one protects from the loss of a host alone.
async fn warn_of_one_site(place: &Place, output: Output, pair: &ReplicationPair) -> Outcome<()> {
    let source = place.backend.catalog.host(&pair.source.host).await?;
    let target = place.backend.catalog.host(&pair.target_host).await?;
    if source.site == target.site {
        output.say(&format!(
            "warning: both hosts of pair {} stand at site {}: what takes the one may take the other",
            pair.name, source.site
        ));
    }
    Ok(())
}

fn shown(output: Output, pair: &ReplicationPair) -> Outcome<Exit> {
    output.answer(pair, || table(std::slice::from_ref(pair)))?;
    Ok(Exit::Success)
}

async fn list(place: &Place, output: Output) -> Outcome<Exit> {
    let pairs = place.backend.catalog.pairs().await?;
    output.answer(&pairs, || table(&pairs))?;
    Ok(Exit::Success)
}

async fn remove(place: &Place, output: Output, name: PairName) -> Outcome<Exit> {
    let pair = place.backend.catalog.pair(&name).await?;
    place.backend.catalog.remove_pair(&name).await?;
    output.answer(&pair, || format!("pair {name} is removed; its VMs and recovery points stay"))?;
    Ok(Exit::Success)
}

fn table(pairs: &[ReplicationPair]) -> String {
    let headings = Table::new(["NAME", "SOURCE", "TARGET", "NETWORKS", "STORAGE", "MACS"]);
    let entries = |map: &BTreeMap<String, String>| {
        let entries: Vec<String> = map.iter().map(|(old, new)| format!("{old}={new}")).collect();
        if entries.is_empty() { "-".to_owned() } else { entries.join(" ") }
    };
    let row = |table: Table, pair: &ReplicationPair| {
        table.row([
            pair.name.to_string(),
            pair.source.to_string(),
            pair.target().to_string(),
            entries(&pair.networks),
            entries(&pair.storage),
            if pair.keep_macs { "kept" } else { "new" }.to_owned(),
        ])
    };
    pairs.iter().fold(headings, row).to_string()
}
