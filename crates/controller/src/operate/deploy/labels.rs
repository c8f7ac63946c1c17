//! What a release says of itself, as labels: they are all of a configuration that may change without a device noticing.

use ha_deployment::Manifest;
use ha_wire::Map;
use ha_wire::configuration::Configuration;
use serde_json::Value;

const POOL: &str = "ha_pool";
const CONTENT: &str = "ha_content";
const PHASE: &str = "ha_phase";
const BEFORE: &str = "ha_before";

/// How far a roll-out is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Going from member to member.
    Rolling,
    /// Stopped at a member that is not well.
    Stopped,
    /// Every member has it.
    Done,
    /// Members are being taken back to it.
    RollingBack,
    /// Every member has been taken back to it.
    RolledBack,
}

impl Phase {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Rolling, "rolling"),
        (Self::Stopped, "stopped"),
        (Self::Done, "done"),
        (Self::RollingBack, "rolling_back"),
        (Self::RolledBack, "rolled_back"),
    ];

    fn as_str(&self) -> &'static str {
        Self::ALL.iter().find(|(phase, _)| phase == self).map_or("rolling", |(_, word)| word)
    }
}

/// The labels of a release that is to be made.
pub(super) fn new(pool: &str, manifest: &Manifest) -> Map {
    let labels = [(POOL, pool.to_owned()), (CONTENT, manifest.digest().to_string())];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
}

/// Notes how far it is, and what the members had before.
pub(super) fn note(configuration: &mut Configuration, phase: &Phase, before: Option<&str>) {
    let labels = configuration.labels.get_or_insert_with(Map::new);
    labels.insert(PHASE.to_owned(), phase.as_str().into());
    if let Some(before) = before {
        labels.insert(BEFORE.to_owned(), before.into());
    }
}

/// How far it is, if it was rolled out.
pub(super) fn phase(configuration: &Configuration) -> Option<Phase> {
    let word = text(configuration, PHASE)?;
    Phase::ALL.into_iter().find(|(_, known)| *known == word).map(|(phase, _)| phase)
}

/// What the members had before it.
pub(super) fn before(configuration: &Configuration) -> Option<&str> {
    text(configuration, BEFORE)
}

fn text<'a>(configuration: &'a Configuration, key: &str) -> Option<&'a str> {
    configuration.labels.as_ref()?.get(key).and_then(Value::as_str)
}
