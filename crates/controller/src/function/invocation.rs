//! The contract between the Functions host and a custom handler.

use std::collections::BTreeMap;

use ha_wire::event_grid::{Delivery, DeviceEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What the host asks for.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) trigger: Trigger,
}

#[derive(Debug)]
pub(super) enum Trigger {
    Timer {
        /// The last one was missed, for instance because a pass took longer.
        is_past_due: bool,
    },
    Event(DeviceEvent),
    Http(HttpRequest),
}

/// An HTTP request as the host hands it on. Function keys have been checked by the host.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct HttpRequest {
    pub(super) method: String,
    pub(super) params: BTreeMap<String, String>,
    /// Text, or JSON where the host has read it already.
    pub(super) body: Value,
}

/// What the host is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Reply {
    outputs: Map<String, Value>,
    logs: Vec<String>,
    return_value: Value,
}

impl Invocation {
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Envelope {
            data: Map<String, Value>,
        }
        let envelope: Envelope =
            serde_json::from_slice(body).map_err(|error| format!("the invocation is not understood: {error}"))?;
        let binding = |name: &str| envelope.data.get(name).map(opened);
        let trigger = match (binding("timer"), binding("event"), binding("req")) {
            (Some(timer), ..) => Trigger::Timer { is_past_due: timer["IsPastDue"] == true },
            (_, Some(event), _) => {
                let delivery = Delivery::decode(event.to_string().as_bytes()).map_err(|invalid| invalid.to_string())?;
                let Delivery::Events(events) = delivery else { return Err("handshakes are the host's".to_owned()) };
                Trigger::Event(events.into_iter().next().ok_or("the event is about no device")?)
            }
            (.., Some(request)) => {
                let request = serde_json::from_value(request).map_err(|error| format!("the HTTP request: {error}"))?;
                Trigger::Http(request)
            }
            _ => {
                let found: Vec<&str> = envelope.data.keys().map(String::as_str).collect();
                return Err(format!(
                    "the invocation carries {} and none of timer, event, req: look at `name` in function.json",
                    if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
                ));
            }
        };
        Ok(Self { trigger })
    }
}

/// A binding's value is an object, or a text that holds one.
fn opened(value: &Value) -> Value {
    let read = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    read.unwrap_or_else(|| value.clone())
}

impl HttpRequest {
    /// The body as an object; nothing at all is an empty one.
    pub(super) fn object(&self) -> Result<Map<String, Value>, String> {
        match opened(&self.body) {
            Value::Object(object) => Ok(object),
            Value::Null => Ok(Map::new()),
            Value::String(text) if text.trim().is_empty() => Ok(Map::new()),
            _ => Err("the body is not a JSON object".to_owned()),
        }
    }
}

impl Reply {
    /// For triggers that want no output.
    pub(super) fn says(what: impl Into<String>) -> Self {
        Self { outputs: Map::new(), logs: vec![what.into()], return_value: Value::Null }
    }

    /// For HTTP: the output binding is called `res`.
    pub(super) fn http(status: u16, body: &Value) -> Self {
        let res = json!({
            "statusCode": status,
            "body": body.to_string(),
            "headers": {"content-type": "application/json", "cache-control": "no-store"},
        });
        Self { outputs: Map::from_iter([("res".to_owned(), res)]), logs: Vec::new(), return_value: Value::Null }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &Value) -> Result<Trigger, String> {
        let body = json!({"Data": data, "Metadata": {}}).to_string();
        Invocation::read(body.as_bytes()).map(|invocation| invocation.trigger)
    }

    #[test]
    fn a_binding_is_an_object_or_a_text_that_holds_one() {
        for timer in [json!({"IsPastDue": true}), json!("{\"IsPastDue\":true}")] {
            assert!(matches!(read(&json!({"timer": timer})), Ok(Trigger::Timer { is_past_due: true })));
        }
        let event = json!({"subject": "devices/edge-a", "eventType": "Microsoft.Devices.DeviceDisconnected"});
        let Ok(Trigger::Event(event)) = read(&json!({"event": event.to_string()})) else { panic!() };
        assert_eq!(event.device, "edge-a");
        let Ok(Trigger::Http(request)) = read(&json!({"req": {"Method": "GET", "Params": {"pool": "p"}}})) else {
            panic!()
        };
        assert_eq!((request.method.as_str(), request.params["pool"].as_str()), ("GET", "p"));
        assert_eq!(request.object(), Ok(Map::new()));
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for (body, reason) in [
            (String::new(), "EOF"),
            ("[]".to_owned(), "not understood"),
            (json!({"Data": {}}).to_string(), "carries nothing"),
            (json!({"Data": {"tick": {}}}).to_string(), "carries tick and none of"),
            (json!({"Data": {"event": {"a": 1}}}).to_string(), "neither an event"),
            (json!({"Data": {"req": {"Params": 1}}}).to_string(), "the HTTP request"),
        ] {
            let said = Invocation::read(body.as_bytes()).expect_err(&body);
            assert!(said.contains(reason), "{body}: {said}");
        }
    }
}
