//! The role of a member in each of its pools, as a tag: for people, queries, target conditions and routes.

use std::collections::BTreeMap;

use ha_core::ids::{PoolName, Term};
use serde_json::{Map, Value, json};

use crate::HA;
use crate::error::Problem;
use crate::read::{Reader, number, pool, word};

const HINT: &str = "remove the key or let the controller rewrite it";

/// What a member is to a pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Holds the lease, as far as the controller knows.
    Active,
    /// May come to hold it.
    Standby,
    /// Must not hold it.
    Maintenance,
}

impl Role {
    /// The word in the tag.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Maintenance => "maintenance",
        }
    }
}

/// A member's role, and the pool's term when it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoleTag {
    /// The role.
    pub role: Role,
    /// The term.
    pub term: Term,
}

/// The roles in a device's tags.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Roles {
    /// By pool.
    pub by_pool: BTreeMap<PoolName, RoleTag>,
    /// What makes no sense, and was read as if it were absent.
    pub nonsense: Vec<Problem>,
}

/// The patch of the tags that says what a member is to a pool; `None`: it is no member any more.
pub fn role_patch(pool: &PoolName, tag: Option<RoleTag>) -> Value {
    let entry = tag.map(|tag| json!({ "role": tag.role.as_str(), "term": tag.term.0 }));
    let pools: Map<String, Value> = [(pool.as_str().to_owned(), json!(entry))].into_iter().collect();
    json!({ HA: pools })
}

/// Reads the roles in a device's or a module's tags. Never fails; see [`Roles::nonsense`].
pub fn decode_roles(tags: &Value) -> Roles {
    let Some(document) = tags.get(HA).filter(|ha| !ha.is_null()) else { return Roles::default() };
    let reader = Reader::new(HINT);
    let mut by_pool = BTreeMap::new();
    if let Some(fields) = reader.root(HA, document) {
        for name in fields.names() {
            let Ok(pool) = name.parse() else {
                fields.refuse_name(name, pool().expected());
                continue;
            };
            let Some(entry) = fields.inner(name) else { continue };
            if entry.value("role").is_none() && entry.value("term").is_none() {
                // A device that a deployment is for, before any controller has run the pool.
                continue;
            }
            let role = entry.need("role", &role());
            let term = entry.need("term", &number()).map(Term);
            if let (Some(role), Some(term)) = (role, term) {
                by_pool.insert(pool, RoleTag { role, term });
            }
        }
    }
    Roles { by_pool, nonsense: reader.into_problems() }
}

fn role() -> crate::read::Kind<Role> {
    word(&[Role::Active, Role::Standby, Role::Maintenance].map(|role| (role.as_str(), role)))
}
