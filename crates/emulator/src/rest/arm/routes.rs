//! Trying routes with a message.

use bytes::Bytes;
use ha_condition::{CompileError, Condition, Verdict};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::management::Failure;
use crate::routing::{Message, Source, Table};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Tried {
    message: TriedMessage,
    route: Value,
    twin: Option<Value>,
    routing_source: Option<Source>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TriedMessage {
    body: Option<Value>,
    app_properties: Option<serde_json::Map<String, Value>>,
    system_properties: Option<serde_json::Map<String, Value>>,
}

/// `$testnew`: one route, which need not be the hub's.
pub(super) fn test_new(body: &Value) -> Result<Value, Failure> {
    let tried = read(body)?;
    let condition = tried.route.get("condition").and_then(Value::as_str).unwrap_or("true");
    let source = tried.route.get("source").cloned().unwrap_or(json!("DeviceMessages"));
    let source = Source::deserialize(source).map_err(|e| Failure::bad_request(format!("route.source: {e}")))?;
    Ok(match Condition::compile(if condition.trim().is_empty() { "true" } else { condition }) {
        Err(error) => json!({"result": Verdict::False, "details": {"compilationErrors": [compilation(&error)]}}),
        Ok(condition) => {
            let message = tried.message.made(source);
            let verdict = condition.ask(&message.subject(tried.twin.as_ref()));
            json!({"result": verdict, "details": {"compilationErrors": []}})
        }
    })
}

/// `$testall`: the hub's routes in force.
pub(super) fn test_all(table: &Table, body: &Value) -> Result<Value, Failure> {
    let tried = read(body)?;
    let message = tried.message.made(tried.routing_source.unwrap_or(Source::DeviceMessages));
    let matched = table.matched(&message, tried.twin.as_ref());
    let routes: Vec<Value> = matched.into_iter().map(|route| json!({"properties": route})).collect();
    Ok(json!({"routes": routes}))
}

fn read(body: &Value) -> Result<Tried, Failure> {
    Tried::deserialize(body).map_err(|e| Failure::bad_request(e.to_string()))
}

fn compilation(error: &CompileError) -> Value {
    json!({
        "message": error.message,
        "severity": "error",
        "location": {"start": error.start, "end": error.end},
    })
}

impl TriedMessage {
    fn made(self, source: Source) -> Message {
        let body = match self.body {
            None => Bytes::new(),
            Some(Value::String(text)) => text.into(),
            Some(other) => other.to_string().into(),
        };
        Message::trial(source, pairs(self.app_properties), pairs(self.system_properties), body)
    }
}

fn pairs(properties: Option<serde_json::Map<String, Value>>) -> Vec<(String, String)> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    properties.into_iter().flatten().map(|(name, value)| (name, text(value))).collect()
}
