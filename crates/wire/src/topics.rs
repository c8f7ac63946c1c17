//! The MQTT topics, filters and log-in fields of devices and modules (Microsoft docs: communicate with IoT Hub using MQTT).
//!
//! Both directions are parsed and formatted, so a device and a hub can stand on the same types. Ids stand in topics as
//! they are, not percent-encoded; request ids are echoed verbatim.

mod login;

use std::fmt;
use std::str::FromStr;

pub use login::{ClientId, Username};

use crate::invalid::shown;
use crate::{Error, Properties};

/// Path and subprotocol of MQTT over WebSocket.
pub const WEBSOCKET_PATH: &str = "/$iothub/websocket";
/// The WebSocket subprotocol.
pub const WEBSOCKET_PROTOCOL: &str = "mqtt";
/// Longer ones are refused (an MQTT topic ends at 65,535 bytes anyway).
const TOPIC_BYTES_MAX: usize = 65_535;

/// A request id, echoed verbatim by whoever answers. Its form is the requester's choice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(String);

impl RequestId {
    /// A request id; refused if empty, over 256 bytes, or not fit to stand in a topic.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        let unfit = |c: char| c.is_control() || matches!(c, '&' | '#' | '+' | '/');
        if text.is_empty() || text.len() > 256 || text.contains(unfit) {
            return Err(Error::Topic(format!("$rid={}", shown(&text))));
        }
        Ok(RequestId(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A topic on which a device or module publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromDevice {
    /// Device-to-cloud telemetry.
    Event {
        /// The device.
        device: String,
        /// The module, if it is a module's.
        module: Option<String>,
        /// The message's properties.
        properties: Properties,
    },
    /// Asks for the whole twin. The payload says nothing (SDKs send one space).
    GetTwin {
        /// Comes back with the answer.
        rid: RequestId,
    },
    /// Merges the payload into the reported properties.
    PatchReported {
        /// Comes back with the answer.
        rid: RequestId,
    },
    /// Answers a direct method; the payload is the answer's JSON, or empty.
    MethodAnswer {
        /// The device's own status.
        status: i32,
        /// As it came with the call.
        rid: RequestId,
    },
}

/// A topic on which the hub publishes to a device or module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToDevice {
    /// A cloud-to-device message.
    Message {
        /// The device.
        device: String,
        /// The message's properties.
        properties: Properties,
    },
    /// A message routed to a module's input by edgeHub; the hub itself never sends one.
    Input {
        /// The device.
        device: String,
        /// The module.
        module: String,
        /// The input's name.
        input: String,
        /// The message's properties.
        properties: Properties,
    },
    /// Answers a [`FromDevice::GetTwin`] (200 with the twin) or [`FromDevice::PatchReported`] (204).
    TwinAnswer {
        /// 200, 204, or an error.
        status: u16,
        /// As it came with the request.
        rid: RequestId,
        /// The new reported `$version`; edgeHub leaves it out.
        version: Option<u64>,
    },
    /// The desired properties changed; the payload is the patch.
    DesiredChanged {
        /// The new desired `$version`.
        version: u64,
    },
    /// A direct method is called; the payload is the request's JSON.
    MethodCall {
        /// The method's name.
        name: String,
        /// Must come back with the answer, verbatim.
        rid: RequestId,
    },
}

/// A filter to which a device or module may subscribe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Filter {
    /// `devices/{device}/messages/devicebound/#`
    Messages {
        /// The device.
        device: String,
    },
    /// `devices/{device}/modules/{module}/inputs/#`
    Inputs {
        /// The device.
        device: String,
        /// The module.
        module: String,
    },
    /// `$iothub/twin/res/#`
    TwinAnswers,
    /// `$iothub/twin/PATCH/properties/desired/#`
    DesiredChanges,
    /// `$iothub/methods/POST/#`
    MethodCalls,
}

impl FromDevice {
    /// Whether `device` (and `module`) may publish here: only on its own topics.
    pub fn belongs_to(&self, device: &str, module: Option<&str>) -> bool {
        match self {
            FromDevice::Event { device: d, module: m, .. } => d == device && m.as_deref() == module,
            _ => true,
        }
    }
}

impl FromStr for FromDevice {
    type Err = Error;

