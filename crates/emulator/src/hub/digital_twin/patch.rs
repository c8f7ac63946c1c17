//! JSON Patch (RFC 6902), as far as digital twins take it, made into a merge of desired properties.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{MARKER, is_component};
use crate::hub::Refusal;

const OPERATIONS_MAX: usize = 100;
/// How deep the value of a property may be.
const DEPTH_MAX: usize = 5;
const NAME_CHARS_MAX: usize = 64;

/// What to merge into `current`, the desired properties, to carry out all operations; empty where they change nothing.
pub(super) fn desired(
    operations: &Value,
    current: &Map<String, Value>,
    reported: &Map<String, Value>,
) -> Result<Map<String, Value>, Refusal> {
    let Some(operations) = operations.as_array().filter(|operations| operations.len() <= OPERATIONS_MAX) else {
        let text = format!("a JSON Patch is expected: an array of at most {OPERATIONS_MAX} operations");
        return Err(Refusal::argument(text));
    };
    let mut draft = Draft { next: current.clone(), reported, touched: BTreeSet::new() };
    for (index, operation) in operations.iter().enumerate() {
        let carried_out = Operation::read(operation).and_then(|operation| draft.carry_out(operation));
        carried_out.map_err(|reason| Refusal::argument(format!("operation {index}: {reason}")))?;
    }
    Ok(draft.merge_patch(current))
}

/// One operation. `add` and `replace` are the same: a device without values yet has nothing that could be replaced.
enum Operation<'a> {
    Set(Target, &'a Value),
    Remove(Target),
}

/// A property or component of the root, or a property of a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    name: String,
    property: Option<String>,
}

impl<'a> Operation<'a> {
    fn read(operation: &'a Value) -> Result<Self, String> {
        let text = |field: &str| operation[field].as_str().ok_or_else(|| format!("'{field}' must be a string"));
        let target = Target::read(text("path")?)?;
        match text("op")? {
            "add" | "replace" => {
                let value = operation.get("value").filter(|value| !value.is_null());
                Ok(Self::Set(target, value.ok_or("'value' is missing or null; 'remove' takes a value away")?))
            }
            "remove" => Ok(Self::Remove(target)),
            _ => Err("'op' must be add, replace or remove".into()),
        }
    }
}

impl Target {
    /// Reads a JSON Pointer; names have nothing in them that would be escaped.
    fn read(path: &str) -> Result<Self, String> {
        let rest = path.strip_prefix('/').ok_or("'path' must start with '/'")?;
        let mut names = rest.split('/');
        let name = names.next().unwrap_or_default();
        let property = names.next();
        if names.next().is_some() {
            return Err("'path' must name a property, a component, or a property of a component".into());
        }
        for name in [Some(name), property].into_iter().flatten() {
            check_name(name)?;
        }
        Ok(Self { name: name.into(), property: property.map(str::to_owned) })
    }
}

/// Desired properties while operations are carried out.
struct Draft<'a> {
    next: Map<String, Value>,
    reported: &'a Map<String, Value>,
    touched: BTreeSet<Target>,
}

