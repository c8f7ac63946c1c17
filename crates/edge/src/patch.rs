//! JSON merge patches as twins use them: put together, told apart, checked.

use ha_wire::Map;
use serde_json::Value;

/// Lays `next` over `patch`, so that one patch does what both would; nulls stay.
pub(crate) fn combine(patch: &mut Map, next: Map) {
    for (name, value) in next {
        match (patch.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => combine(old, new),
            (_, value) => {
                patch.insert(name, value);
            }
        }
    }
}

/// The patch that makes `new` of `old`.
pub(crate) fn difference(old: &Map, new: &Map) -> Map {
    let mut patch = Map::new();
    for (name, value) in new {
        match (old.get(name), value) {
            (Some(before), value) if before == value => {}
            (Some(Value::Object(before)), Value::Object(after)) => {
                patch.insert(name.clone(), Value::Object(difference(before, after)));
            }
            _ => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    patch.extend(gone.map(|name| (name.clone(), Value::Null)));
    patch
}

const PATCH_BYTES_MAX: usize = 32 * 1024;
const TEXT_BYTES_MAX: usize = 4 * 1024;
const DEPTH_MAX: usize = 10;
const INTEGER_MAX: i64 = 4_503_599_627_370_495;

/// Reads a reported patch; the error says what edgeHub does not take.
pub(crate) fn read_patch(bytes: &[u8]) -> Result<Map, &'static str> {
    if bytes.len() > PATCH_BYTES_MAX {
        return Err("it is longer than 32 KB");
    }
    let patch: Map = serde_json::from_slice(bytes).map_err(|_| "it is no JSON object")?;
    check(&patch, 1)?;
    Ok(patch)
}

fn check(map: &Map, depth: usize) -> Result<(), &'static str> {
    if depth > DEPTH_MAX {
        return Err("it is deeper than 10 levels");
    }
    for (name, value) in map {
        if name.is_empty() || name.contains(|c: char| matches!(c, '.' | '$' | '#' | ' ') || c.is_control()) {
            return Err("a name holds a dot, a dollar, a hash, a space or a control character");
        }
        match value {
            Value::Object(inner) => check(inner, depth + 1)?,
            Value::String(text) if text.len() > TEXT_BYTES_MAX => return Err("a text is longer than 4 KB"),
            Value::Number(number) if number.is_u64() || number.is_i64() => {
                let fits = number.as_i64().is_some_and(|n| (-INTEGER_MAX - 1..=INTEGER_MAX).contains(&n));
                if !fits {
                    return Err("an integer is out of range");
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ha_wire::twin::merge;
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn a_combined_patch_does_what_both_do() {
        let start = map(json!({"a": {"b": 1, "c": 2}, "d": 3}));
        let first = map(json!({"a": {"b": null}, "d": {"x": 1}}));
        let second = map(json!({"a": {"e": 4}, "d": null}));
        let mut one_by_one = start.clone();
        merge(&mut one_by_one, &first);
        merge(&mut one_by_one, &second);
        let mut combined = first;
        combine(&mut combined, second);
        let mut at_once = start;
        merge(&mut at_once, &combined);
        assert_eq!(at_once, one_by_one);
    }

    #[test]
    fn a_difference_makes_the_new_of_the_old() {
        for (old, new) in [
            (json!({}), json!({"a": 1})),
            (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1}})),
            (json!({"a": 1, "b": [1]}), json!({"a": {"x": 1}, "b": [2]})),
        ] {
            let (mut old, new) = (map(old), map(new));
            let patch = difference(&old, &new);
            merge(&mut old, &patch);
            assert_eq!(old, new);
        }
        assert!(difference(&map(json!({"a": {"b": 1}})), &map(json!({"a": {"b": 1}}))).is_empty());
    }

    #[test]
    fn patches_have_limits() {
        let deep = (0..11).fold("1".to_owned(), |inner, _| format!("{{\"a\":{inner}}}"));
        for (patch, fault) in [
            ("{\"ok\": {\"a\": [1], \"b\": null}}", ""),
            ("[]", "no JSON object"),
            ("{\"a.b\": 1}", "a dot"),
            ("{\"a\": 4503599627370496}", "out of range"),
            (deep.as_str(), "10 levels"),
        ] {
            let read = read_patch(patch.as_bytes()).err().unwrap_or_default();
            assert!(read.contains(fault) && read.is_empty() == fault.is_empty(), "{patch}: {read}");
        }
        assert!(read_patch(format!("{{\"a\":\"{}\"}}", "x".repeat(5_000)).as_bytes()).is_err());
    }
}
