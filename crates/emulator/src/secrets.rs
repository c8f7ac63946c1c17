//! Keys of the policies and the control token, kept in the state folder.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::access::Policies;
use crate::error::Error;
use crate::files::{self, Readers};
use crate::hub::Dice;

const FILE: &str = "secrets.json";

/// What must survive a restart for clients to go on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secrets {
    pub(crate) policies: Policies,
    pub(crate) control_token: String,
}

impl Secrets {
    /// Reads them from the state folder, or makes them there (or in memory).
    pub(crate) fn take(state_dir: Option<&Path>, dice: &mut Dice) -> Result<Self, Error> {
        let Some(folder) = state_dir else {
            return Ok(Self::make(dice));
        };
        let path = folder.join(FILE);
        if let Some(content) = files::read(&path).map_err(Error::read(&path))? {
            return serde_json::from_slice(&content).map_err(|e| Error::Damaged { path, reason: e.to_string() });
        }
        let made = Self::make(dice);
        let content = serde_json::to_vec_pretty(&made).unwrap_or_default();
        files::write(&path, &content, Readers::Owner).map_err(Error::write(&path))?;
        Ok(made)
    }

    fn make(dice: &mut Dice) -> Self {
        Self { policies: Policies::make(|| dice.key()), control_token: dice.token() }
    }
}
