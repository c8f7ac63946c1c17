//! Which leaf devices follow the holder of a pool.

use serde::Serialize;

/// IoT Hub lets a gateway have so many children.
pub const CHILDREN_MAX: usize = 100;

/// Which devices are children of whoever holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParentsConfig {
    /// These.
    Listed(Vec<String>),
    /// Whoever is a child of a member.
    Discovered,
}