    fn from_str(topic: &str) -> Result<Self, Error> {
        let levels = levels(topic)?;
        Ok(match levels.as_slice() {
            ["devices", device, "messages", "events", bag @ ..] => {
                FromDevice::Event { device: id(device, topic)?, module: None, properties: bag.join("/").parse()? }
            }
            ["devices", device, "modules", module, "messages", "events", bag @ ..] => {
                let module = Some(id(module, topic)?);
                FromDevice::Event { device: id(device, topic)?, module, properties: bag.join("/").parse()? }
            }
            ["$iothub", "twin", "GET", query] => FromDevice::GetTwin { rid: rid(query, topic)? },
            ["$iothub", "twin", "PATCH", "properties", "reported", query] => {
                FromDevice::PatchReported { rid: rid(query, topic)? }
            }
            ["$iothub", "methods", "res", status, query] => {
                FromDevice::MethodAnswer { status: number(status, topic)?, rid: rid(query, topic)? }
            }
            _ => return Err(unknown(topic)),
        })
    }
}

impl fmt::Display for FromDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FromDevice::Event { device, module: None, properties } => {
                write!(f, "devices/{device}/messages/events/{properties}")
            }
            FromDevice::Event { device, module: Some(module), properties } => {
                write!(f, "devices/{device}/modules/{module}/messages/events/{properties}")
            }
            FromDevice::GetTwin { rid } => write!(f, "$iothub/twin/GET/?$rid={rid}"),
            FromDevice::PatchReported { rid } => write!(f, "$iothub/twin/PATCH/properties/reported/?$rid={rid}"),
            FromDevice::MethodAnswer { status, rid } => write!(f, "$iothub/methods/res/{status}/?$rid={rid}"),
        }
    }
}

impl ToDevice {
    /// The filter under which this is delivered.
    pub fn filter(&self) -> Filter {
        match self {
            ToDevice::Message { device, .. } => Filter::Messages { device: device.clone() },
            ToDevice::Input { device, module, .. } => Filter::Inputs { device: device.clone(), module: module.clone() },
            ToDevice::TwinAnswer { .. } => Filter::TwinAnswers,
            ToDevice::DesiredChanged { .. } => Filter::DesiredChanges,
            ToDevice::MethodCall { .. } => Filter::MethodCalls,
        }
    }
}

impl FromStr for ToDevice {
    type Err = Error;

    fn from_str(topic: &str) -> Result<Self, Error> {
        let levels = levels(topic)?;
        Ok(match levels.as_slice() {
            ["devices", device, "messages", "devicebound", bag @ ..] => {
                ToDevice::Message { device: id(device, topic)?, properties: bag.join("/").parse()? }
            }
            ["devices", device, "modules", module, "inputs", input, bag @ ..] => ToDevice::Input {
                device: id(device, topic)?,
                module: id(module, topic)?,
                input: id(input, topic)?,
                properties: bag.join("/").parse()?,
            },
            ["$iothub", "twin", "res", status, query] => ToDevice::TwinAnswer {
                status: number(status, topic)?,
                rid: rid(query, topic)?,
                version: parameter(query, "$version").map(|text| number(text, topic)).transpose()?,
            },
            ["$iothub", "twin", "PATCH", "properties", "desired", query] => ToDevice::DesiredChanged {
                version: number(parameter(query, "$version").ok_or_else(|| unknown(topic))?, topic)?,
            },
            ["$iothub", "methods", "POST", name, query] => {
                ToDevice::MethodCall { name: id(name, topic)?, rid: rid(query, topic)? }
            }
            _ => return Err(unknown(topic)),
        })
    }
}

impl fmt::Display for ToDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToDevice::Message { device, properties } => {
                write!(f, "devices/{device}/messages/devicebound/{properties}")
            }
            ToDevice::Input { device, module, input, properties } => {
                write!(f, "devices/{device}/modules/{module}/inputs/{input}/{properties}")
            }
            ToDevice::TwinAnswer { status, rid, version: None } => write!(f, "$iothub/twin/res/{status}/?$rid={rid}"),
            ToDevice::TwinAnswer { status, rid, version: Some(version) } => {
                write!(f, "$iothub/twin/res/{status}/?$rid={rid}&$version={version}")
            }
            ToDevice::DesiredChanged { version } => {
                write!(f, "$iothub/twin/PATCH/properties/desired/?$version={version}")
            }
            ToDevice::MethodCall { name, rid } => write!(f, "$iothub/methods/POST/{name}/?$rid={rid}"),
        }
    }
}

