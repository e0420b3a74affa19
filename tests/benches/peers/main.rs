//! DR Switch beside Celery, which a user would pick for the same task: `make bench-peers`.
//!
//! Same RabbitMQ, same Redis, same sshd, one run, one table. Sections: `noop crash timeout`; an argument names
//! those to run, `quick` among them takes shorter lengths for a look.
#![allow(clippy::disallowed_methods)] // a bench starts what it compares

mod celery;
mod noop;
mod process;
mod record;
mod redis;
mod remote;
mod table;

use anyhow::Result;
use remote::Plan;

fn main() -> Result<()> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if let Some(("worker", place)) =
        arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        return remote::worker(place);
    }
    let quick = arguments.iter().any(|argument| argument == "quick");
    let chosen: Vec<&String> = arguments.iter().filter(|argument| *argument != "quick").collect();
    let wanted = |section: &str| chosen.is_empty() || chosen.iter().any(|name| *name == section);
    let mut rows = Vec::new();
    if wanted("noop") {
        let (jobs, rounds) = if quick { (2_000, 1) } else { (5_000, 5) };
        rows.extend(noop::measure(jobs, rounds)?);
    }
    if wanted("crash") {
        rows.extend(remote::measure(&Plan::crash(quick))?);
    }
    if wanted("timeout") {
        rows.extend(remote::measure(&Plan::timeout(quick))?);
    }
    table::print(&rows);
    Ok(())
}
