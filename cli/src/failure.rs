//! Why a command did not do what was asked.

use drs_backend::BackendError;
use drs_hypervisor::DriverError;
use drs_model::{Fault, FaultCode};
use drs_runtime::{ConfigError, DataDirError};
use drs_vault::VaultError;

use crate::exit::Exit;

/// A fault, its particulars, and how the process ends.
#[derive(Debug)]
pub(crate) struct Failure {
    pub fault: Fault,
    /// More lines about it, each one a part of what is wrong.
    pub details: Vec<String>,
    pub exit: Exit,
}

/// What a command returns.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// The input breaks a rule.
    pub(crate) fn invalid(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Fault::permanent(FaultCode::InvalidInput, message, remedy).into()
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { exit: Exit::of(fault.code), fault, details: Vec::new() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let details = error.mistakes().iter().map(ToString::to_string).collect();
        Self { details, ..error.fault().into() }
    }
}

macro_rules! from_classified {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                error.fault().into()
            }
        }
    )*};
}
from_classified!(BackendError, DataDirError, DriverError, VaultError);
