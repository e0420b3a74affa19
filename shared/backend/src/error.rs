//! Why an adapter could not do it.

use drs_model::{Fault, FaultCode, IllegalTransition};

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
    Exists(String),
    /// There is none of that name.
    #[error("there is no {0}")]
    NotFound(String),
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
                let (code, list) = match what.split(' ').next() {
                    Some("host") => (FaultCode::HostNotFound, "drs host list"),
                    Some("schedule") => (FaultCode::ScheduleNotFound, "drs schedule list"),
                    Some("pair") => (FaultCode::PairNotFound, "drs pair list"),
                    Some("dead") => (FaultCode::JobNotFound, "drs dead list"),
                    _ => (FaultCode::JobNotFound, "drs job list"),
                };
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
            Self::Damaged { what, .. } => {
                let remedy = match what.split(' ').next() {
                    Some("dead") => {
                        "Replay it with the version of drs that wrote it, or remove it with `drs dead drop`."
                    }
                    _ => {
                        "Restore the data directory, or the data of the server, from a copy; the recovery points in the vault are not touched by this."
                    }
                };
                Fault::permanent(FaultCode::StoreFailed, text, remedy)
            }
            Self::Illegal(_) => Fault::internal(text),
        }
    }
}
