//! A happening as routes see it: a message with application and system properties and a body.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::hub::{Event, Happening, Id, Kind, Telemetry, print_time};

/// The built-in endpoint.
pub(super) const BUILT_IN: &str = "events";

/// System properties by their keys in MQTT property bags, and by their names in messages.
const SYSTEM_KEYS: [(&str, &str); 10] = [
    ("$.mid", "messageId"),
    ("$.cid", "correlationId"),
    ("$.uid", "userId"),
    ("$.to", "to"),
    ("$.ct", "contentType"),
    ("$.ce", "contentEncoding"),
    ("$.exp", "absoluteExpiryTime"),
    ("$.on", "outputName"),
    ("$.ifid", "dt-dataschema"),
    ("$.sub", "dt-subject"),
];

/// What a route takes its messages from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Source {
    /// Messages from devices and modules.
    DeviceMessages,
    /// Changes of twins.
    TwinChangeEvents,
    /// Identities that come and go.
    DeviceLifecycleEvents,
    /// Changes of connection state.
    DeviceConnectionStateEvents,
    /// What jobs do to devices.
    DeviceJobLifecycleEvents,
    /// Nothing here makes these.
    DigitalTwinChangeEvents,
}

/// A message that can be routed.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) source: Source,
    /// Whose.
    pub(crate) id: Id,
    pub(crate) at: Timestamp,
    pub(crate) application: Vec<(String, String)>,
    pub(crate) system: Vec<(String, String)>,
    pub(crate) body: Bytes,
    json: OnceLock<Option<Value>>,
}

impl Message {
    /// The message that tells of an event of the hub with this name.
    pub(crate) fn of(event: &Event, hub: &str) -> Self {
        let mut message = match &event.what {
            Happening::Message(telemetry) => Self::telemetry(event, telemetry),
            Happening::Connection { connected, sequence_number } => {
                let operation = if *connected { "deviceConnected" } else { "deviceDisconnected" };
                let body = json!({"sequenceNumber": sequence_number});
                Self::notice(event, hub, Source::DeviceConnectionStateEvents, operation, body)
            }
            Happening::Lifecycle { created, twin } => {
                let operation = if *created { "createDeviceIdentity" } else { "deleteDeviceIdentity" };
                let mut body = Map::new();
                for key in ["deviceId", "moduleId", "etag", "version", "tags", "properties"] {
                    body.extend(twin.get(key).map(|value| (key.to_owned(), value.clone())));
                }
                Self::notice(event, hub, Source::DeviceLifecycleEvents, operation, Value::Object(body))
            }
            Happening::Twin { replaced, body } => {
                let operation = if *replaced { "replaceTwin" } else { "updateTwin" };
                Self::notice(event, hub, Source::TwinChangeEvents, operation, body.clone())
            }
            Happening::Job { created, job, row } => {
                let operation = if *created { "createDeviceJob" } else { "updateDeviceJob" };
                let mut message = Self::notice(event, hub, Source::DeviceJobLifecycleEvents, operation, row.clone());
                message.application.push(("jobId".to_owned(), job.clone()));
                message
            }
        };
        message.stamp();
        message
    }

    /// A message made up to try routes with.
    pub(crate) fn trial(
        source: Source,
        application: Vec<(String, String)>,
        system: Vec<(String, String)>,
        body: Bytes,
    ) -> Self {
        let (id, at, json) = (Id::device(""), Timestamp::UNIX_EPOCH, OnceLock::new());
        Self { kind: Kind::Telemetry, source, id, at, application, system, body, json }
    }

