//! What a twin may hold: sizes, depth, keys, integers.

use serde_json::{Map, Value};

/// Tags: characters of keys and values.
pub(super) const TAGS_CHARS_MAX: usize = 8 * 1024;
/// Desired and reported properties each.
pub(super) const PROPERTIES_CHARS_MAX: usize = 32 * 1024;
const VALUE_CHARS_MAX: usize = 4 * 1024;
const KEY_CHARS_MAX: usize = 1024;
const DEPTH_MAX: usize = 10;
const INTEGER_MIN: i64 = -4_503_599_627_370_496;
const INTEGER_MAX: i64 = 4_503_599_627_370_495;

/// Why a twin section is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    /// A key with characters the hub does not take, or too long.
    #[error("the key '{0}' is not allowed")]
    Key(String),
    /// One value is too long.
    #[error("the value of '{0}' is longer than {VALUE_CHARS_MAX} characters")]
    Value(String),
    /// Objects nested too deep.
    #[error("objects are nested deeper than {DEPTH_MAX}")]
    Depth,
    /// An integer outside the range the hub keeps.
    #[error("the integer at '{0}' is out of range")]
    Integer(String),
    /// Null inside an array.
    #[error("the array at '{0}' holds null")]
    NullInArray(String),
    /// The whole section is too big.
    #[error("{0} characters exceed the limit of {1}")]
    Size(usize, usize),
}

/// Checks what a caller sends, before it is merged.
pub(super) fn check_patch(patch: &Map<String, Value>) -> Result<(), Violation> {
    check_object(patch, 1)
}

/// Checks the size of a section after the merge.
pub(super) fn check_size(body: &Map<String, Value>, chars_max: usize) -> Result<(), Violation> {
    let size = object_chars(body);
    if size > chars_max {
        return Err(Violation::Size(size, chars_max));
    }
    Ok(())
}

fn check_object(object: &Map<String, Value>, depth: usize) -> Result<(), Violation> {
    if depth > DEPTH_MAX {
        return Err(Violation::Depth);
    }
    for (key, value) in object {
        check_key(key)?;
        check_value(key, value, depth)?;
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), Violation> {
    let odd = |c: char| c.is_control() || matches!(c, '.' | '$' | ' ' | '#');
    if key.is_empty() || key.chars().count() > KEY_CHARS_MAX || key.chars().any(odd) {
        return Err(Violation::Key(key.chars().take(64).collect()));
    }
    Ok(())
}

fn check_value(key: &str, value: &Value, depth: usize) -> Result<(), Violation> {
    match value {
        Value::Object(inner) => check_object(inner, depth + 1),
        Value::Array(_) if depth > DEPTH_MAX => Err(Violation::Depth),
        Value::Array(items) => items.iter().try_for_each(|item| match item {
            Value::Null => Err(Violation::NullInArray(key.to_owned())),
            other => check_value(key, other, depth + 1),
        }),
        Value::String(text) if text.chars().count() > VALUE_CHARS_MAX => Err(Violation::Value(key.to_owned())),
        Value::Number(number) if !in_range(number) => Err(Violation::Integer(key.to_owned())),
        _ => Ok(()),
    }
}

fn in_range(number: &serde_json::Number) -> bool {
    match (number.as_i64(), number.as_u64()) {
        (Some(n), _) => (INTEGER_MIN..=INTEGER_MAX).contains(&n),
        (None, Some(_)) => false,
        (None, None) => true,
    }
}

fn object_chars(object: &Map<String, Value>) -> usize {
    object.iter().map(|(key, value)| key.chars().count() + value_chars(value)).sum()
}

fn value_chars(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.iter().map(value_chars).sum(),
        Value::Object(inner) => object_chars(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verdict(value: Value) -> String {
        let Value::Object(map) = value else { panic!("objects only") };
        match check_patch(&map).and_then(|()| check_size(&map, TAGS_CHARS_MAX)) {
            Ok(()) => "ok".into(),
            Err(v) => v.to_string(),
        }
    }

    fn nested(levels: usize) -> Value {
        (1..levels).fold(json!({"leaf": 1}), |inner, _| json!({ "n": inner }))
    }

    #[test]
    fn limits_by_example() {
        assert_eq!(verdict(json!({"a": [1, "x", {"y": true}]})), "ok");
        assert_eq!(verdict(json!({"a": 4_503_599_627_370_495i64})), "ok");
        assert!(verdict(json!({"a": 4_503_599_627_370_496i64})).contains("out of range"));
        assert!(verdict(json!({"a": u64::MAX})).contains("out of range"));
        assert!(verdict(json!({"a": [null]})).contains("null"));
        for key in ["a.b", "a$", "a b", "a#", "a\u{7}", ""] {
            assert!(verdict(json!({ key: 1 })).contains("not allowed"), "{key}");
        }
        assert_eq!(verdict(nested(10)), "ok");
        assert!(verdict(nested(11)).contains("deeper"));
        assert!(verdict(json!({"a": "x".repeat(4097)})).contains("longer"));
        let full = json!({"a": "x".repeat(4095), "b": "x".repeat(4095)});
        assert_eq!(verdict(full), "ok");
        let over = json!({"a": "x".repeat(4095), "bc": "x".repeat(4095)});
        assert_eq!(verdict(over), "8193 characters exceed the limit of 8192");
    }
}
