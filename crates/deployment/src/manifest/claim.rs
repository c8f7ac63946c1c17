//! One key that a manifest sets.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Sections;
use crate::EDGE_AGENT;
use crate::error::Problem;

/// The key of a module's whole section; with a dot and a path behind it, the key of a part.
pub(crate) const ROOT: &str = "properties.desired";

const KEYS_HINT: &str = "a module's content has the key properties.desired, in a layer also properties.desired.PATH";

/// One place of a module's desired properties and what must stand there.
#[derive(Clone, PartialEq, Debug)]
pub struct Claim {
    /// The module.
    pub module: String,
    /// Where within its desired properties; empty: all of them.
    pub path: Vec<String>,
    /// What stands there.
    pub value: Value,
}

impl Claim {
    /// Whether it replaces all of the module's desired properties.
    pub fn is_whole(&self) -> bool {
        self.path.is_empty()
    }

    /// Whether it says something about `path`: it sets that, something within it, or something around it.
    pub fn touches(&self, module: &str, path: &[&str]) -> bool {
        self.module == module && self.path.iter().zip(path).all(|(mine, theirs)| mine == theirs)
    }

    /// The place in the manifest, as a JSON pointer.
    pub fn pointer(&self) -> String {
        pointer(&["modulesContent", &self.module, &self.key()])
    }

    /// Puts the value where it belongs.
    pub(crate) fn settle(&self, section: &mut Map<String, Value>) {
        let Some((last, parents)) = self.path.split_last() else {
            *section = self.value.as_object().cloned().unwrap_or_default();
            return;
        };
        let mut at = section;
        for name in parents {
            let slot = at.entry(name.clone()).or_insert_with(|| json!({}));
            if !slot.is_object() {
                *slot = json!({});
            }
            let Value::Object(inner) = slot else { return };
            at = inner;
        }
        match &self.value {
            Value::Null => drop(at.shift_remove(last)),
            value => drop(at.insert(last.clone(), value.clone())),
        }
    }

    fn key(&self) -> String {
        let parts = std::iter::once(ROOT).chain(self.path.iter().map(String::as_str));
        parts.collect::<Vec<_>>().join(".")
    }
}

/// Every claim of a `modulesContent`, and what is no claim.
pub(super) fn read(modules: &Map<String, Value>) -> (Vec<Claim>, Vec<Problem>) {
    let (mut claims, mut problems) = (Vec::new(), Vec::new());
    for (module, sections) in modules {
        let Some(sections) = sections.as_object() else {
            problems.push(bad(&["modulesContent", module], "expected an object".into()));
            continue;
        };
        for (key, value) in sections {
            match path(key) {
                Some(path) if path.is_empty() && !value.is_object() => {
                    problems.push(bad(&["modulesContent", module, key], "expected an object".into()));
                }
                Some(path) => claims.push(Claim { module: module.clone(), path, value: value.clone() }),
                None => problems.push(bad(&["modulesContent", module, key], "no such key".into())),
            }
        }
    }
    (claims, problems)
}

/// The modules besides the runtime's own: those that `$edgeAgent` is to run, and those with a section of their own.
pub(super) fn module_names(claims: &[Claim]) -> BTreeSet<String> {
    let mut agent = Map::new();
    for claim in claims.iter().filter(|claim| claim.module == EDGE_AGENT) {
        claim.settle(&mut agent);
    }
    let run = agent.get("modules").and_then(Value::as_object);
    let mut names: BTreeSet<String> = run.into_iter().flat_map(Map::keys).cloned().collect();
    names.extend(claims.iter().map(|claim| claim.module.clone()));
    names.retain(|name| !name.starts_with('$'));
    names
}

/// The sections as the claims want them, later ones over earlier ones; what no claim names stays.
pub(crate) fn settle_all(base: &Sections, claims: &[Claim]) -> Sections {
    let mut sections = base.clone();
    for claim in claims {
        claim.settle(sections.entry(claim.module.clone()).or_default());
    }
    sections
}

/// Where in the manifest the place `path` of the settled content was written.
pub(super) fn pointer_of(path: &[String], claims: &[Claim]) -> String {
    let [content, module, root, inner @ ..] = path else {
        return pointer(&path.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let wrote = claims.iter().filter(|claim| &claim.module == module && inner.starts_with(&claim.path));
    let (key, rest) = match wrote.max_by_key(|claim| claim.path.len()) {
        Some(claim) => (claim.key(), &inner[claim.path.len()..]),
        None => (root.clone(), inner),
    };
    let head = [content.as_str(), module, &key];
    pointer(&head.into_iter().chain(rest.iter().map(String::as_str)).collect::<Vec<_>>())
}

/// A JSON pointer (RFC 6901).
pub(super) fn pointer(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
}

fn path(key: &str) -> Option<Vec<String>> {
    let rest = key.strip_prefix(ROOT)?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let path: Vec<String> = rest.strip_prefix('.')?.split('.').map(str::to_owned).collect();
    path.iter().all(|name| !name.is_empty()).then_some(path)
}

fn bad(keys: &[&str], reason: String) -> Problem {
    Problem { path: pointer(keys), reason, hint: KEYS_HINT }
}
