/// A text or document that does not have the form it should have.
///
/// Nothing here is worth a retry: the same input fails again. No variant carries a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A connection string is malformed.
    #[error("connection string: {0}")]
    ConnectionString(String),
    /// A shared access key is not base64.
    #[error("shared access key is not valid base64")]
    Key(#[source] base64::DecodeError),
    /// A Shared Access Signature is malformed.
    #[error("shared access signature: {0}")]
    Sas(&'static str),
    /// An MQTT topic is none of those IoT Hub knows.
    #[error("topic is not one of IoT Hub's: {0:?}")]
    Topic(String),
    /// An MQTT client id or user name is malformed.
    #[error("MQTT {field}: {reason}")]
    Login {
        /// `client id` or `user name`.
        field: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// A percent-encoded text does not decode to UTF-8.
    #[error("percent-encoded text is not UTF-8")]
    Encoding,
    /// A time is not in the hub's form.
    #[error("not a time as IoT Hub writes it: {0:?}")]
    Timestamp(String),
    /// An `If-Match` or `ETag` header is malformed.
    #[error("not an entity tag: {0:?}")]
    ETag(String),
    /// A method call is outside IoT Hub's limits.
    #[error("method call: {0}")]
    Method(String),
    /// An id holds characters IoT Hub does not allow, or is too long.
    #[error("not a valid id: {0:?}")]
    Id(String),
}

/// At most this much of a hostile text goes into an error.
const SHOWN_CHARS_MAX: usize = 120;

pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}