    /// A system property.
    pub(crate) fn system(&self, name: &str) -> Option<&str> {
        self.system.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, if the message says that it is: `application/json` in UTF-8, UTF-16 or UTF-32.
    pub(crate) fn json(&self) -> Option<&Value> {
        let read = || {
            let kind = self.system("contentType")?.split(';').next()?.trim();
            if !kind.eq_ignore_ascii_case("application/json") {
                return None;
            }
            let text = decode(&self.body, self.system("contentEncoding")?)?;
            serde_json::from_str(&text).ok()
        };
        self.json.get_or_init(read).as_ref()
    }

    /// As listeners get it at an endpoint, or nowhere: one JSON object.
    pub(crate) fn line(&self, endpoint: Option<&str>) -> Value {
        let mut line = json!({"at": print_time(self.at), "kind": self.kind, "device": self.id.device});
        if let Some(module) = &self.id.module {
            line["module"] = json!(module);
        }
        line["endpoint"] = json!(endpoint);
        line["properties"] = object(&self.application);
        line["systemProperties"] = object(&self.system);
        match (self.json(), std::str::from_utf8(&self.body)) {
            (Some(body), _) => line["body"] = body.clone(),
            (None, Ok(text)) => line["body"] = json!(text),
            (None, Err(_)) => line["bodyBase64"] = json!(STANDARD.encode(&self.body)),
        }
        line
    }

    fn telemetry(event: &Event, telemetry: &Telemetry) -> Self {
        let mut message = Self::bare(event, Source::DeviceMessages, telemetry.body.clone());
        for (key, value) in &telemetry.properties {
            match SYSTEM_KEYS.iter().find(|(known, _)| known == key) {
                Some((_, name)) => message.system.push(((*name).to_owned(), value.clone())),
                None => message.application.push((key.clone(), value.clone())),
            }
        }
        message.set("iothub-connection-auth-method", &telemetry.auth_method);
        message.set("iothub-connection-auth-generation-id", &telemetry.generation_id);
        message.set("iothub-message-source", "Telemetry");
        message
    }

    fn notice(event: &Event, hub: &str, source: Source, operation: &str, body: Value) -> Self {
        let mut message = Self::bare(event, source, body.to_string().into());
        message.json = OnceLock::from(Some(body));
        let (from, schema) = match source {
            Source::DeviceConnectionStateEvents => ("deviceConnectionStateEvents", "deviceConnectionStateNotification"),
            Source::DeviceLifecycleEvents => ("deviceLifecycleEvents", "deviceLifecycleNotification"),
            Source::DeviceJobLifecycleEvents => ("deviceJobLifecycleEvents", "deviceJobLifecycleNotification"),
            _ => ("twinChangeEvents", "twinChangeNotification"),
        };
        let mut put = |name: &str, value: &str| message.application.push((name.to_owned(), value.to_owned()));
        put("hubName", hub);
        put("deviceId", &event.id.device);
        if let Some(module) = &event.id.module {
            put("moduleId", module);
        }
        put("operationTimestamp", &print_time(event.at));
        put("opType", operation);
        put("iothub-message-schema", schema);
        message.set("contentType", "application/json");
        message.set("contentEncoding", "utf-8");
        message.set("iothub-message-source", from);
        message
    }

    fn bare(event: &Event, source: Source, body: Bytes) -> Self {
        Self {
            kind: event.what.kind(),
            source,
            id: event.id.clone(),
            at: event.at,
            application: Vec::new(),
            system: Vec::new(),
            body,
            json: OnceLock::new(),
        }
    }

    /// What the hub itself puts on every message.
    fn stamp(&mut self) {
        let (device, module) = (self.id.device.clone(), self.id.module.clone());
        self.set("iothub-connection-device-id", &device);
        // Connection-state events name their module among the application properties alone.
        if let Some(module) = module.filter(|_| self.source != Source::DeviceConnectionStateEvents) {
            self.set("iothub-connection-module-id", &module);
        }
        self.set("iothub-enqueuedtime", &print_time(self.at));
    }

    fn set(&mut self, name: &str, value: &str) {
        self.system.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.system.push((name.to_owned(), value.to_owned()));
    }
}

fn object(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
}

fn decode(bytes: &[u8], encoding: &str) -> Option<String> {
    match encoding.to_ascii_lowercase().as_str() {
        "utf-8" => String::from_utf8(bytes.to_vec()).ok(),
        "utf-16" => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        "utf-32" => {
            let units = bytes.chunks_exact(4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]));
            units.map(char::from_u32).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telemetry(properties: &[(&str, &str)], body: &[u8]) -> Message {
        let properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let what = Happening::Message(Telemetry {
            properties,
            body: Bytes::copy_from_slice(body),
            auth_method: "{}".into(),
            generation_id: "7".into(),
        });
        Message::of(&Event { id: Id::module("d", "m"), at: Timestamp::UNIX_EPOCH, what }, "hub")
    }

    #[test]
    fn a_body_is_json_only_if_the_message_says_so() {
        let utf16: Vec<u8> = "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf32: Vec<u8> = "{\"a\":1}".chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        for (kind, encoding, body, is_json) in [
            ("application/json", "utf-8", b"{\"a\":1}".as_slice(), true),
            ("Application/JSON; charset=utf-8", "UTF-8", b"{\"a\":1}", true),
            ("application/json", "utf-16", &utf16, true),
            ("application/json", "utf-32", &utf32, true),
            ("application/json", "", b"{\"a\":1}", false),
            ("text/plain", "utf-8", b"{\"a\":1}", false),
            ("application/json", "utf-8", b"{\"a\":", false),
            ("application/json", "utf-8", b"\xff", false),
        ] {
            let message = telemetry(&[("$.ct", kind), ("$.ce", encoding)], body);
            assert_eq!(message.json() == Some(&json!({"a": 1})), is_json, "{kind} {encoding}");
        }
    }

    #[test]
    fn nobody_can_pass_for_somebody_else() {
        let message = telemetry(&[("$.mid", "1"), ("a", "b"), ("$.cdid", "other")], b"\xff");
        assert_eq!(message.system("messageId"), Some("1"));
        assert_eq!(message.system("iothub-connection-device-id"), Some("d"));
        let line = message.line(Some("events"));
        assert_eq!(line["bodyBase64"], "/w==");
        assert_eq!((&line["device"], &line["module"], &line["kind"]), (&json!("d"), &json!("m"), &json!("telemetry")));
        assert_eq!(line["properties"]["a"], "b");
    }
}
