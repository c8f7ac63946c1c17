//! Keys in the document: shown as asterisks, and kept where asterisks come back.

use serde_json::{Map, Value};

use super::failure::Failure;

const MASK: &str = "****";
/// Parts of connection strings that hold secrets.
const SECRET_PARTS: [&str; 3] = ["SharedAccessKey", "AccountKey", "SharedAccessSignature"];

/// Puts asterisks in place of keys.
pub(super) fn mask(document: &mut Map<String, Value>) {
    let Some(properties) = document.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for holder in holders_mut(properties) {
        for key in ["connectionString", "primaryKey", "secondaryKey"] {
            if let Some(Value::String(text)) = holder.get_mut(key) {
                *text = if key == "connectionString" { masked(text) } else { MASK.to_owned() };
            }
        }
    }
}

/// Puts back the secrets of `before` where the document has asterisks.
pub(super) fn restore(document: &mut Map<String, Value>, before: &Map<String, Value>) -> Result<(), Failure> {
    let mut before = before.clone();
    let none = || Value::Object(Map::new());
    let properties = before.entry("properties").or_insert_with(none);
    let known: Vec<Map<String, Value>> =
        properties.as_object_mut().map(|p| holders_mut(p).into_iter().map(|h| h.clone()).collect()).unwrap_or_default();
    let Some(properties) = document.get_mut("properties").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    for holder in holders_mut(properties) {
        for key in ["connectionString", "primaryKey", "secondaryKey"] {
            let Some(text) = holder.get(key).and_then(Value::as_str).filter(|text| text.contains(MASK)) else {
                continue;
            };
            let name = holder.get("name");
            let same = known.iter().filter(|other| other.get("name") == name).filter_map(|other| other.get(key));
            let mut alike = same.filter(|kept| kept.as_str().is_some_and(|kept| masked(kept) == text || text == MASK));
            let Some(kept) = alike.next().cloned() else {
                let name = name.and_then(Value::as_str).unwrap_or("the storage endpoint");
                let message = format!("{key} of '{name}' is masked, and there is none to keep; send the whole of it");
                return Err(Failure::bad_request(message));
            };
            holder.insert(key.to_owned(), kept);
        }
    }
    Ok(())
}

/// The objects that may hold secrets: routing endpoints of every kind, and storage for file uploads.
fn holders_mut(properties: &mut Map<String, Value>) -> Vec<&mut Map<String, Value>> {
    let mut holders = Vec::new();
    for (key, value) in properties {
        match key.as_str() {
            "routing" => {
                let endpoints = value.get_mut("endpoints").and_then(Value::as_object_mut);
                let lists = endpoints.into_iter().flat_map(|kinds| kinds.values_mut());
                holders.extend(lists.filter_map(Value::as_array_mut).flatten().filter_map(Value::as_object_mut));
            }
            "storageEndpoints" => {
                let named = value.as_object_mut().into_iter().flat_map(|named| named.values_mut());
                holders.extend(named.filter_map(Value::as_object_mut));
            }
            _ => {}
        }
    }
    holders
}

fn masked(connection_string: &str) -> String {
    let part = |part: &str| match part.split_once('=') {
        Some((name, _)) if SECRET_PARTS.iter().any(|secret| secret.eq_ignore_ascii_case(name.trim())) => {
            format!("{name}={MASK}")
        }
        _ => part.to_owned(),
    };
    connection_string.split(';').map(part).collect::<Vec<_>>().join(";")
}
