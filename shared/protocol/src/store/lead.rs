//! Who leads: one scheduler at a time decides what is due. Leadership saves work, nothing more: that no
//! run comes twice follows from the ids of the runs.

use drs_model::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Rows;

/// One leader's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// Who leads.
    pub leader: String,
    /// Grows with every change of the leader.
    pub number: u64,
    /// Until when, unless renewed.
    pub until: Timestamp,
}

/// What `lead` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeadAnswer {
    /// The candidate leads, in this term.
    Leading(Term),
    /// Another leads.
    Following(Term),
}

/// Makes the candidate the leader for `ttl`, or renews that, unless another leads.
///
/// # Errors
/// The adapter failed.
pub fn lead<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    candidate: &str,
    ttl: SignedDuration,
) -> Result<LeadAnswer, R::Error> {
    let latest = rows.term()?;
    let number = match &latest {
        Some(term) if term.until > now && term.leader != candidate => {
            return Ok(LeadAnswer::Following(term.clone()));
        }
        Some(term) if term.until > now => term.number,
        Some(term) => term.number + 1,
        None => 1,
    };
    let term = Term { leader: candidate.to_owned(), number, until: now + ttl };
    rows.put_term(&term)?;
    Ok(LeadAnswer::Leading(term))
}

/// Ends the candidate's term at once, if it leads.
///
/// # Errors
/// The adapter failed.
pub fn resign<R: Rows>(rows: &mut R, now: Timestamp, candidate: &str) -> Result<(), R::Error> {
    match rows.term()? {
        Some(term) if term.leader == candidate && term.until > now => {
            rows.put_term(&Term { until: now, ..term })
        }
        _ => Ok(()),
    }
}
