//! Keys of the policies and the control token, kept in the state folder.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::access::{Policies, fresh_key};
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
    /// Signs bearer tokens; absent in folders of earlier versions.
    #[serde(default)]
    pub(crate) token_key: String,
}

impl Secrets {
    /// Reads them from the state folder, or makes them there (or in memory).
    pub(crate) fn take(state_dir: Option<&Path>, dice: &mut Dice) -> Result<Self, Error> {
        let Some(folder) = state_dir else {
            return Self::make(dice).complete();
        };
        let path = folder.join(FILE);
        let kept = match files::read(&path).map_err(Error::read(&path))? {
            Some(content) => serde_json::from_slice(&content)
                .map_err(|e| Error::Damaged { path: path.clone(), reason: e.to_string() })?,
            None => Self::make(dice),
        };
        if !kept.token_key.is_empty() {
            return Ok(kept);
        }
        let made = kept.complete()?;
        let content = serde_json::to_vec_pretty(&made).unwrap_or_default();
        files::write(&path, &content, Readers::Owner).map_err(Error::write(&path))?;
        Ok(made)
    }

    fn make(dice: &mut Dice) -> Self {
        let token_key = String::new();
        Self { policies: Policies::make(|| dice.key()), control_token: dice.token(), token_key }
    }

    fn complete(self) -> Result<Self, Error> {
        Ok(Self { token_key: fresh_key().map_err(Error::Option)?, ..self })
    }
}
