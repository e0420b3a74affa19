//! `drs point`

use drs_backend::JobFilter;
use drs_model::{
    DiskContent, Fault, FaultCode, Job, JobSpec, Phase, PointId, RecoveryPoint, VmForm, VmRef,
};
use drs_runtime::clock;
use drs_vault::Vault;
use serde::Serialize;

use crate::args::jobs::PointCommand;
use crate::args::values::IdPrefix;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::find;
use crate::output::table::{Table, sheet};
use crate::output::view::{PointEntry, PointView, UnreadableView, point_table};
use crate::output::{Output, units};
use crate::place::Place;
use crate::submission::{self, Request};

pub(super) async fn run(place: &Place, output: Output, command: PointCommand) -> Outcome<Exit> {
    let vault = place.vault()?;
    match command {
        PointCommand::List { vm } => list(&*vault, output, vm).await,
        PointCommand::Show { id } => show(&*vault, output, &id).await,
        PointCommand::Verify { id, submission } => {
            let point = find::point(&*vault, &id).await?.manifest.id;
            let request = Request::new(submission.job_id(), JobSpec::Verify { point });
            submission::run(place, output, &submission, request, async { Ok(()) }).await
        }
        PointCommand::Remove { id, dry_run, yes, last } => {
            let removal = Removal::plan(place, &*vault, &id).await?;
            if dry_run {
                output.answer(&removal, || removal.text("would remove"))?;
                return Ok(Exit::Success);
            }
            removal.allowed(last)?;
            output.confirmed(&removal.text("removing"), yes)?;
            vault.remove(removal.id()).await?;
            output.answer(&removal, || format!("recovery point {} is removed", removal.id()))?;
            Ok(Exit::Success)
        }
    }
}

/// Lists the points. Those that cannot be read are always among them: they may be of any VM.
async fn list(vault: &dyn Vault, output: Output, vm: Option<VmRef>) -> Outcome<Exit> {
    let mut listing = vault.list().await?;
    listing.points.retain(|point| vm.as_ref().is_none_or(|vm| *vm == point.manifest.source));
    let points = PointEntry::all(&listing);
    output.answer(&points, || point_table(&points))?;
    if !listing.unreadable.is_empty() {
        output.say(&format!(
            "warning: recovery points that cannot be read: {}; the others can be used",
            listing.unreadable.len()
        ));
    }
    Ok(Exit::Success)
}

/// A point as `--json` shows it in full.
#[derive(Serialize)]
struct WholePoint {
    #[serde(flatten)]
    summary: PointView,
    manifest: RecoveryPoint,
}

async fn show(vault: &dyn Vault, output: Output, id: &IdPrefix) -> Outcome<Exit> {
    let stored = find::point(vault, id).await?;
    let point = WholePoint { summary: PointView::from(&stored), manifest: stored.manifest };
    output.answer(&point, || {
        let PointView { id, source, size_bytes, stored_bytes, consistency, .. } = &point.summary;
        let head = sheet([
            ("point", id.to_string()),
            ("VM", source.to_string()),
            ("form", point.summary.form.to_string()),
            ("hypervisor", point.summary.hypervisor.to_string()),
            ("time", clock::local(point.summary.consistent_at)),
            ("completed", clock::local(point.summary.completed_at)),
            ("consistency", consistency.to_string()),
            ("state", point.summary.proof()),
            (
                "size",
                format!("{}, {} stored", units::bytes(*size_bytes), units::bytes(*stored_bytes)),
            ),
        ]);
        format!("{head}\n{}", content_table(point.summary.form, &point.manifest.disks))
    })?;
    Ok(Exit::Success)
}

