//! `drs site`

use drs_model::{Fault, FaultCode, Site, SiteName, nearest};

use crate::args::catalog::SiteCommand;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::output::table::Table;
use crate::output::{Output, units};
use crate::place::Place;

pub(super) async fn run(place: &Place, output: Output, command: SiteCommand) -> Outcome<Exit> {
    let catalog = &place.backend.catalog;
    match command {
        SiteCommand::List => {
            let sites = catalog.sites().await?;
            output.answer(&sites, || table(&sites))?;
        }
        SiteCommand::Edit { name, bandwidth, lane } => {
            standing(place, &name).await?;
            let known = catalog.site(&name).await?;
            let site = Site {
                bytes_per_second: bandwidth.map_or(known.bytes_per_second, |rate| rate.0),
                lane: lane.unwrap_or(known.lane),
                ..Site::named(name)
            };
            catalog.put_site(&site).await?;
            output.answer(&site, || table(std::slice::from_ref(&site)))?;
        }
    }
    Ok(Exit::Success)
}

/// A name at which no host stands is a slip of the keyboard, not a site.
async fn standing(place: &Place, name: &SiteName) -> Outcome<()> {
    let hosts = place.backend.catalog.hosts().await?;
    if hosts.iter().any(|host| host.site == *name) {
        return Ok(());
    }
    let similar = nearest(name.as_str(), hosts.iter().map(|host| host.site.as_str()));
    let hint = similar.map(|site| format!(" Did you mean {site}?")).unwrap_or_default();
    Err(Fault::permanent(
        FaultCode::SiteNotFound,
        format!("no host stands at a site {name}"),
        format!("List the sites of your hosts with `drs host list`.{hint}"),
    )
    .into())
}

fn table(sites: &[Site]) -> String {
    let row = |table: Table, site: &Site| {
        table.row([
            site.name.to_string(),
            units::rate(site.bytes_per_second),
            site.lane.to_string(),
        ])
    };
    sites.iter().fold(Table::new(["NAME", "BANDWIDTH", "LANE"]), row).to_string()
}
