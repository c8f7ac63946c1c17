use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Where a secret is. Never the secret itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretPlace {
    /// In an environment variable of this name.
    Environment(String),
    /// In a file.
    File(PathBuf),
}

impl SecretPlace {
    /// Reads the secret; `what` it is goes into the error.
    pub fn read(&self, what: &'static str) -> Result<String, SecretMissing> {
        let missing = |why: String| self.missing(what, why);
        let text = match self {
            Self::Environment(name) => {
                std::env::var(name).map_err(|_| missing("the variable is not set".to_owned()))?
            }
            Self::File(path) => std::fs::read_to_string(path).map_err(|e| missing(e.to_string()))?,
        };
        let text = text.trim().to_owned();
        if text.is_empty() { Err(missing("it is empty".to_owned())) } else { Ok(text) }
    }

    pub(super) fn missing(&self, what: &'static str, why: String) -> SecretMissing {
        SecretMissing { what, place: self.clone(), why }
    }
}

/// A secret is not where it should be.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no {what} in {place}: {why}")]
pub struct SecretMissing {
    what: &'static str,
    place: SecretPlace,
    why: String,
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}