fn content_table(form: VmForm, disks: &[DiskContent]) -> String {
    let what = match form {
        VmForm::Machine => "DISK",
        VmForm::Container => "ARCHIVE",
    };
    let headings = Table::new([what, "SIZE", "DATA", "STORED", "DIGEST"]);
    let row = |table: Table, disk: &DiskContent| {
        table.row([
            disk.name.clone(),
            units::bytes(disk.size_bytes),
            units::bytes(disk.data_bytes),
            units::bytes(disk.stored_bytes),
            disk.digest.clone(),
        ])
    };
    disks.iter().fold(headings, row).to_string()
}

/// What a removal takes away, and what speaks against it.
#[derive(Serialize)]
struct Removal {
    point: PointEntry,
    /// It is the only point of its VM that is not known to be damaged.
    last_good: bool,
    /// Unfinished jobs that read it.
    read_by: Vec<drs_model::JobId>,
}

impl Removal {
    async fn plan(place: &Place, vault: &dyn Vault, id: &IdPrefix) -> Outcome<Self> {
        let (id, found) = find::readable_or_not(vault, id).await?;
        let read_by = readers(place, id).await?.iter().map(|job| job.id).collect();
        let stored = match found {
            Ok(stored) => stored,
            Err(error) => {
                let point = PointEntry::Unreadable(UnreadableView::new(id, &error));
                return Ok(Self { point, last_good: false, read_by });
            }
        };
        let source = &stored.manifest.source;
        let others = vault.list().await?.points;
        let mut good = others.iter().filter(|other| {
            other.manifest.source == *source && other.manifest.id != id && other.is_good()
        });
        let last_good = stored.is_good() && good.next().is_none();
        Ok(Self { point: PointEntry::Readable(PointView::from(&stored)), last_good, read_by })
    }

    fn id(&self) -> PointId {
        match &self.point {
            PointEntry::Readable(point) => point.id,
            PointEntry::Unreadable(point) => point.id,
        }
    }

    fn text(&self, verb: &str) -> String {
        let mut text = match &self.point {
            PointEntry::Readable(point) => format!(
                "{verb} recovery point {} of {} ({}, {}); {} come free",
                point.id,
                point.source,
                clock::local(point.consistent_at),
                point.proof(),
                units::bytes(point.stored_bytes)
            ),
            PointEntry::Unreadable(point) => format!(
                "{verb} recovery point {}; its manifest cannot be read, so of which VM it is and \
                 from when is not known: {}",
                point.id, point.damage
            ),
        };
        if self.last_good {
            text.push_str("\nwarning: it is the last good recovery point of this VM");
        }
        for job in &self.read_by {
            text.push_str(&format!("\nin the way: job {job} reads it"));
        }
        text
    }

    fn allowed(&self, last: bool) -> Outcome<()> {
        let refuse = |message: String, remedy: &str| {
            Err(Fault::permanent(FaultCode::InUse, message, remedy).into())
        };
        if let Some(job) = self.read_by.first() {
            let message = format!("recovery point {} is read by job {job}", self.id());
            return refuse(message, "Wait until that job is over, or cancel it first.");
        }
        if let PointEntry::Readable(PointView { id, source, .. }) = &self.point
            && self.last_good
            && !last
        {
            let message = format!("{id} is the last good recovery point of {source}");
            return refuse(message, "Make another backup first, or insist with `--last`.");
        }
        Ok(())
    }
}

/// Unfinished jobs that read a point.
async fn readers(place: &Place, point: PointId) -> Outcome<Vec<Job>> {
    let mut filter = JobFilter {
        phases: Phase::ALL.into_iter().filter(|phase| !phase.is_terminal()).collect(),
        limit: JobFilter::LIMIT_MAX,
        ..JobFilter::default()
    };
    let mut readers = Vec::new();
    loop {
        let page = place.backend.store.list(&filter).await?;
        filter.before = page.last().map(|job| job.id);
        let whole = page.len() == JobFilter::LIMIT_MAX;
        readers.extend(page.into_iter().filter(|job| job.spec.point() == Some(point)));
        if !whole {
            return Ok(readers);
        }
    }
}
