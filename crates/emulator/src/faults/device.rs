//! Faults on the link between the hub and one device with all its modules.

use serde::{Deserialize, Serialize};

/// What is wrong with a link.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceFault {
    /// A black hole: connections stay open, bytes in that direction go nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// Everything arrives so much later, in both directions, in order.
    #[serde(default)]
    pub delay_ms: u64,
    /// The fraction of method requests, method answers and desired-property notices that vanish.
    #[serde(default)]
    pub drop: f64,
    /// The hub has stopped for this device: connections open, and nothing happens on them, not even their end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
    /// Seed of the choice which ones.
    #[serde(default)]
    pub seed: u64,
}

/// The direction of a black hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// Neither direction.
    Both,
    /// What the hub sends is lost in the hole; what the device sends arrives.
    ToDevice,
    /// What the device sends is lost in the hole; what the hub sends arrives.
    FromDevice,
}

impl DeviceFault {
    /// A black hole and nothing else.
    pub fn cut(cut: Cut) -> Self {
        Self { cut: Some(cut), ..Self::default() }
    }

    /// Nothing reaches the device.
    pub fn cuts_to_device(&self) -> bool {
        self.frozen || matches!(self.cut, Some(Cut::Both | Cut::ToDevice))
    }

    /// Nothing arrives from the device.
    pub fn cuts_from_device(&self) -> bool {
        self.frozen || matches!(self.cut, Some(Cut::Both | Cut::FromDevice))
    }

    /// Why it cannot be put in force.
    pub fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.drop) {
            return Err("drop is a fraction between 0 and 1".into());
        }
        if self.delay_ms > 600_000 {
            return Err("delay_ms is at most 600000".into());
        }
        Ok(())
    }
}
