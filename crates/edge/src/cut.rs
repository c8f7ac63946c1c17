use serde::{Deserialize, Serialize};

/// What is wrong with the line from the device to the cloud.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// Nothing.
    #[default]
    None,
    /// A black hole: connections stay, bytes go nowhere, new connections hang. Healed in time, all bytes arrive.
    Silent,
    /// Connections end, and new ones are refused.
    Refused,
}
