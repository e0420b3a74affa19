//! Retention as vzdump applies it after a backup, or refuses to begin because of it.

use std::fs;

use crate::failure::{Done, Failure};
use crate::guests::Guest;
use crate::storage::{self, Backup};

use super::Job;
use super::log::Log;

/// How many backups of a guest the retention keeps; `None` keeps all.
fn keeps(job: &Job) -> Option<usize> {
    let retention = job.retention.as_deref()?;
    retention.split(',').find_map(|rule| rule.strip_prefix("keep-last=")?.parse().ok())
}

/// The guest's backups that count, the latest first.
fn candidates(log: &Log<'_>, job: &Job, guest: &Guest) -> Vec<Backup> {
    let mut backups = storage::backups_in(log.node, &job.dump);
    backups.retain(|b| b.guest == guest.id && b.kind == guest.kind && !b.protected);
    backups.sort_by_key(|backup| std::cmp::Reverse(backup.time));
    backups
}

/// Without removal there must be room for one more.
pub(super) fn check_room(log: &Log<'_>, job: &Job, guest: &Guest) -> Done {
    let Some(keep) = keeps(job).filter(|_| !job.remove && !job.to_stdout) else { return Ok(()) };
    if candidates(log, job, guest).len() < keep {
        return Ok(());
    }
    Err(Failure::new(format!(
        "There is a max backup limit of {keep} enforced by the target storage or the vzdump \
         parameters. Either increase the limit or delete old backups."
    )))
}

/// Removes what the retention does not keep.
pub(super) fn prune(log: &mut Log<'_>, job: &Job, guest: &Guest) -> Done {
    let Some(keep) = keeps(job).filter(|_| job.remove) else { return Ok(()) };
    let retention = job.retention.as_deref().unwrap_or_default();
    log.info(&format!("prune older backups with retention: {retention}"))?;
    let mut surplus: Vec<Backup> = candidates(log, job, guest).into_iter().skip(keep).collect();
    surplus.sort_by(|a, b| a.name.cmp(&b.name));
    for backup in &surplus {
        let path = format!("{}/{}", job.dump, backup.name);
        let called = match &job.storage {
            Some(storage) => format!("{}:backup/{}", storage.id, backup.name),
            None => path.clone(),
        };
        log.info(&format!("removing backup '{called}'"))?;
        fs::remove_file(log.node.file(&path))?;
        let stem = path.strip_suffix(&format!(".{}", backup.format)).unwrap_or(&path);
        fs::remove_file(log.node.file(format!("{stem}.log"))).ok();
        fs::remove_file(log.node.file(format!("{path}.notes"))).ok();
    }
    let count = surplus.len();
    log.info(&format!("pruned {count} backup(s) not covered by keep-retention policy"))
}
