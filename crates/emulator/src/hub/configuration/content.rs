//! What a configuration asks for, read from its JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::limits;
use super::super::refusal::{Code, Refusal};

/// Modules that one deployment may name.
const MODULES_MAX: usize = 50;
const AGENT: &str = "$edgeAgent";
const ROOT: &str = "properties.desired";

/// One place of a twin's desired properties and what must stand there. No path means the whole section.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::hub) struct Claim {
    path: Vec<String>,
    value: Value,
}

/// The content of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::hub) enum Content {
    /// For device twins.
    Device(Vec<Claim>),
    /// For module twins.
    Module(Vec<Claim>),
    /// For the modules of an edge device, by module.
    Edge(BTreeMap<String, Vec<Claim>>),
}

impl Content {
    /// Reads `content`, which holds exactly one of its three kinds.
    pub(in crate::hub) fn read(content: &Map<String, Value>) -> Result<Self, Refusal> {
        let kinds = ["deviceContent", "moduleContent", "modulesContent"];
        let present: Vec<(&str, &Value)> = kinds
            .into_iter()
            .filter_map(|name| Some((name, content.get(name)?)))
            .filter(|(_, value)| !value.is_null())
            .collect();
        let [(kind, value)] = present[..] else {
            return Err(bad("content holds exactly one of deviceContent, moduleContent, modulesContent"));
        };
        match kind {
            "deviceContent" => Ok(Self::Device(claims(kind, value)?)),
            "moduleContent" => Ok(Self::Module(claims(kind, value)?)),
            _ => Ok(Self::Edge(edge(value)?)),
        }
    }

    /// Whether it stands on another deployment instead of alone: it never says what the whole of `$edgeAgent` is.
    pub(in crate::hub) fn is_layer(&self) -> bool {
        match self {
            Self::Edge(modules) => modules.get(AGENT).is_none_or(|claims| !claims.iter().any(Claim::is_whole)),
            Self::Device(_) | Self::Module(_) => false,
        }
    }
}

/// Reads `modulesContent`: `$edgeAgent` is a must, as are keys `properties.desired` or `properties.desired.a.b` throughout.
pub(in crate::hub) fn edge(modules: &Value) -> Result<BTreeMap<String, Vec<Claim>>, Refusal> {
    let modules = modules.as_object().ok_or_else(|| bad("modulesContent must be an object"))?;
    let read = |(name, sections): (&String, &Value)| {
        super::super::registry::check_device_id(name).map_err(|refusal| bad(&refusal.text))?;
        Ok((name.clone(), claims(name, sections)?))
    };
    let modules: BTreeMap<String, Vec<Claim>> = modules.iter().map(read).collect::<Result<_, Refusal>>()?;
    if !modules.contains_key(AGENT) {
        return Err(bad("modulesContent must have $edgeAgent"));
    }
    let named = module_names(&modules).len();
    if named > MODULES_MAX {
        return Err(bad(&format!("a deployment has at most {MODULES_MAX} modules, this one has {named}")));
    }
    Ok(modules)
}

/// The modules besides the runtime's own: those that `$edgeAgent` is to run, and those with a section of their own.
pub(in crate::hub) fn module_names(modules: &BTreeMap<String, Vec<Claim>>) -> Vec<String> {
    let agent = settle(&Map::new(), modules.get(AGENT).map_or(&[], Vec::as_slice));
    let run = agent.get("modules").and_then(Value::as_object);
    let mut names: Vec<String> = run.into_iter().flat_map(Map::keys).chain(modules.keys()).cloned().collect();
    names.retain(|name| !name.starts_with('$'));
    names.sort();
    names.dedup();
    names
}

/// The section as the claims want it, later ones over earlier ones; what no claim names stays.
pub(in crate::hub) fn settle(current: &Map<String, Value>, claims: &[Claim]) -> Map<String, Value> {
    let mut section = current.clone();
    for claim in claims {
        claim.settle(&mut section);
    }
    section
}

impl Claim {
    /// Whether it is about all desired properties.
    pub(in crate::hub) fn is_whole(&self) -> bool {
        self.path.is_empty()
    }

    /// Whether nothing of the other claim is left once this one has been settled after it.
    pub(in crate::hub) fn covers(&self, other: &Self) -> bool {
        other.path.starts_with(&self.path)
    }

    #[cfg(test)]
    pub(in crate::hub) fn parts(&self) -> (&[String], &Value) {
        (&self.path, &self.value)
    }

    fn settle(&self, section: &mut Map<String, Value>) {
        let Some((last, parents)) = self.path.split_last() else {
            *section = without_nulls(&self.value);
            return;
        };
        let mut at = section;
        for name in parents {
            if self.value.is_null() && !at.get(name).is_some_and(Value::is_object) {
                return;
            }
            at = object_at(at, name);
        }
        match &self.value {
            Value::Null => {
                at.shift_remove(last);
            }
            Value::Object(_) => {
                at.insert(last.clone(), Value::Object(without_nulls(&self.value)));
            }
            other => {
                at.insert(last.clone(), other.clone());
            }
        }
    }
}

fn claims(place: &str, sections: &Value) -> Result<Vec<Claim>, Refusal> {
    let sections = sections.as_object().ok_or_else(|| bad(&format!("'{place}' must be an object")))?;
    sections.iter().map(|(key, value)| claim(place, key, value)).collect()
}

