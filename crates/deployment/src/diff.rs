//! How two members' settings differ, by module and key.

use std::fmt;

use serde_json::Value;

use crate::Digest;
use crate::runs::{Place, Settings};

/// One setting that is not the same on both sides.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// Where.
    pub place: Place,
    /// What the one side has; `None`: nothing.
    pub left: Option<Value>,
    /// What the other has.
    pub right: Option<Value>,
}

impl Difference {
    /// The two values for people. What looks like a secret is not shown, only whether it is the same.
    pub fn shown(&self) -> (String, String) {
        let is_secret = self.is_secret();
        let shown = |value: &Option<Value>| match value {
            None => "(none)".to_owned(),
            Some(value) if is_secret => format!("(hidden, {})", Digest::of(value).short()),
            Some(value) => value.to_string(),
        };
        (shown(&self.left), shown(&self.right))
    }

    fn is_secret(&self) -> bool {
        let key = self.place.key.to_lowercase();
        let last = key.rsplit('.').next().unwrap_or(&key);
        let named = ["password", "secret", "token", "key", "credential", "connection_string", "connectionstring"];
        let said = ["sharedaccesskey", "accountkey=", "-----begin", "password="];
        let holds = |value: &Option<Value>| {
            let text = value.as_ref().map(|value| value.to_string().to_lowercase()).unwrap_or_default();
            said.iter().any(|mark| text.contains(mark))
        };
        named.iter().any(|name| last.contains(name)) || holds(&self.left) || holds(&self.right)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, right) = self.shown();
        write!(f, "{}: {left} | {right}", self.place)
    }
}

/// Every setting that is not the same, by place.
pub fn diff(left: &Settings, right: &Settings) -> Vec<Difference> {
    let places: std::collections::BTreeSet<&Place> = left.keys().chain(right.keys()).collect();
    places
        .into_iter()
        .filter(|place| left.get(place) != right.get(place))
        .map(|place| Difference {
            place: place.clone(),
            left: left.get(place).cloned(),
            right: right.get(place).cloned(),
        })
        .collect()
}

/// Every setting that both sides have and that is not the same: for what is not always known.
pub fn diff_of_known(left: &Settings, right: &Settings) -> Vec<Difference> {
    let both = |difference: &Difference| difference.left.is_some() && difference.right.is_some();
    diff(left, right).into_iter().filter(both).collect()
}
