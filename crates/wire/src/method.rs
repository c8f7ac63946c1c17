//! Direct methods (IoT Hub REST reference: invoke device method; Microsoft docs: understand direct methods).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// Shortest time a caller may give the device to answer.
pub const RESPONSE_TIMEOUT_S_MIN: u32 = 5;
/// Longest time a caller may give the device to answer.
pub const RESPONSE_TIMEOUT_S_MAX: u32 = 300;
/// Used where the caller names none.
pub const RESPONSE_TIMEOUT_S_DEFAULT: u32 = 30;
/// Longest time the hub waits for an absent device to connect; 0 (the default) means not at all.
pub const CONNECT_TIMEOUT_S_MAX: u32 = 300;
/// Largest payload, each way.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// Longest method name.
pub const NAME_LENGTH_MAX: usize = 100;

/// A method call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodRequest {
    /// The method's name.
    pub method_name: String,
    /// Any JSON.
    #[serde(default)]
    pub payload: Value,
    /// How long the device may take; see [`RESPONSE_TIMEOUT_S_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_timeout_in_seconds: Option<u32>,
    /// How long the hub waits for an absent device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout_in_seconds: Option<u32>,
}

impl MethodRequest {
    /// A call with the default time-outs.
    pub fn new(method_name: impl Into<String>, payload: Value) -> Self {
        let method_name = method_name.into();
        MethodRequest { method_name, payload, response_timeout_in_seconds: None, connect_timeout_in_seconds: None }
    }

    /// The same with a response time-out, 5 to 300 s.
    pub fn response_timeout_s(mut self, seconds: u32) -> Self {
        self.response_timeout_in_seconds = Some(seconds);
        self
    }

    /// The same with a connect time-out, 0 to 300 s, not above the response time-out.
    pub fn connect_timeout_s(mut self, seconds: u32) -> Self {
        self.connect_timeout_in_seconds = Some(seconds);
        self
    }

    /// The longest the hub may hold this call.
    pub fn held_s_max(&self) -> u32 {
        let response = self.response_timeout_in_seconds.unwrap_or(RESPONSE_TIMEOUT_S_DEFAULT);
        response.saturating_add(self.connect_timeout_in_seconds.unwrap_or(0))
    }

    /// Checks name, time-outs and size against IoT Hub's limits.
    pub fn validate(&self) -> Result<(), Error> {
        let response = self.response_timeout_in_seconds.unwrap_or(RESPONSE_TIMEOUT_S_DEFAULT);
        let connect = self.connect_timeout_in_seconds.unwrap_or(0);
        let refuse = |reason: String| Err(Error::Method(reason));
        if !is_name(&self.method_name) {
            return refuse(
                "the name must be 1 to 100 printable ASCII characters without $()<>@,;:\\\"/[]?={} or blanks".into(),
            );
        }
        if !(RESPONSE_TIMEOUT_S_MIN..=RESPONSE_TIMEOUT_S_MAX).contains(&response) {
            return refuse(format!(
                "the response time-out is {response} s, not {RESPONSE_TIMEOUT_S_MIN} to {RESPONSE_TIMEOUT_S_MAX}"
            ));
        }
        if connect > CONNECT_TIMEOUT_S_MAX || connect > response {
            return refuse(format!(
                "the connect time-out is {connect} s, above {CONNECT_TIMEOUT_S_MAX} or the response time-out"
            ));
        }
        let bytes = serde_json::to_vec(&self.payload).map_or(usize::MAX, |body| body.len());
        if bytes > PAYLOAD_BYTES_MAX {
            return refuse(format!("the payload has {bytes} bytes, above {PAYLOAD_BYTES_MAX}"));
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_graphic() && !b"$()<>@,;:\\\"/[]?={}".contains(&b);
    (1..=NAME_LENGTH_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// A device's answer to a method call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodAnswer {
    /// The device's own status; 200 by custom for success.
    pub status: i32,
    /// Any JSON, or `null`.
    #[serde(default)]
    pub payload: Value,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_are_checked() {
        let call = || MethodRequest::new("haGrant", json!({}));
        assert!(call().validate().is_ok());
        assert!(call().response_timeout_s(5).connect_timeout_s(5).validate().is_ok());
        assert!(call().response_timeout_s(4).validate().is_err());
        assert!(call().response_timeout_s(301).validate().is_err());
        assert!(call().response_timeout_s(5).connect_timeout_s(6).validate().is_err());
        assert!(MethodRequest::new("a b", Value::Null).validate().is_err());
        assert!(MethodRequest::new("", Value::Null).validate().is_err());
        assert!(MethodRequest::new("x", json!("y".repeat(PAYLOAD_BYTES_MAX))).validate().is_err());
    }

    #[test]
    fn defaults_are_left_out() {
        let body = serde_json::to_value(MethodRequest::new("ping", Value::Null)).unwrap();
        assert_eq!(body, json!({"methodName": "ping", "payload": null}));
        let parsed: MethodRequest = serde_json::from_value(json!({"methodName": "ping"})).unwrap();
        assert_eq!((parsed.payload.clone(), parsed.held_s_max()), (Value::Null, 30));
    }
}
