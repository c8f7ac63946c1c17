use std::time::Duration;

use ha_core::time::Millis;
use serde_json::{Map, Value};

/// What the controller may set in the twin: intervals alone, so that nobody who can write a twin can run commands.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TwinSettings {
    /// In place of the interval of every probe.
    pub probe_interval: Option<Duration>,
    /// How long a stopping agent waits to be relieved.
    pub leave_grace: Option<Millis>,
}

impl TwinSettings {
    /// Reads what it knows; the rest comes back by name, for the log.
    pub fn read(settings: &Map<String, Value>) -> (Self, Vec<String>) {
        let mut read = Self::default();
        let mut ignored = Vec::new();
        for (name, value) in settings {
            match (name.as_str(), value.as_u64()) {
                ("probe_interval_ms", Some(ms @ 100..=600_000)) => {
                    read.probe_interval = Some(Duration::from_millis(ms));
                }
                ("leave_grace_ms", Some(ms @ 0..=600_000)) => read.leave_grace = Some(Millis(ms)),
                _ => ignored.push(name.chars().take(64).collect()),
            }
        }
        (read, ignored)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_intervals_within_reason_are_taken_from_the_twin() {
        let settings = json!({"probe_interval_ms": 500, "leave_grace_ms": -1, "command": ["rm"], "stop_ms": 5});
        let (read, ignored) = TwinSettings::read(settings.as_object().unwrap());
        assert_eq!(read, TwinSettings { probe_interval: Some(Duration::from_millis(500)), leave_grace: None });
        assert_eq!(ignored, ["leave_grace_ms", "command", "stop_ms"]);
    }
}
