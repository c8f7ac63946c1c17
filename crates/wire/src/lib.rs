//! What IoT Hub says and hears: REST bodies, twins, MQTT topics, Shared Access Signatures, connection strings.
//!
//! Encode and decode only. This crate opens no socket and reads no clock (times are handed in), and it knows nothing of
//! pools, leases or terms. A client and an emulator both stand on it: what one formats, the other parses. Input from
//! outside never panics; fields this crate does not know survive a round trip.
#![warn(missing_docs)]

pub mod bulk;
pub mod configuration;
pub mod connect;
pub mod connection_string;
pub mod error;
pub mod etag;
pub mod event_grid;
pub mod identity;
mod invalid;
pub mod method;
pub mod properties;
pub mod query;
pub mod sas;
pub mod statistics;
mod text;
pub mod timestamp;
pub mod topics;
pub mod twin;
pub mod workload;

pub use connection_string::ConnectionString;
pub use error::{ErrorCode, HubError};
pub use etag::{ETag, IfMatch};
pub use identity::{Device, Module};
pub use invalid::Error;
pub use properties::Properties;
pub use sas::SharedAccessKey;
pub use text::{Secret, percent_decode, percent_encode};
pub use timestamp::Timestamp;
pub use twin::Twin;

/// A JSON object, as twins and unknown fields are kept.
pub type Map = serde_json::Map<String, serde_json::Value>;

/// The api-version of the IoT Hub service REST API that these types describe.
pub const API_VERSION: &str = "2021-04-12";
