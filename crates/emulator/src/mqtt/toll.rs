//! Throttles of what devices publish.

use ha_wire::topics::FromDevice;

use crate::shell::Shell;
use crate::throttle::{Lane, Turn};

/// When a packet for this topic is carried out. Telemetry is never refused, only held up.
pub(super) fn turn(shell: &Shell, topic: &str) -> Turn {
    match topic.parse() {
        Ok(FromDevice::Event { .. }) => shell.gate.book(Lane::Telemetry, 1),
        Ok(FromDevice::GetTwin { .. }) => shell.gate.take(Lane::TwinReads, 1),
        Ok(FromDevice::PatchReported { .. }) => shell.gate.take(Lane::TwinWrites, 1),
        Ok(FromDevice::MethodAnswer { .. }) | Err(_) => Turn::Now,
    }
}

/// Whether it is billed, and so needs a day with messages left.
pub(super) fn is_metered(topic: &FromDevice) -> bool {
    matches!(topic, FromDevice::Event { .. } | FromDevice::GetTwin { .. } | FromDevice::PatchReported { .. })
}