impl Draft<'_> {
    fn carry_out(&mut self, operation: Operation<'_>) -> Result<(), String> {
        match operation {
            Operation::Set(target, value) => self.set(target, value),
            Operation::Remove(target) => self.remove(target),
        }
    }

    fn set(&mut self, target: Target, value: &Value) -> Result<(), String> {
        let component = target.property.is_none() && value.get("$metadata").is_some();
        self.check_kind(&target.name, component || target.property.is_some())?;
        match &target.property {
            Some(property) => {
                check_value(value, 1)?;
                let slot = self.next.entry(&target.name).or_insert_with(|| json!({ MARKER: "c" }));
                slot[property] = value.clone();
            }
            None if component => _ = self.next.insert(target.name.clone(), new_component(value)?),
            None => {
                check_value(value, 1)?;
                self.next.insert(target.name.clone(), value.clone());
            }
        }
        self.touched.insert(target);
        Ok(())
    }

    /// What is not there is as good as removed.
    fn remove(&mut self, target: Target) -> Result<(), String> {
        let gone = match &target.property {
            None => self.next.shift_remove(&target.name),
            Some(property) => {
                self.check_kind(&target.name, true)?;
                let component = self.next.get_mut(&target.name).and_then(Value::as_object_mut);
                component.and_then(|component| component.shift_remove(property))
            }
        };
        if gone.is_some() {
            self.touched.insert(target);
        }
        Ok(())
    }

    /// What is a property on either side cannot be written as a component, nor the other way round.
    fn check_kind(&self, name: &str, component: bool) -> Result<(), String> {
        let known = [self.next.get(name), self.reported.get(name)];
        if known.into_iter().flatten().all(|value| is_component(value) == component) {
            return Ok(());
        }
        Err(format!(
            "'{name}' exists within the device twin and is not digital twin conformant property. Please refer to \
             aka.ms/dtpatch to update this to be conformant."
        ))
    }

    /// Writes what was touched, and nothing else: what was not keeps its version.
    fn merge_patch(&self, current: &Map<String, Value>) -> Map<String, Value> {
        let mut patch = Map::new();
        // Whole components come before their properties.
        for Target { name, property } in &self.touched {
            let (old, new) = (current.get(name), self.next.get(name));
            match (property, new) {
                (Some(property), Some(new)) if is_component(new) => {
                    let value = overlay(old.and_then(|old| old.get(property)), new.get(property));
                    let slot = patch.entry(name).or_insert_with(|| json!({ MARKER: "c" }));
                    slot[property] = value;
                }
                // Removed or made a property since, which the target without a property tells.
                (Some(_), _) => {}
                (None, new) => _ = patch.insert(name.clone(), overlay(old, new)),
            }
        }
        patch
    }
}

/// What merged into `old` makes `new` of it, with every field of `new` written anew.
fn overlay(old: Option<&Value>, new: Option<&Value>) -> Value {
    match (old, new) {
        (_, None) => Value::Null,
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let written = new.iter().map(|(key, value)| (key.clone(), overlay(old.get(key), Some(value))));
            Value::Object(gone.chain(written).collect())
        }
        (_, Some(new)) => new.clone(),
    }
}

fn new_component(value: &Value) -> Result<Value, String> {
    if value["$metadata"] != json!({}) {
        return Err("the '$metadata' of a component must be an empty object".into());
    }
    let mut component = json!({ MARKER: "c" });
    let properties = value.as_object().into_iter().flatten().filter(|(name, _)| *name != "$metadata");
    for (name, value) in properties {
        check_name(name)?;
        check_value(value, 1)?;
        component[name] = value.clone();
    }
    Ok(component)
}

fn check_value(value: &Value, depth: usize) -> Result<(), String> {
    match value {
        Value::Null => Err("null is no value of a property".into()),
        Value::Array(_) => Err("arrays are no values of properties".into()),
        Value::Object(_) if depth > DEPTH_MAX => Err(format!("objects are nested deeper than {DEPTH_MAX}")),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            check_name(name)?;
            check_value(value, depth + 1)
        }),
        _ => Ok(()),
    }
}

