//! What somebody wrote: a deployment manifest, full or layered.

mod claim;
mod entries;
mod flag;
mod limits;
mod schema;
mod unique;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use self::claim::Claim;
use crate::error::{Error, Problem};
use crate::{Digest, EDGE_AGENT};

/// Desired properties by module id, without the hub's `$` fields.
pub type Sections = BTreeMap<String, Map<String, Value>>;

/// Modules that one deployment may name (Microsoft docs: IoT Hub quotas and throttling).
pub const MODULES_MAX: usize = 50;

/// Whether a manifest stands alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Says all that a device runs.
    Full,
    /// Says some keys, over a full one of lower priority.
    Layered,
}

/// A deployment manifest that keeps to the published schema and re-asserts no flag of ours.
#[derive(Clone, PartialEq, Debug)]
pub struct Manifest {
    kind: Kind,
    modules: Map<String, Value>,
    claims: Vec<Claim>,
}

impl Manifest {
    /// Reads a manifest as people and tools write it: `{"modulesContent": …}`, or that within `{"content": …}`.
    ///
    /// # Errors
    /// [`Error::NoJson`] with line and column, or [`Error::Malformed`] with everything that is wrong and where.
    pub fn read(text: &str) -> Result<Self, Error> {
        let value = unique::parse(text)?;
        let content = match value.get("content") {
            Some(content @ Value::Object(_)) => content.clone(),
            _ => value,
        };
        Self::from_content(&content)
    }

    /// Takes `{"modulesContent": …}` as a configuration in the hub has it.
    ///
    /// # Errors
    /// [`Error::Malformed`] with everything that is wrong and where.
    pub fn from_content(content: &Value) -> Result<Self, Error> {
        let Some(modules) = content.get("modulesContent").and_then(Value::as_object) else {
            return Err(Error::Malformed(vec![Problem {
                path: "/modulesContent".into(),
                reason: "expected an object with the content of each module, found none".into(),
                hint: "give a deployment manifest; a template must be built first",
            }]));
        };
        let (claims, mut problems) = claim::read(modules);
        let kind = kind(modules);
        if problems.is_empty() {
            problems = schema::check(kind, modules, &claims);
            problems.extend(entries::check(&claims));
            problems.extend(limits::check(&claims));
            problems.extend(flag::check(&claims, &[]));
            problems.extend(count(&claims));
        }
        if problems.is_empty() {
            return Ok(Self { kind, modules: modules.clone(), claims });
        }
        Err(Error::malformed(problems))
    }

    /// Refuses content that would overwrite the twins of these modules, which are agents.
    ///
    /// # Errors
    /// [`Error::Malformed`] with each such place.
    pub fn spare(&self, agents: &[&str]) -> Result<(), Error> {
        let problems = flag::check(&self.claims, agents);
        if problems.is_empty() { Ok(()) } else { Err(Error::malformed(problems)) }
    }

    /// Whether it stands alone.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The content by module, as written.
    pub fn modules_content(&self) -> &Map<String, Value> {
        &self.modules
    }

    /// Each key that it sets.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// What it asks for, in short.
    pub fn digest(&self) -> Digest {
        Digest::of(&json!(self.modules))
    }

    /// The desired properties of a member that has `base` and takes this up; what the manifest does not name stays.
    pub fn over(&self, base: &Sections) -> Sections {
        claim::settle_all(base, &self.claims)
    }
}

/// What content in the hub sets, as far as it can be read: others' deployments need not keep to any schema.
pub fn claims_of(modules: &Map<String, Value>) -> Vec<Claim> {
    claim::read(modules).0
}

/// Who never says what the whole of `$edgeAgent` is stands on another.
fn kind(modules: &Map<String, Value>) -> Kind {
    let whole = modules.get(EDGE_AGENT).is_some_and(|agent| agent.get(claim::ROOT).is_some());
    if whole { Kind::Full } else { Kind::Layered }
}

fn count(claims: &[Claim]) -> Option<Problem> {
    let named = claim::module_names(claims).len();
    (named > MODULES_MAX).then(|| Problem {
        path: "/modulesContent".into(),
        reason: format!("{named} modules, a deployment has at most {MODULES_MAX}"),
        hint: "split it into a base and layers, or merge modules",
    })
}

#[cfg(test)]
mod tests;
