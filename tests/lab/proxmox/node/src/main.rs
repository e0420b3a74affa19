//! Stands in for the commands of a Proxmox VE node: vzdump, qmrestore, qm, pct, pvesh, pvesm.
//!
//! The name it is called by decides which command it is. It works on the files of a real node at their real
//! places (/etc/pve, /var/lib/vz and so on), because every node of the lab has its own; a test without a node
//! puts them below `DRS_LAB_ROOT`. Its words, streams and exit codes are those of the real commands, held
//! against their transcripts; what is different is said in the lab's README.

#![expect(
    clippy::disallowed_methods,
    reason = "it is the host: it starts commands and reads its own environment"
)]

mod arguments;
mod config;
mod container;
mod failure;
mod guests;
mod interrupt;
mod lab_guest;
mod machine;
mod node;
mod pct;
mod pvesh;
mod pvesm;
mod qm;
mod qmrestore;
mod storage;
mod task;
mod vzdump;

use std::path::Path;
use std::process::ExitCode;

use failure::{Done, Failure};
use node::Node;

fn main() -> ExitCode {
    let mut args = std::env::args();
    let called = args.next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let args: Vec<String> = args.collect();
    match command(&name, &args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(u8::try_from(failure.code).unwrap_or(255))
        }
    }
}

fn command(name: &str, args: &[String]) -> Done {
    let node = Node::here()?;
    match name {
        "vzdump" => vzdump::main(&node, args),
        "qmrestore" => qmrestore::main(&node, args),
        "qm" => qm::main(&node, args),
        "pct" => pct::main(&node, args),
        "pvesh" => pvesh::main(&node, args),
        "pvesm" => pvesm::main(&node, args),
        "ha-manager" => pvesm::ha_manager(&node, args),
        "lab-guest" => lab_guest::main(&node, args),
        "lab-ha" => qm::finish_ha_request(&node, args),
        other => Err(Failure::new(format!("{other} is none of a node's commands"))),
    }
}
