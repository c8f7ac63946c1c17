//! Merge patches (RFC 7396), as IoT Hub applies them to twins: null removes, lists are replaced whole.

use serde_json::{Map, Value};

/// Puts a null into `patch` for each of these names that `old` has and `patch` has not.
pub(crate) fn remove_vanished<'a>(
    old: Option<&Value>,
    patch: &mut Map<String, Value>,
    names: impl IntoIterator<Item = &'a str>,
) {
    let Some(Value::Object(old)) = old else { return };
    for name in names {
        if old.get(name).is_some_and(|value| !value.is_null()) && !patch.contains_key(name) {
            patch.insert(name.to_owned(), Value::Null);
        }
    }
}

/// Puts a null into `patch` for everything, at any depth, that `old` has and `patch` has not.
pub(crate) fn remove_all_vanished(old: Option<&Value>, patch: &mut Map<String, Value>) {
    let Some(Value::Object(fields)) = old else { return };
    for (name, value) in patch.iter_mut() {
        if let Value::Object(inner) = value {
            remove_all_vanished(fields.get(name), inner);
        }
    }
    remove_vanished(old, patch, fields.keys().map(String::as_str));
}

/// The size of a value as IoT Hub counts it: the characters of names and texts, 8 for a number, 4 for a boolean.
///
/// Bytes stand for characters here, which errs on the safe side.
pub(crate) fn hub_size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(entries) => entries.iter().map(hub_size).sum(),
        Value::Object(map) => map.iter().map(|(name, value)| name.len() + hub_size(value)).sum(),
    }
}

/// What the hub makes of a patch.
#[cfg(test)]
pub(crate) fn merged(old: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    let mut fields = old.as_object().cloned().unwrap_or_default();
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            let before = fields.get(name).cloned().unwrap_or(Value::Null);
            fields.insert(name.clone(), merged(&before, change));
        }
    }
    Value::Object(fields)
}