impl Filter {
    /// Whether `device` (and `module`) may subscribe to this.
    pub fn belongs_to(&self, device: &str, module: Option<&str>) -> bool {
        match self {
            Filter::Messages { device: d } => d == device && module.is_none(),
            Filter::Inputs { device: d, module: m } => d == device && module == Some(m),
            _ => true,
        }
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(filter: &str) -> Result<Self, Error> {
        let levels = levels(filter)?;
        Ok(match levels.as_slice() {
            ["devices", device, "messages", "devicebound", "#"] => Filter::Messages { device: id(device, filter)? },
            ["devices", device, "modules", module, "inputs", "#"] => {
                Filter::Inputs { device: id(device, filter)?, module: id(module, filter)? }
            }
            ["$iothub", "twin", "res", "#"] => Filter::TwinAnswers,
            ["$iothub", "twin", "PATCH", "properties", "desired", "#"] => Filter::DesiredChanges,
            ["$iothub", "methods", "POST", "#"] => Filter::MethodCalls,
            _ => return Err(unknown(filter)),
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::Messages { device } => write!(f, "devices/{device}/messages/devicebound/#"),
            Filter::Inputs { device, module } => write!(f, "devices/{device}/modules/{module}/inputs/#"),
            Filter::TwinAnswers => f.write_str("$iothub/twin/res/#"),
            Filter::DesiredChanges => f.write_str("$iothub/twin/PATCH/properties/desired/#"),
            Filter::MethodCalls => f.write_str("$iothub/methods/POST/#"),
        }
    }
}

fn levels(topic: &str) -> Result<Vec<&str>, Error> {
    if topic.len() > TOPIC_BYTES_MAX {
        return Err(unknown(topic));
    }
    Ok(topic.split('/').collect())
}

fn id(level: &str, topic: &str) -> Result<String, Error> {
    if level.is_empty() || level.contains(['#', '+']) { Err(unknown(topic)) } else { Ok(level.to_owned()) }
}

fn number<T: FromStr>(text: &str, topic: &str) -> Result<T, Error> {
    text.parse().map_err(|_| unknown(topic))
}

fn rid(query: &str, topic: &str) -> Result<RequestId, Error> {
    RequestId::new(parameter(query, "$rid").ok_or_else(|| unknown(topic))?)
}

/// `?$rid=1&$version=2`: order varies, and so do the extras.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.strip_prefix('?')?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn unknown(topic: &str) -> Error {
    Error::Topic(shown(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same<T: FromStr<Err = Error> + fmt::Display>(text: &str) {
        assert_eq!(text.parse::<T>().unwrap().to_string(), text);
    }

    #[test]
    fn every_topic_survives_a_round_trip() {
        same::<FromDevice>("devices/d1/messages/events/a=1&%24.mid=x");
        same::<FromDevice>("devices/d1/messages/events/");
        same::<FromDevice>("devices/d1/modules/$edgeHub/messages/events/%24.on=out");
        same::<FromDevice>("$iothub/twin/GET/?$rid=0f8fad5b-d9cb-469f-a165-70867728950e");
        same::<FromDevice>("$iothub/twin/PATCH/properties/reported/?$rid=2");
        same::<FromDevice>("$iothub/methods/res/-200/?$rid=3");
        same::<ToDevice>("devices/d1/messages/devicebound/%24.to=%2Fdevices%2Fd1%2Fmessages%2Fdevicebound");
        same::<ToDevice>("devices/d1/modules/m1/inputs/in/a=b");
        same::<ToDevice>("$iothub/twin/res/200/?$rid=1");
        same::<ToDevice>("$iothub/twin/res/204/?$rid=1&$version=7");
        same::<ToDevice>("$iothub/twin/PATCH/properties/desired/?$version=4");
        same::<ToDevice>("$iothub/methods/POST/haGrant/?$rid=a1");
        for filter in [
            "devices/d1/messages/devicebound/#",
            "devices/d1/modules/m1/inputs/#",
            "$iothub/twin/res/#",
            "$iothub/twin/PATCH/properties/desired/#",
            "$iothub/methods/POST/#",
        ] {
            same::<Filter>(filter);
        }
    }

    #[test]
    fn foreign_topics_are_refused() {
        for bad in [
            "",
            "#",
            "devices//messages/events/",
            "devices/+/messages/events/",
            "$iothub/twin/GET/",
            "$iothub/twin/GET/?$rid=",
            "$iothub/methods/res/ok/?$rid=1",
            "other/topic",
        ] {
            assert!(bad.parse::<FromDevice>().is_err(), "{bad}");
        }
        for bad in ["#", "devices/d/messages/#", "devices/+/messages/devicebound/#", "$iothub/#"] {
            assert!(bad.parse::<Filter>().is_err(), "{bad}");
        }
        let event: FromDevice = "devices/d1/modules/m1/messages/events/".parse().unwrap();
        assert!(
            event.belongs_to("d1", Some("m1")) && !event.belongs_to("d1", None) && !event.belongs_to("d2", Some("m1"))
        );
    }

    #[test]
    fn the_query_is_read_loosely() {
        let parsed: ToDevice = "$iothub/twin/res/204/?$version=7&$rid=1&x".parse().unwrap();
        assert_eq!(parsed, ToDevice::TwinAnswer { status: 204, rid: RequestId::new("1").unwrap(), version: Some(7) });
        assert_eq!(parsed.filter(), Filter::TwinAnswers);
    }

    #[test]
    fn a_bag_may_end_in_slashes() {
        let parsed: FromDevice = "devices/d1/messages/events/a=1//".parse().unwrap();
        assert_eq!(parsed.to_string(), "devices/d1/messages/events/a=1");
        let parsed: FromDevice = "devices/d1/messages/events".parse().unwrap();
        assert_eq!(parsed.to_string(), "devices/d1/messages/events/");
    }
}
