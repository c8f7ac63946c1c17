//! Counts kept by the hub; both lag (IoT Hub REST reference: statistics).

use serde::{Deserialize, Serialize};

use crate::Map;

/// `GET /statistics/devices`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatistics {
    /// All devices.
    pub total_device_count: i64,
    /// Those that may connect.
    pub enabled_device_count: i64,
    /// Those that may not.
    pub disabled_device_count: i64,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

/// `GET /statistics/service`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatistics {
    /// Devices connected.
    pub connected_device_count: i64,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}