fn claim(place: &str, key: &str, value: &Value) -> Result<Claim, Refusal> {
    let odd = || bad(&format!("'{place}' has the key '{key}': keys are {ROOT} or {ROOT}.name"));
    let rest = key.strip_prefix(ROOT).ok_or_else(odd)?;
    let path: Vec<String> = match rest.strip_prefix('.') {
        Some(path) => path.split('.').map(str::to_owned).collect(),
        None if rest.is_empty() => Vec::new(),
        None => return Err(odd()),
    };
    let wrapped = path.iter().rev().fold(value.clone(), |inner, name| json!({ name: inner }));
    let Value::Object(section) = wrapped else {
        return Err(bad(&format!("'{place}': {ROOT} must be an object")));
    };
    limits::check_patch(&section).map_err(|violation| bad(&format!("'{place}': {violation}")))?;
    limits::check_size(&section, limits::PROPERTIES_CHARS_MAX)
        .map_err(|violation| bad(&format!("'{place}': {violation}")))?;
    Ok(Claim { path, value: value.clone() })
}

fn without_nulls(value: &Value) -> Map<String, Value> {
    let mut clean = Map::new();
    if let Value::Object(object) = value {
        ha_wire::twin::merge(&mut clean, object);
    }
    clean
}

fn object_at<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = map.entry(key).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = json!({});
    }
    match slot {
        Value::Object(inner) => inner,
        _ => unreachable!("made an object above"),
    }
}

fn bad(text: &str) -> Refusal {
    Refusal::new(Code::InvalidConfigurationContent, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: Value) -> Result<Content, String> {
        let Value::Object(content) = content else { panic!("an object") };
        Content::read(&content).map_err(|refusal| refusal.text)
    }

    fn settled(current: Value, sections: Value) -> Value {
        let Value::Object(current) = current else { panic!("an object") };
        Value::Object(settle(&current, &claims("m", &sections).expect("claims")))
    }

    #[test]
    fn claims_replace_what_they_name_and_leave_the_rest() {
        for (current, sections, out) in [
            (json!({"a": 1}), json!({"properties.desired": {"b": {"c": null, "d": 2}}}), json!({"b": {"d": 2}})),
            (json!({"a": 1}), json!({"properties.desired.b.c": 2}), json!({"a": 1, "b": {"c": 2}})),
            (json!({"a": {"x": 1}}), json!({"properties.desired.a": {"y": 2}}), json!({"a": {"y": 2}})),
            (json!({"a": 1}), json!({"properties.desired.a.b": 2}), json!({"a": {"b": 2}})),
            (json!({"a": {"x": 1, "y": 2}}), json!({"properties.desired.a.x": null}), json!({"a": {"y": 2}})),
            (json!({"a": 1}), json!({"properties.desired.b.c": null}), json!({"a": 1})),
            (json!({}), json!({"properties.desired.a": [1, {"b": 2}]}), json!({"a": [1, {"b": 2}]})),
        ] {
            assert_eq!(settled(current.clone(), sections.clone()), out, "{current} {sections}");
            assert_eq!(settled(out.clone(), sections.clone()), out, "again: {sections}");
        }
    }

    #[test]
    fn nonsense_is_refused_by_place() {
        let agent = json!({"properties.desired": {}});
        for (content, text) in [
            (json!({}), "exactly one"),
            (json!({"deviceContent": {}, "moduleContent": {}}), "exactly one"),
            (json!({"modulesContent": {}}), "must have $edgeAgent"),
            (json!({"modulesContent": []}), "must be an object"),
            (json!({"modulesContent": {"$edgeAgent": agent, "m m": {}}}), "m m"),
            (json!({"modulesContent": {"$edgeAgent": agent, "m": 3}}), "'m' must be an object"),
            (json!({"deviceContent": {"properties.desired": 3}}), "must be an object"),
            (json!({"deviceContent": {"properties.desiredx": 3}}), "has the key"),
            (json!({"deviceContent": {"properties.reported.x": 3}}), "has the key"),
            (json!({"deviceContent": {"properties.desired.a..b": 3}}), "is not allowed"),
            (json!({"deviceContent": {"properties.desired.a": "x".repeat(5000)}}), "longer than"),
        ] {
            let reason = read(content.clone()).expect_err("refused");
            assert!(reason.contains(text), "{reason}: {content}");
        }
        let many: Map<String, Value> = (0..51).map(|n| (format!("m{n}"), json!({}))).collect();
        let reason = read(json!({"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": many}}}}));
        assert!(reason.expect_err("refused").contains("at most 50 modules, this one has 51"));
    }

    #[test]
    fn a_layer_never_says_what_the_whole_agent_is() {
        let edge = |sections: Value| read(json!({"modulesContent": {"$edgeAgent": sections}})).expect("content");
        assert!(!edge(json!({"properties.desired": {}})).is_layer());
        assert!(edge(json!({"properties.desired.modules.m": {}})).is_layer());
        assert!(edge(json!({})).is_layer());
        assert!(!read(json!({"deviceContent": {"properties.desired.a": 1}})).expect("content").is_layer());
    }
}
