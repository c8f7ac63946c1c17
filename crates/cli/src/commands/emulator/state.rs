//! The emulator's state folder, and what clients take from it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::{Failure, OrExit, Result};

/// Where certificates and keys are unless said otherwise.
pub(super) fn default_folder() -> Option<PathBuf> {
    let place = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = place("XDG_STATE_HOME").or_else(|| place("HOME").map(|home| home.join(".local/state")))?;
    Some(base.join("iotedge-ha/emulator"))
}

/// The control token: from the environment, else from the state folder. Never an argument, which others can see.
pub(super) fn control_token(folder: Option<&Path>) -> Result<String> {
    if let Some(token) = std::env::var("EMULATOR_CONTROL_TOKEN").ok().filter(|token| !token.is_empty()) {
        return Ok(token);
    }
    let missing = || {
        Failure::says(Exit::Usage, "there is no control token")
            .hint("set EMULATOR_CONTROL_TOKEN, or name the emulator's folder with --state")
    };
    let path = folder.ok_or_else(missing)?.join("secrets.json");
    let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
    let content =
        content.or_hint(Exit::Usage, "set EMULATOR_CONTROL_TOKEN, or name the emulator's folder with --state")?;
    let secrets: Value = serde_json::from_slice(&content)
        .map_err(|_| Failure::says(Exit::Usage, format!("{} cannot be read as JSON", path.display())))?;
    secrets["control_token"].as_str().map(str::to_owned).ok_or_else(missing)
}
