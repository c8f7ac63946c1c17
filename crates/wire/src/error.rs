//! The hub's error codes and the two bodies they come in (IoT Hub REST reference: common error codes; recorded traffic).
//!
//! The header `iothub-errorcode` is the dependable key. Form A (registry, twins, configurations) is
//! `{"Message":"ErrorCode:Name;text","ExceptionMessage":"Tracking ID:…"}`. Form B (methods) holds JSON in a string:
//! `{"Message":"{\"errorCode\":404103,…}","ExceptionMessage":""}`; its inner object also occurs bare.

use std::fmt;

use serde_json::{Value, json};

use crate::Timestamp;
use crate::invalid::shown;

/// The response header that names the error.
pub const HEADER: &str = "iothub-errorcode";

macro_rules! codes {
    ($($name:ident = $number:literal),+ $(,)?) => {
        /// An error code of the hub.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = concat!("`", stringify!($number), "`")] $name = $number,)+
        }

        impl ErrorCode {
            /// Every code known here.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name),+];

            /// The name, as the header carries it.
            pub fn name(self) -> &'static str {
                match self { $(ErrorCode::$name => stringify!($name),)+ }
            }

            /// The code with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(ErrorCode::$name),)+ _ => None }
            }

            /// The code with this number.
            pub fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(ErrorCode::$name),)+ _ => None }
            }
        }
    };
}

codes! {
    InvalidProtocolVersion = 400_001,
    InvalidOperation = 400_003,
    ArgumentInvalid = 400_004,
    ArgumentNull = 400_005,
    IotHubFormatError = 400_006,
    DeviceDefinedMultipleTimes = 400_011,
    BulkRegistryOperationFailure = 400_013,
    DefaultStorageEndpointNotConfigured = 400_014,
    InvalidFileUploadCorrelationId = 400_015,
    ExpiredFileUploadCorrelationId = 400_016,
    ConnectionForcefullyClosedOnNewConnection = 400_027,
    InvalidConfigurationTargetCondition = 400_401,
    InvalidConfigurationContent = 400_402,
    CannotModifyImmutableConfigurationContent = 400_403,
    InvalidConfigurationCustomMetricsQuery = 400_404,
    IotHubUnauthorizedAccess = 401_002,
    IotHubUnauthorized = 401_003,
    IotHubSuspended = 403_001,
    IotHubQuotaExceeded = 403_002,
    JobQuotaExceeded = 403_003,
    DeviceMaximumQueueDepthExceeded = 403_004,
    DeviceMaximumActiveFileUploadLimitExceeded = 403_006,
    DeviceDisabled = 403_012,
    DeviceMaximumInflightMethodExceeded = 403_800,
    DeviceNotFound = 404_001,
    JobNotFound = 404_002,
    ModuleNotFound = 404_010,
    DeviceNotOnline = 404_103,
    DeviceConnectionClosedRemotely = 404_104,
    ConfigurationNotFound = 404_301,
    GenericMethodNotAllowed = 405_000,
    OperationNotAllowedInCurrentState = 405_102,
    DeviceAlreadyExists = 409_001,
    LinkCreationConflict = 409_002,
    JobAlreadyExists = 409_007,
    ModuleAlreadyExistsOnDevice = 409_301,
    ConfigurationAlreadyExists = 409_401,
    ApplyConfigurationAlreadyInProgressOnDevice = 409_402,
    PreconditionFailed = 412_001,
    DeviceMessageLockLost = 412_002,
    MessageTooLarge = 413_001,
    TooManyDevices = 413_002,
    TooManyModulesOnDevice = 413_003,
    ConfigurationCountLimitExceeded = 413_101,
    GenericTooManyRequests = 429_000,
    ThrottlingException = 429_001,
    ThrottleBacklogLimitExceeded = 429_002,
    ThrottlingBacklogTimeout = 429_003,
    ThrottlingMaxActiveJobCountExceeded = 429_004,
    DeviceThrottlingLimitExceeded = 429_005,
    ServerError = 500_001,
    GenericTimeout = 500_008,
    ServiceUnavailable = 503_001,
    ServerBusy = 503_005,
    GatewayTimeout = 504_101,
}

impl ErrorCode {
    /// The number, as form B carries it.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The HTTP status it comes with: the first three digits.
    pub fn http_status(self) -> u16 {
        u16::try_from(self.number() / 1000).unwrap_or(500)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.number())
    }
}

/// A refusal of the hub, read from whichever form it came in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HubError {
    /// The code, where it is known here.
    pub code: Option<ErrorCode>,
    /// The code's name or number as it came, for codes not known here.
    pub code_text: Option<String>,
    /// The hub's words, shortened.
    pub message: String,
    /// What Microsoft's support asks for.
    pub tracking_id: Option<String>,
}

