//! An error on its way to the operator: what failed, why, what to try, and the exit code.

use std::fmt::Display;

use crate::exit::Exit;

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Printed as `error:`, `caused by:` and `hint:`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hint: None }
    }

    /// An error that is complete in one sentence.
    pub(crate) fn says(exit: Exit, what: impl Display) -> Self {
        Self::new(exit, anyhow::Error::msg(what.to_string()))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Exit::Failed, error)
    }
}

/// Puts an exit code, and perhaps a hint, to any error.
pub(crate) trait OrExit<T> {
    fn or_exit(self, exit: Exit) -> Result<T>;
    fn or_hint(self, exit: Exit, hint: &str) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for std::result::Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T> {
        self.map_err(|error| Failure::new(exit, error))
    }

    fn or_hint(self, exit: Exit, hint: &str) -> Result<T> {
        self.map_err(|error| Failure::new(exit, error).hint(hint))
    }
}
