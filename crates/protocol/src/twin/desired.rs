//! What the controller writes into an agent's module twin.

use ha_core::holder::Flag;
use ha_core::ids::{PoolName, Term};
use serde_json::{Map, Value, json};

use crate::error::{Error, Problem};
use crate::key::{KeyRing, MemberKey};
use crate::merge::{hub_size, remove_all_vanished};
use crate::read::{Fields, Kind, Reader, flag, number, pool, version};
use crate::{HA, VERSION};

const HINT: &str = "remove the key or let the controller rewrite it";

/// The most that the settings may take in the twin.
pub const SETTINGS_SIZE_MAX: usize = 8 * 1_024;

/// What the desired section of an agent's twin says.
///
/// Each part is read on its own: a nonsensical flag does not hide a good key.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Desired {
    /// The pool that the agent serves.
    pub pool: Option<PoolName>,
    /// The flag. It can close the gate, never open it.
    pub flag: Option<Flag>,
    /// The keys that the agent takes.
    pub keys: KeyRing,
    /// Settings, for the agent to read as it reads its file.
    pub settings: Map<String, Value>,
    /// What makes no sense, and was read as if it were absent.
    pub nonsense: Vec<Problem>,
}

/// Mirrors the flag.
pub fn flag_patch(pool: &PoolName, flag: Flag) -> Value {
    json!({ HA: { "v": VERSION, "pool": pool.as_str(), "active": flag.active, "term": flag.term.0 } })
}

/// Installs the key and the settings. `old` is the desired section as it is: settings that are in it
/// and not in `settings` are removed.
pub fn install_patch(
    old: &Value,
    pool: &PoolName,
    key: &MemberKey,
    settings: &Map<String, Value>,
) -> Result<Value, Error> {
    let mut settings = settings.clone();
    let size: usize = settings.iter().map(|(name, value)| name.len() + hub_size(value)).sum();
    if size > SETTINGS_SIZE_MAX {
        return Err(Error::TooLarge { what: "the agent's settings", size, max: SETTINGS_SIZE_MAX });
    }
    remove_all_vanished(old.get(HA).and_then(|ha| ha.get("settings")), &mut settings);
    Ok(json!({ HA: { "v": VERSION, "pool": pool.as_str(), "key": key.to_base64(), "settings": settings } }))
}

/// Reads the desired section of an agent's twin. Never fails; see [`Desired::nonsense`].
pub fn decode_desired(desired: &Value) -> Desired {
    let Some(document) = desired.get(HA).filter(|ha| !ha.is_null()) else { return Desired::default() };
    let reader = Reader::new(HINT);
    let mut read = reader.root(HA, document).map(|fields| parts(&fields)).unwrap_or_default();
    read.nonsense = reader.into_problems();
    read
}

fn parts(fields: &Fields<'_>) -> Desired {
    fields.take("v", &version());
    Desired {
        pool: fields.take("pool", &pool()),
        flag: read_flag(fields),
        keys: KeyRing {
            current: fields.take("key", &key()),
            next: fields.take("next_key", &key()),
            previous: fields.take("previous_key", &key()),
        },
        settings: fields.take("settings", &settings()).unwrap_or_default(),
        nonsense: Vec::new(),
    }
}

/// Both halves or none: a flag without a term cannot be told from an old one.
fn read_flag(fields: &Fields<'_>) -> Option<Flag> {
    if fields.value("active").is_none() && fields.value("term").is_none() {
        return None;
    }
    let active = fields.need("active", &flag());
    let term = fields.need("term", &number()).map(Term);
    Some(Flag { active: active?, term: term? })
}

fn key() -> Kind<MemberKey> {
    Kind::of_text("a key of 32 bytes in base64", |t| t.parse().ok()).secret()
}

fn settings() -> Kind<Map<String, Value>> {
    Kind::of_object(format!("an object of at most {SETTINGS_SIZE_MAX} bytes"), |map| {
        let size: usize = map.iter().map(|(name, value)| name.len() + hub_size(value)).sum();
        (size <= SETTINGS_SIZE_MAX).then(|| map.clone())
    })
}
