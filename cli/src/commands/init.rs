//! `drs init`

use std::path::PathBuf;

use drs_runtime::{Config, DataDir, config};
use serde_json::json;

use crate::args::Globals;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::place::{absolute, data_dir};
use crate::wiring;

pub(super) fn run(globals: &Globals, output: Output, vault: Option<PathBuf>) -> Outcome<Exit> {
    let root = data_dir(globals)?;
    let mut vault = vault.map(|path| absolute(&path)).transpose()?;
    if let Some(prepared) = Config::load(&root.join("drs.toml"))?.vault.path {
        match &vault {
            Some(named) if *named != prepared => {
                return Err(Failure::invalid(
                    format!(
                        "the vault is {} by --vault, and {} by the configuration that is there",
                        named.display(),
                        prepared.display()
                    ),
                    "Leave --vault out, or correct drs.toml or DRS_VAULT; nothing was made.",
                ));
            }
            _ => vault = Some(prepared),
        }
    }
    let text = config::template(vault.as_deref()).ok_or_else(|| {
        Failure::invalid("the vault's path is no text in UTF-8", "Choose another path.")
    })?;
    let new = DataDir::init(&root, &text)?;
    wiring::create_backend(new.dir())?;
    let vault = vault.unwrap_or_else(|| new.dir().vault());
    wiring::create_vault(&vault)?;
    let dir = new.finish()?;
    let document = json!({"data_dir": dir.root(), "vault": vault, "config": dir.config()});
    output.answer(&document, || {
        format!(
            "data directory {}\nvault          {}\nconfiguration  {}\n\nNext: drs host add NAME --address root@HOST --site SITE",
            dir.root().display(),
            vault.display(),
            dir.config().display()
        )
    })?;
    Ok(Exit::Success)
}
