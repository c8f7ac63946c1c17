//! Automatic configurations and IoT Edge deployments (IoT Hub REST reference: Configuration).

use serde::{Deserialize, Serialize};

use crate::{ETag, Map, Timestamp};

/// A configuration; a deployment when its content has `modules_content`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// Its name, lower case.
    pub id: String,
    /// Version of the schema; the hub writes `null`.
    #[serde(default)]
    pub schema_version: Option<String>,
    /// Free labels.
    #[serde(default)]
    pub labels: Option<Map>,
    /// What it sets; fixed at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ConfigurationContent>,
    /// Which twins it is for: a query condition, `*`, or empty.
    #[serde(default)]
    pub target_condition: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_time_utc: Option<Timestamp>,
    /// When it was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated_time_utc: Option<Timestamp>,
    /// The higher one wins; at equal priority the newer.
    #[serde(default)]
    pub priority: i64,
    /// Counted by the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_metrics: Option<ConfigurationMetrics>,
    /// Counted for the author.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<ConfigurationMetrics>,
    /// Moves with each write; updates must quote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

impl Configuration {
    /// What it sets on the modules of edge devices, if it is a deployment.
    pub fn modules_content(&self) -> Option<&Map> {
        self.content.as_ref().and_then(|content| content.modules_content.as_ref())
    }
}

/// What a configuration sets; exactly one of the three is there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationContent {
    /// Desired properties of device twins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_content: Option<Map>,
    /// Desired properties of module twins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_content: Option<Map>,
    /// Desired properties of edge modules, by module id: a deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modules_content: Option<Map>,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

/// Queries and the numbers they gave at the last evaluation (every five minutes).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConfigurationMetrics {
    /// Numbers by name.
    #[serde(default)]
    pub results: Option<Map>,
    /// Queries by name.
    #[serde(default)]
    pub queries: Option<Map>,
}
