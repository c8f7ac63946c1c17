//! MQTT 3.1.1 as IoT Hub speaks it, over any stream.

mod claim;
mod flow;
mod machine;
mod pump;
mod session;
mod storm;
mod toll;

pub(crate) use machine::MESSAGE_BYTES_MAX;
pub(crate) use session::{Caller, serve};
pub(crate) use storm::StormGuard;

/// The longest silence the hub bears, whatever keep-alive was asked for.
const SILENCE_MAX_MS: u64 = 1_767_000;
/// The longest packet after CONNECT: 256 KB of payload and its topic.
const PACKET_BYTES_MAX: u32 = 280_000;
/// Bytes that may be held back on the way in before reading stops.
const INBOX_BYTES_MAX: usize = 512 * 1024;
/// How long the last bytes may take.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(5);
