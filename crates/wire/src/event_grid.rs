//! Event Grid's deliveries, in both of its schemas: what they say of a device, and the handshake before them.
//!
//! Events may come late, twice and in any order (Microsoft docs: Event Grid delivery); what they say is a hint, never a fact.

use serde_json::Value;

/// The header that tells a handshake from a delivery in Event Grid's own schema.
pub const TYPE_HEADER: &str = "aeg-event-type";
/// Its value for a handshake.
pub const VALIDATION: &str = "SubscriptionValidation";
/// The header by which a CloudEvents sender asks for leave; it is answered with [`ALLOWED_ORIGIN`].
pub const REQUEST_ORIGIN: &str = "webhook-request-origin";
/// The header that gives leave.
pub const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";

const VALIDATION_EVENT: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";
const DEVICE_EVENTS: &str = "Microsoft.Devices.";

/// What a delivery holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A handshake: to be answered with `{"validationResponse": code}`.
    Validation {
        /// The code.
        code: String,
    },
    /// Events about devices; others are left out.
    Events(Vec<DeviceEvent>),
}

/// Something may have happened to a device or a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceEvent {
    /// The kind, without `Microsoft.Devices.`: `DeviceConnected`, `DeviceDisconnected`, `DeviceCreated`, `DeviceDeleted`.
    pub kind: String,
    /// Which device.
    pub device: String,
    /// Which module, if the event is about one.
    pub module: Option<String>,
    /// Grows with each event of this device or module; compared as text. Connection events only.
    pub sequence: Option<String>,
}

/// Why a delivery cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is no JSON.
    #[error("the delivery is no JSON")]
    NotJson,
    /// It is neither an event nor a list of events.
    #[error("the delivery is neither an event nor a list of events")]
    NotEvents,
    /// A handshake without its code.
    #[error("the handshake carries no validationCode")]
    NoCode,
    /// An event about a device that names none.
    #[error("event {at} names no device")]
    NoDevice {
        /// Its place in the delivery, from 0.
        at: usize,
    },
}

impl Delivery {
    /// Reads a body: one event or a list, in either schema.
    pub fn decode(body: &[u8]) -> Result<Self, Invalid> {
        let events = match serde_json::from_slice(body).map_err(|_| Invalid::NotJson)? {
            Value::Array(events) => events,
            event @ Value::Object(_) => vec![event],
            _ => return Err(Invalid::NotEvents),
        };
        if let Some(asked) = events.iter().find(|event| kind(event) == Some(VALIDATION_EVENT)) {
            let code = asked["data"]["validationCode"].as_str().ok_or(Invalid::NoCode)?;
            return Ok(Self::Validation { code: code.to_owned() });
        }
        let mut found = Vec::new();
        for (at, event) in events.iter().enumerate() {
            let kind = kind(event).ok_or(Invalid::NotEvents)?;
            if let Some(kind) = kind.strip_prefix(DEVICE_EVENTS) {
                found.push(DeviceEvent::read(kind, event).ok_or(Invalid::NoDevice { at })?);
            }
        }
        Ok(Self::Events(found))
    }
}

impl DeviceEvent {
    fn read(kind: &str, event: &Value) -> Option<Self> {
        let data = &event["data"];
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let of_subject = || text(&event["subject"])?.strip_prefix("devices/").map(str::to_owned);
        Some(Self {
            kind: kind.to_owned(),
            device: text(&data["deviceId"]).or_else(of_subject)?,
            module: text(&data["moduleId"]),
            sequence: text(&data["deviceConnectionStateEventInfo"]["sequenceNumber"]),
        })
    }
}

fn kind(event: &Value) -> Option<&str> {
    event["eventType"].as_str().or_else(|| event["type"].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decode(body: &Value) -> Result<Delivery, Invalid> {
        Delivery::decode(body.to_string().as_bytes())
    }

    #[test]
    fn both_schemas_say_the_same() {
        let data = json!({"deviceConnectionStateEventInfo": {"sequenceNumber": "0A"}, "hubName": "H",
            "deviceId": "edge-a", "moduleId": ""});
        let kind = "Microsoft.Devices.DeviceDisconnected";
        let own = json!([{"id": "1", "subject": "devices/edge-a", "eventType": kind, "data": data}]);
        let cloud = json!({"id": "1", "subject": "devices/edge-a", "type": kind, "specversion": "1.0", "data": data});
        let expected = DeviceEvent {
            kind: "DeviceDisconnected".to_owned(),
            device: "edge-a".to_owned(),
            module: None,
            sequence: Some("0A".to_owned()),
        };
        for body in [own, cloud.clone(), json!([cloud])] {
            assert_eq!(decode(&body), Ok(Delivery::Events(vec![expected.clone()])), "{body}");
        }
    }

    #[test]
    fn a_handshake_carries_its_code() {
        let asked = |data: Value| decode(&json!([{"eventType": VALIDATION_EVENT, "subject": "", "data": data}]));
        assert_eq!(asked(json!({"validationCode": "c"})), Ok(Delivery::Validation { code: "c".to_owned() }));
        assert_eq!(asked(json!({})), Err(Invalid::NoCode));
    }

    #[test]
    fn what_is_about_no_device_is_left_out_and_nonsense_is_refused() {
        assert_eq!(decode(&json!([{"eventType": "Other.Thing", "data": {}}])), Ok(Delivery::Events(Vec::new())));
        assert_eq!(decode(&json!([])), Ok(Delivery::Events(Vec::new())));
        assert_eq!(Delivery::decode(b"{"), Err(Invalid::NotJson));
        assert_eq!(decode(&json!(7)), Err(Invalid::NotEvents));
        assert_eq!(decode(&json!([{"data": {}}])), Err(Invalid::NotEvents));
        let nameless = json!([{"eventType": "Microsoft.Devices.DeviceConnected", "data": {}}]);
        assert_eq!(decode(&nameless), Err(Invalid::NoDevice { at: 0 }));
    }
}
