//! Properties that the hub adds to messages for an endpoint.

use ha_condition::{Lookup, Subject};
use serde::Deserialize;

use super::problem::Problem;

/// What is added to whose messages.
#[derive(Debug, Clone)]
pub(super) struct Enrichment {
    key: String,
    value: Worth,
    endpoints: Vec<String>,
}

#[derive(Debug, Clone)]
enum Worth {
    Literal(String),
    HubName,
    /// What is asked for, and what is put in its place when it is not there: the text of the question.
    Twin(Lookup, String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Described {
    key: String,
    value: String,
    endpoint_names: Vec<String>,
}

impl Enrichment {
    pub(super) fn compile(described: Described, place: &str, known: impl Fn(&str) -> bool) -> Result<Self, Problem> {
        let Described { key, value, endpoint_names } = described;
        if key.is_empty() || key.len() > 128 {
            return Err(Problem::new(format!("{place}.key"), "a key has 1 to 128 characters"));
        }
        if let Some(name) = endpoint_names.iter().find(|name| !known(name)) {
            return Err(Problem::new(format!("{place}.endpointNames"), format!("there is no endpoint '{name}'")));
        }
        let worth = if value.eq_ignore_ascii_case("$iothubname") {
            Worth::HubName
        } else if value.to_ascii_lowercase().starts_with("$twin.") {
            let place = || format!("{place}.value");
            Worth::Twin(Lookup::compile(&value).map_err(|e| Problem::new(place(), e.to_string()))?, value)
        } else {
            Worth::Literal(value)
        };
        Ok(Self { key, value: worth, endpoints: endpoint_names })
    }

    pub(super) fn needs_twin(&self) -> bool {
        matches!(self.value, Worth::Twin(..))
    }

    /// The property for a message on its way to `endpoint`.
    pub(super) fn property(&self, endpoint: &str, subject: &Subject<'_>, hub: &str) -> Option<(String, String)> {
        if !self.endpoints.iter().any(|name| name.eq_ignore_ascii_case(endpoint)) {
            return None;
        }
        let value = match &self.value {
            Worth::Literal(text) => text.clone(),
            Worth::HubName => hub.to_owned(),
            Worth::Twin(lookup, text) => lookup.text(subject).unwrap_or_else(|| text.clone()),
        };
        Some((self.key.clone(), value))
    }
}
