//! `drs dead`

use drs_backend::{BackendError, DeadLetter, DeadLetters, Named};
use drs_runtime::clock;
use serde_json::json;

use crate::args::roles::DeadCommand;
use crate::cluster;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::output::Output;
use crate::output::table::Table;
use crate::place::Place;

/// Most dead letters that are looked through for one of them.
const LOOK_MAX: usize = 10_000;

pub(super) async fn run(place: &Place, output: Output, command: DeadCommand) -> Outcome<Exit> {
    cluster::demanded(place, "drs dead")?;
    let Some(dead) = &place.backend.dead else { return Ok(Exit::Success) };
    match command {
        DeadCommand::List { limit } => {
            let letters = dead.dead(usize::from(limit)).await?;
            output.answer(&letters, || table(&letters))?;
        }
        DeadCommand::Show { id } => {
            let letter = find(dead.as_ref(), &id).await?;
            output.answer(&letter, || shown(&letter))?;
        }
        DeadCommand::Replay { id } => {
            let job = dead.replay(&id).await?;
            output.answer(&json!({"replayed": id, "job": job}), || {
                format!("{id} is in the queue again: job {job}")
            })?;
        }
        DeadCommand::Drop { id, dry_run, yes } => {
            let letter = find(dead.as_ref(), &id).await?;
            if dry_run {
                output.answer(&letter, || plan("would remove", &letter))?;
                return Ok(Exit::Success);
            }
            output.confirmed(&plan("removing", &letter), yes)?;
            dead.remove(&id).await?;
            output.answer(&letter, || format!("dead letter {id} is removed"))?;
        }
    }
    Ok(Exit::Success)
}

async fn find(dead: &dyn DeadLetters, id: &str) -> Result<DeadLetter, BackendError> {
    let letters = dead.dead(LOOK_MAX).await?;
    let found = letters.into_iter().find(|letter| letter.id == id);
    found.ok_or_else(|| BackendError::NotFound(Named::DeadLetter(id.to_owned())))
}

/// What a removal takes away.
fn plan(verb: &str, letter: &DeadLetter) -> String {
    let job = letter.job.map_or_else(String::new, |job| format!(", of job {job}, which stays"));
    format!("{verb} dead letter {}{job}; put aside since: {}", letter.id, letter.reason)
}

fn when(letter: &DeadLetter) -> String {
    letter.at.map(|at| clock::local(at).to_string()).unwrap_or_default()
}

fn table(letters: &[DeadLetter]) -> String {
    let row = |table: Table, letter: &DeadLetter| {
        let job = letter.job.map(|job| job.to_string()).unwrap_or_default();
        table.row([
            letter.id.clone(),
            when(letter),
            letter.queue.clone(),
            job,
            letter.reason.clone(),
        ])
    };
    letters.iter().fold(Table::new(["ID", "AT", "QUEUE", "JOB", "REASON"]), row).to_string()
}

fn shown(letter: &DeadLetter) -> String {
    let job = letter.job.map_or_else(|| "not told".to_owned(), |job| job.to_string());
    format!(
        "id      {}\nat      {}\nqueue   {}\njob     {job}\nreason  {}\n\n{}",
        letter.id,
        when(letter),
        letter.queue,
        letter.reason,
        letter.body
    )
}
