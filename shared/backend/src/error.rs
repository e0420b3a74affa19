//! Why an adapter could not do it.

use std::fmt;

use drs_model::{Fault, FaultCode, HostName, IllegalTransition, JobId, PairName, ScheduleName};

/// Something that errors tell of by its name: `host dc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A host.
    Host(HostName),
    /// A pair.
    Pair(PairName),
    /// A schedule.
    Schedule(ScheduleName),
    /// A job.
    Job(JobId),
    /// A dead letter, by its id.
    DeadLetter(String),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(f, "host {name}"),
            Self::Pair(name) => write!(f, "pair {name}"),
            Self::Schedule(name) => write!(f, "schedule {name}"),
            Self::Job(id) => write!(f, "job {id}"),
            Self::DeadLetter(id) => write!(f, "dead letter {id}"),
        }
    }
}

impl Named {
    /// The code when it is not there, and the command that lists what is.
    fn missing(&self) -> (FaultCode, &'static str) {
        match self {
            Self::Host(_) => (FaultCode::HostNotFound, "drs host list"),
            Self::Pair(_) => (FaultCode::PairNotFound, "drs pair list"),
            Self::Schedule(_) => (FaultCode::ScheduleNotFound, "drs schedule list"),
            Self::Job(_) => (FaultCode::JobNotFound, "drs job list"),
            Self::DeadLetter(_) => (FaultCode::DeadLetterNotFound, "drs dead list"),
        }
    }
}

/// Why an adapter could not do it.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The server or the file cannot be used now.
    #[error("{what} cannot be used: {reason}")]
    Unavailable {
        /// Which, for example the path of the file.
        what: String,
        /// Why.
        reason: String,
    },
    /// The server is there and does not let us in: what is configured does not fit it. No waiting helps.
    #[error("{what} cannot be used: {reason}")]
    Refused {
        /// Which server.
        what: String,
        /// Why.
        reason: String,
        /// What to do about it, one sentence.
        remedy: String,
    },
    /// There is one of that name.
    #[error("{0} exists already")]
    Exists(Named),
    /// There is none of that name.
    #[error("there is no {0}")]
    NotFound(Named),
    /// Something else still refers to it.
    #[error("{what} is used by {by}")]
    InUse {
        /// What was to be removed or changed.
        what: String,
        /// Who uses it.
        by: String,
    },
    /// What is stored was written by a newer version.
    #[error(
        "{what} was written by a newer version (its format is {found}, this one knows up to {known})"
    )]
    TooNew {
        /// Which file or server.
        what: String,
        /// The format found.
        found: i64,
        /// The newest format known.
        known: i64,
    },
    /// What is stored cannot be understood.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// What.
        what: String,
        /// Why.
        reason: String,
    },
    /// A dead letter cannot be understood.
    #[error("dead letter {id} is damaged: {reason}")]
    LetterDamaged {
        /// Which.
        id: String,
        /// Why.
        reason: String,
    },
    /// A state was to change against the rules: a defect.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
}

impl From<BackendError> for Fault {
    fn from(error: BackendError) -> Self {
        error.fault()
    }
}

impl BackendError {
    /// The error in the operator's terms.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let text = self.to_string();
        match self {
            Self::Unavailable { .. } => Fault::transient(
                FaultCode::StoreFailed,
                text,
                "Check that the server runs and can be reached; of a file, its disk and its rights.",
            ),
            Self::Refused { remedy, .. } => {
                Fault::permanent(FaultCode::InvalidConfig, text, remedy)
            }
            Self::Exists(_) => Fault::permanent(
                FaultCode::AlreadyExists,
                text,
                "Choose another name, or remove it first.",
            ),
            Self::NotFound(what) => {
                let (code, list) = what.missing();
                Fault::permanent(code, text, format!("See what there is with `{list}`."))
            }
            Self::InUse { .. } => {
                Fault::permanent(FaultCode::InUse, text, "Remove or end that first.")
            }
            Self::TooNew { .. } => Fault::permanent(
                FaultCode::DataTooNew,
                text,
                "Use the version of drs that wrote it, or a newer one; nothing was changed.",
            ),
            Self::Damaged { .. } => Fault::permanent(
                FaultCode::StoreFailed,
                text,
                "Restore the data directory, or the data of the server, from a copy; the recovery points in the vault are not touched by this.",
            ),
            Self::LetterDamaged { .. } => Fault::permanent(
                FaultCode::StoreFailed,
                text,
                "Replay it with the version of drs that wrote it, or remove it with `drs dead drop`.",
            ),
            Self::Illegal(_) => Fault::internal(text),
        }
    }
}
