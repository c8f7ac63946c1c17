//! MQTT 3.1.1 as IoT Hub speaks it, over any stream.

mod claim;
mod flow;
mod machine;
mod opening;
mod pump;
mod session;
mod toll;

pub(crate) use session::{Caller, serve};

/// The longest silence the hub bears, whatever keep-alive was asked for.
const SILENCE_MAX_MS: u64 = 1_767_000;
/// A CONNECT must be complete within this.
const CONNECT_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
/// The longest packet after CONNECT: 256 KB of payload and its topic.
const PACKET_BYTES_MAX: u32 = 280_000;
/// Bytes that may be held back on the way in before reading stops.
const INBOX_BYTES_MAX: usize = 512 * 1024;
/// How long the last bytes may take.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(5);
