//! Events as Event Grid words them, in both of its schemas.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::hub::{Event, Happening, print_time};
use crate::routing::Message;

/// How events are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schema {
    /// Event Grid's own: an array of events.
    #[default]
    EventGrid,
    /// CloudEvents 1.0: one object.
    CloudEvents,
}

/// What the events of a hub can be.
pub(super) const TYPES: [&str; 5] = [
    "Microsoft.Devices.DeviceCreated",
    "Microsoft.Devices.DeviceDeleted",
    "Microsoft.Devices.DeviceConnected",
    "Microsoft.Devices.DeviceDisconnected",
    "Microsoft.Devices.DeviceTelemetry",
];
pub(super) const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";

/// An event before it is wrapped.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Notice {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) device: String,
    time: String,
    data: Value,
}

impl Notice {
    /// What Event Grid tells of an event; of changes of twins and of jobs it tells nothing.
    pub(super) fn of(event: &Event, message: &Message, hub: &str, id: String) -> Option<Self> {
        let mut data = Map::new();
        let kind = match &event.what {
            Happening::Twin { .. } | Happening::Job { .. } => return None,
            Happening::Message(_) => {
                data.extend(telemetry(message));
                TYPES[4]
            }
            Happening::Connection { connected, sequence_number } => {
                data.insert("deviceConnectionStateEventInfo".into(), json!({"sequenceNumber": sequence_number}));
                if *connected { TYPES[2] } else { TYPES[3] }
            }
            Happening::Lifecycle { created, twin } => {
                data.insert("twin".into(), twin.clone());
                if *created { TYPES[0] } else { TYPES[1] }
            }
        };
        if kind != TYPES[4] {
            data.insert("hubName".into(), json!(hub));
            data.insert("deviceId".into(), json!(event.id.device));
            data.extend(event.id.module.as_ref().map(|module| ("moduleId".to_owned(), json!(module))));
        }
        let (device, time) = (event.id.device.clone(), print_time(event.at));
        Some(Self { id, kind, device, time, data: Value::Object(data) })
    }

    /// The body of a delivery.
    pub(super) fn wrap(&self, schema: Schema, topic: &str) -> Value {
        let subject = format!("devices/{}", self.device);
        match schema {
            Schema::EventGrid => json!([{
                "id": self.id, "topic": topic, "subject": subject, "eventType": self.kind, "eventTime": self.time,
                "data": self.data, "dataVersion": self.data_version(), "metadataVersion": "1",
            }]),
            Schema::CloudEvents => json!({
                "id": self.id, "source": topic, "subject": subject, "type": self.kind, "time": self.time,
                "data": self.data, "specversion": "1.0",
            }),
        }
    }

    /// Telemetry alone has none.
    pub(super) fn data_version(&self) -> &'static str {
        if self.kind == TYPES[4] { "" } else { "1" }
    }
}

/// The event that asks a subscriber to prove that it wants events.
pub(super) fn validation(topic: &str, id: &str, code: &str, url: &str, time: &str) -> Value {
    json!([{
        "id": id, "topic": topic, "subject": "", "eventType": VALIDATION, "eventTime": time,
        "data": {"validationCode": code, "validationUrl": url}, "dataVersion": "2", "metadataVersion": "1",
    }])
}