impl HubError {
    /// Reads a refusal from the `iothub-errorcode` header and the body, either of which may be missing or nonsense.
    pub fn decode(header: Option<&str>, body: &[u8]) -> Self {
        let mut found = Self::from_body(body);
        if let Some(name) = header.map(str::trim).filter(|name| !name.is_empty()) {
            found.code = ErrorCode::from_name(name).or(found.code);
            found.code_text = Some(shown(name));
        }
        found
    }

    fn from_body(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return HubError { message: shown(String::from_utf8_lossy(body).trim()), ..HubError::default() };
        };
        if body.get("errorCode").is_some() {
            return Self::from_inner(&body);
        }
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        let message = if text("Message").is_empty() { text("message") } else { text("Message") };
        match serde_json::from_str::<Value>(message) {
            Ok(inner) if inner.get("errorCode").is_some() => Self::from_inner(&inner),
            _ => Self::from_form_a(message, text("ExceptionMessage")),
        }
    }

    fn from_inner(inner: &Value) -> Self {
        let number = inner["errorCode"].as_u64().and_then(|number| u32::try_from(number).ok());
        let text = |key: &str| inner.get(key).and_then(Value::as_str);
        HubError {
            code: number.and_then(ErrorCode::from_number),
            code_text: number.map(|number| number.to_string()),
            message: shown(text("message").unwrap_or_default()),
            tracking_id: text("trackingId").map(shown),
        }
    }

    fn from_form_a(message: &str, exception: &str) -> Self {
        let (name, words) = match message.strip_prefix("ErrorCode:").map(|rest| rest.split_once(';')) {
            Some(Some((name, words))) => (Some(name), words),
            Some(None) => (message.strip_prefix("ErrorCode:"), ""),
            None => (None, message),
        };
        HubError {
            code: name.and_then(ErrorCode::from_name),
            code_text: name.map(shown),
            message: shown(words),
            tracking_id: exception.strip_prefix("Tracking ID:").map(shown),
        }
    }
}

/// The body of form A: registry, twins, configurations, query.
pub fn form_a(code: ErrorCode, message: &str, tracking_id: &str) -> Value {
    json!({
        "Message": format!("ErrorCode:{};{message}", code.name()),
        "ExceptionMessage": format!("Tracking ID:{tracking_id}"),
    })
}

/// The body of form B: methods.
pub fn form_b(code: ErrorCode, message: &str, tracking_id: &str, info: &Value, at: Timestamp) -> Value {
    let inner = json!({
        "errorCode": code.number(),
        "trackingId": tracking_id,
        "message": message,
        "info": info,
        "timestampUtc": at,
    });
    json!({ "Message": inner.to_string(), "ExceptionMessage": "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_statuses_agree() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.name()), Some(*code));
            assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
            assert!((400..600).contains(&code.http_status()));
        }
        assert_eq!(ErrorCode::DeviceNotOnline.to_string(), "DeviceNotOnline (404103)");
        assert_eq!(ErrorCode::PreconditionFailed.http_status(), 412);
    }

    #[test]
    fn both_forms_survive() {
        let a = form_a(ErrorCode::DeviceNotFound, "edge-a", "0123-G:13-TimeStamp:09/01/2020 20:58:39");
        let read = HubError::decode(Some("DeviceNotFound"), a.to_string().as_bytes());
        assert_eq!(read.code, Some(ErrorCode::DeviceNotFound));
        assert_eq!((read.message.as_str(), read.tracking_id.unwrap().len()), ("edge-a", 39));
        let b =
            form_b(ErrorCode::DeviceNotOnline, "Timed out", "id", &json!({"timeout": "00:00:00"}), Timestamp::NEVER);
        let read = HubError::decode(None, b.to_string().as_bytes());
        assert_eq!((read.code, read.message.as_str()), (Some(ErrorCode::DeviceNotOnline), "Timed out"));
        assert_eq!(read.tracking_id.as_deref(), Some("id"));
        let bare = HubError::decode(None, br#"{"errorCode":409301,"message":"there"}"#);
        assert_eq!(bare.code, Some(ErrorCode::ModuleAlreadyExistsOnDevice));
    }

    #[test]
    fn nonsense_is_kept_short() {
        let read = HubError::decode(Some("NewCode"), &vec![b'x'; 10_000]);
        assert_eq!((read.code, read.code_text.as_deref()), (None, Some("NewCode")));
        assert!(read.message.len() <= 120);
        assert_eq!(HubError::decode(None, b""), HubError::default());
        let odd = HubError::decode(None, br#"{"errorCode":-5,"message":7}"#);
        assert_eq!(odd.code, None);
    }
}
