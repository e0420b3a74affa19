//! `drs site`

use drs_model::Site;

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
        SiteCommand::Edit { name, bandwidth } => {
            let site = Site { bytes_per_second: bandwidth.0, ..catalog.site(&name).await? };
            catalog.put_site(&site).await?;
            output.answer(&site, || table(std::slice::from_ref(&site)))?;
        }
    }
    Ok(Exit::Success)
}

fn table(sites: &[Site]) -> String {
    let row = |table: Table, site: &Site| {
        table.row([site.name.to_string(), units::rate(site.bytes_per_second)])
    };
    sites.iter().fold(Table::new(["NAME", "BANDWIDTH"]), row).to_string()
}
