//! Streams that carry MQTT to a server: the first packet of any of them, and WebSockets made into byte streams.
//!
//! Whoever listens stands on it, the emulator and the IoT Edge stand-in alike. It judges no credentials and speaks no
//! MQTT beyond the length of CONNECT.
#![warn(missing_docs)]

mod opening;
mod websocket;

pub use opening::{Failure, read_first};
pub use websocket::upgrade;