fn telemetry(message: &Message) -> Map<String, Value> {
    let utf8 = message.system("contentEncoding").is_some_and(|encoding| encoding.eq_ignore_ascii_case("utf-8"));
    let body = match message.json().filter(|_| utf8) {
        Some(body) => body.clone(),
        None => json!(STANDARD.encode(&message.body)),
    };
    let properties: Map<String, Value> =
        message.application.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut system = Map::new();
    for (name, shown) in [
        ("contentType", "iothub-content-type"),
        ("contentEncoding", "iothub-content-encoding"),
        ("iothub-connection-device-id", "iothub-connection-device-id"),
        ("iothub-connection-module-id", "iothub-connection-module-id"),
        ("iothub-connection-auth-method", "iothub-connection-auth-method"),
        ("iothub-connection-auth-generation-id", "iothub-connection-auth-generation-id"),
        ("iothub-enqueuedtime", "iothub-enqueuedtime"),
        ("iothub-message-source", "iothub-message-source"),
    ] {
        system.extend(message.system(name).map(|value| (shown.to_owned(), json!(value))));
    }
    let fields =
        [("body", body), ("properties", Value::Object(properties)), ("systemProperties", Value::Object(system))];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::hub::{DeviceBody, Dice, Effect, Expect, Hub, Id};

    fn example(name: &str) -> Option<Value> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/azure/eventgrid-examples");
        let Ok(text) = std::fs::read_to_string(format!("{folder}/{name}.json")) else {
            eprintln!("skipped: Microsoft's examples are not here");
            return None;
        };
        Some(serde_json::from_str(&text).expect("JSON"))
    }

    /// The names in an object, and below the given ones.
    fn names(value: &Value, below: &[&str]) -> Vec<String> {
        let mut out = Vec::new();
        for (name, inner) in value.as_object().into_iter().flatten() {
            out.push(name.clone());
            if below.contains(&name.as_str()) {
                out.extend(names(inner, below).into_iter().map(|inner| format!("{name}.{inner}")));
            }
        }
        out.sort();
        out
    }

    fn check(event: &Event, name: &str) {
        let message = Message::of(event, "hub");
        let notice = Notice::of(event, &message, "hub", "1".into()).expect("told");
        for (schema, folder) in [(Schema::EventGrid, "event-grid-schema"), (Schema::CloudEvents, "cloud-events-schema")]
        {
            let Some(example) = example(&format!("{folder}.{name}")) else {
                return;
            };
            let wrapped = notice.wrap(schema, "/SUBSCRIPTIONS/X");
            let one = if schema == Schema::EventGrid { &wrapped[0] } else { &wrapped };
            let below =
                ["data", "deviceConnectionStateEventInfo", "systemProperties", "twin", "x509Thumbprint", "properties"];
            let below: Vec<&str> =
                below.into_iter().filter(|n| *n != "properties" || name != "device_telemetry").collect();
            let (ours, theirs) = (names(one, &below), names(&example, &below));
            let missing: Vec<_> = theirs.iter().filter(|name| !ours.contains(name)).collect();
            assert!(missing.is_empty(), "{name} lacks {missing:?}");
            assert_eq!(one.get("dataVersion"), example.get("dataVersion"), "{name}");
        }
    }

    #[test]
    fn events_have_the_shape_of_microsofts_examples() {
        let at = Timestamp::UNIX_EPOCH;
        let mut hub = Hub::new(Dice::new([1; 32]), jiff::SignedDuration::ZERO);
        hub.put_device("d", &DeviceBody::default(), &Expect::Nothing, at).expect("made");
        let properties = [("$.ct", "application/json"), ("$.ce", "utf-8"), ("Status", "Active")];
        let properties = properties.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        hub.receive(&Id::device("d"), properties, Bytes::from_static(b"{\"a\":1}"), at);
        let events: Vec<Event> = hub.take_effects().into_iter().filter_map(Effect::into_event).collect();
        check(&events[0], "device_created");
        check(&events[1], "device_telemetry");
        let what = Happening::Connection { connected: true, sequence_number: "0".repeat(64) };
        check(&Event { id: Id::module("d", "m"), at, what }, "device_connected");
    }

    #[test]
    fn a_body_that_is_not_json_is_base64_and_a_twin_is_not_told() {
        let id = Id::device("d");
        let at = Timestamp::UNIX_EPOCH;
        let mut hub = Hub::new(Dice::new([1; 32]), jiff::SignedDuration::ZERO);
        hub.put_device("d", &DeviceBody::default(), &Expect::Nothing, at).expect("made");
        hub.take_effects();
        hub.receive(&id, Vec::new(), Bytes::from_static(b"hi"), at);
        hub.patch_twin(&id, &json!({"tags": {"a": 1}}), &Expect::Any, at).expect("patched");
        let notices: Vec<Option<Notice>> = hub
            .take_effects()
            .into_iter()
            .filter_map(Effect::into_event)
            .map(|event| Notice::of(&event, &Message::of(&event, "hub"), "hub", "1".into()))
            .collect();
        assert_eq!(notices[0].as_ref().expect("told").data["body"], "aGk=");
        assert_eq!(notices[1], None);
    }
}
