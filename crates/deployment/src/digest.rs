//! A short name for content.

use std::fmt;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The SHA-256 of content in canonical form: equal content has equal digests, whatever the order of its keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of any JSON: objects by sorted keys, no blanks.
    pub fn of(value: &Value) -> Self {
        Self(Sha256::digest(canonical(value).to_string()).into())
    }

    /// The first twelve hex digits: enough for people and for names.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

/// The same with all keys in order.
pub(crate) fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(key, inner)| (key.clone(), canonical(inner))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(entries) => Value::Array(entries.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn order_of_keys_is_no_content() {
        let (a, b) = (json!({"x": {"b": 1, "a": [1, 2]}, "y": 2}), json!({"y": 2, "x": {"a": [1, 2], "b": 1}}));
        assert_eq!(Digest::of(&a), Digest::of(&b));
        assert_ne!(Digest::of(&a), Digest::of(&json!({"x": {"b": 1, "a": [2, 1]}, "y": 2})));
        assert_eq!(Digest::of(&json!({})).short(), "44136fa355b3");
    }
}
