//! Bulk changes to the registry: `POST /devices` (IoT Hub REST reference: bulk registry).

use serde::{Deserialize, Serialize};

use crate::identity::{Authentication, Capabilities, Status};
use crate::text::text_enum;
use crate::twin::TwinProperties;
use crate::{ETag, Map};

/// Most entries in one call. Each counts against the registry throttle.
pub const ENTRIES_MAX: usize = 100;

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportEntry {
    /// The device.
    pub id: String,
    /// The module, if the change is to a module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// For the modes that compare it.
    #[serde(rename = "eTag", alias = "etag", skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// What to do; `create` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import_mode: Option<ImportMode>,
    /// The new status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Free text beside the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// The new way to prove the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// For `updateTwinIfMatchETag`.
    #[serde(rename = "twinETag", alias = "twinEtag", skip_serializing_if = "Option::is_none")]
    pub twin_etag: Option<ETag>,
    /// The twin's tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Map>,
    /// The twin's properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<TwinProperties>,
    /// What the device is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// As in the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// As in the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

text_enum! {
    /// What to do with an entry; case does not matter.
    ImportMode {
        /// Create; fail if there.
        Create = "create",
        /// Update, whatever the etag.
        Update = "update",
        /// Update if the etag is still this.
        UpdateIfMatchETag = "updateIfMatchETag",
        /// Delete, whatever the etag.
        Delete = "delete",
        /// Delete if the etag is still this.
        DeleteIfMatchETag = "deleteIfMatchETag",
        /// Update the twin, whatever the etag.
        UpdateTwin = "updateTwin",
        /// Update the twin if its etag is still this.
        UpdateTwinIfMatchETag = "updateTwinIfMatchETag",
    }
}

/// The answer: 200 when all went well, 400 with the same shape when some did not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkResult {
    /// Whether all went well.
    pub is_successful: bool,
    /// What did not.
    #[serde(default)]
    pub errors: Vec<BulkError>,
    /// What did, with a word.
    #[serde(default)]
    pub warnings: Vec<BulkWarning>,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

/// An entry that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkError {
    /// The device.
    pub device_id: String,
    /// The name of an [`ErrorCode`](crate::ErrorCode).
    pub error_code: String,
    /// Free text.
    #[serde(default)]
    pub error_status: Option<String>,
    /// The module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// What was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

/// An entry that went well, with a word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkWarning {
    /// The device.
    pub device_id: String,
    /// What the word is about.
    pub warning_code: String,
    /// Free text.
    #[serde(default)]
    pub warning_status: Option<String>,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}
