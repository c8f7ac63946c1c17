//! What the hub's size and its settings allow. They may change while it runs.

use jiff::SignedDuration;

use super::{Hub, Key};

/// Bounds that are not the same for every hub; the default is a hub of size S1 that nobody has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Configurations and deployments together.
    pub configurations_max: usize,
    /// Jobs that wait, are scheduled or run.
    pub jobs_active_max: usize,
    /// How long a cloud-to-device message waits unless it says otherwise.
    pub message_ttl: SignedDuration,
    /// How often a cloud-to-device message is delivered before it is dropped.
    pub message_deliveries_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            configurations_max: 100,
            jobs_active_max: 1,
            message_ttl: SignedDuration::from_hours(1),
            message_deliveries_max: 10,
        }
    }
}

impl Hub {
    /// Goes by other bounds from here on. What is beyond them already stays.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// A key that nobody knows.
    pub fn fresh_key(&mut self) -> Key {
        self.dice.key()
    }
}