/// A name as DTDL has it.
fn check_name(name: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = name.len() <= NAME_CHARS_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(inner)
        && !name.ends_with('_');
    if good {
        return Ok(());
    }
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    Err(format!(
        "'{name}' is no name: 1 to {NAME_CHARS_MAX} letters, digits and underscores, a letter first, no underscore last"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ha_wire::twin::merge;

    fn current() -> Value {
        json!({"on": true, "deep": {"a": 1, "b": {"c": 2}}, "led": {"__t": "c", "color": "red", "timer": 5}, "old": {"x": 1}})
    }

    fn run(operations: &Value) -> Result<Map<String, Value>, Refusal> {
        let reported = json!({"serial": "s", "fan": {"__t": "c", "speed": 1}});
        let (current, reported) = (current(), reported);
        desired(operations, current.as_object().expect("an object"), reported.as_object().expect("an object"))
    }

    #[test]
    fn operations_by_table() {
        let op = |op: &str, path: &str, value: Value| json!({"op": op, "path": path, "value": value});
        for (operations, patch) in [
            (json!([]), json!({})),
            (json!([op("add", "/on", json!(false))]), json!({"on": false})),
            // The same value again is a write.
            (json!([op("replace", "/on", json!(true))]), json!({"on": true})),
            (json!([op("add", "/new", json!({"a": {"b": 1}}))]), json!({"new": {"a": {"b": 1}}})),
            (
                json!([op("add", "/deep", json!({"b": {"d": 3}}))]),
                json!({"deep": {"a": null, "b": {"c": null, "d": 3}}}),
            ),
            (json!([op("add", "/deep", json!(1))]), json!({"deep": 1})),
            (json!([{"op": "remove", "path": "/on"}]), json!({"on": null})),
            (json!([{"op": "remove", "path": "/nothing"}]), json!({})),
            (json!([op("replace", "/led/color", json!("blue"))]), json!({"led": {"__t": "c", "color": "blue"}})),
            (json!([{"op": "remove", "path": "/led/timer"}]), json!({"led": {"__t": "c", "timer": null}})),
            (json!([{"op": "remove", "path": "/led/nothing"}]), json!({})),
            (json!([{"op": "remove", "path": "/led"}]), json!({"led": null})),
            (json!([op("add", "/fan/speed", json!(9))]), json!({"fan": {"__t": "c", "speed": 9}})),
            (
                json!([op("replace", "/led", json!({"color": "blue", "$metadata": {}}))]),
                json!({"led": {"__t": "c", "color": "blue", "timer": null}}),
            ),
            // The last word counts, whatever came before.
            (json!([op("add", "/led/mood", json!(1)), {"op": "remove", "path": "/led"}]), json!({"led": null})),
            (
                json!([{"op": "remove", "path": "/led"}, op("add", "/led/mood", json!(1))]),
                json!({"led": {"__t": "c", "color": null, "timer": null, "mood": 1}}),
            ),
            (json!([op("add", "/n", json!(1)), {"op": "remove", "path": "/n"}]), json!({"n": null})),
            (
                json!([op("add", "/led/mood", json!(1)), {"op": "remove", "path": "/led"}, op("add", "/led", json!(5))]),
                json!({"led": 5}),
            ),
            // A property becomes a component in two steps.
            (
                json!([{"op": "remove", "path": "/old"}, op("add", "/old", json!({"y": 1, "$metadata": {}}))]),
                json!({"old": {"__t": "c", "x": null, "y": 1}}),
            ),
        ] {
            let found = run(&operations).expect("a patch");
            assert_eq!(Value::Object(found.clone()), patch, "{operations}");
            let mut once = current().as_object().expect("an object").clone();
            merge(&mut once, &found);
            assert!(once.values().all(|value| !value.is_null()), "{operations}");
        }
    }

    #[test]
    fn refusals_by_table() {
        let set = |path: &str, value: Value| json!([{"op": "add", "path": path, "value": value}]);
        for (operations, reason) in [
            (json!({}), "an array"),
            (json!(vec![json!({"op": "remove", "path": "/a"}); 101]), "at most 100"),
            (json!([1]), "operation 0: 'path' must be a string"),
            (json!([{"op": "remove", "path": "/a"}, {"op": "test", "path": "/a", "value": 1}]), "operation 1: 'op'"),
            (json!([{"op": "add", "path": "/a"}]), "'value' is missing"),
            (set("/a", Value::Null), "'value' is missing or null"),
            (set("a", json!(1)), "start with '/'"),
            (set("/", json!(1)), "is no name"),
            (set("/a/b/c", json!(1)), "a property of a component"),
            (set("/__t", json!("c")), "is no name"),
            (set("/$model", json!("c")), "is no name"),
            (set("/a_", json!(1)), "is no name"),
            (set("/1a", json!(1)), "is no name"),
            (set(&format!("/{}", "a".repeat(65)), json!(1)), "is no name"),
            (set("/a", json!([1])), "arrays"),
            (set("/a", json!({"b": null})), "null"),
            (set("/a", json!({"b.c": 1})), "is no name"),
            (set("/a", json!({"a": {"a": {"a": {"a": {"a": {}}}}}})), "deeper than 5"),
            (set("/a", json!({"$metadata": {"x": 1}})), "empty object"),
            (set("/a", json!({"$metadata": {}, "__t": "c"})), "is no name"),
            // Properties are no components, and components no properties.
            (set("/on/x", json!(1)), "'on' exists within the device twin"),
            (set("/serial/x", json!(1)), "'serial' exists within the device twin"),
            (set("/on", json!({"$metadata": {}})), "'on' exists within the device twin"),
            (set("/led", json!({"color": "blue"})), "'led' exists within the device twin"),
            (set("/fan", json!(1)), "'fan' exists within the device twin"),
            (json!([{"op": "remove", "path": "/deep/a"}]), "'deep' exists within the device twin"),
        ] {
            let refusal = run(&operations).expect_err("a refusal");
            assert!(refusal.text.contains(reason), "{operations}: {}", refusal.text);
        }
    }
}
