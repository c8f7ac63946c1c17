//! The IoT Edge workload API, as a module sees it on its socket (iotedge: workload API).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{Map, percent_encode};

/// An api-version that every supported daemon answers.
pub const API_VERSION: &str = "2019-01-30";

/// Path and query of `sign`: a module can sign only as itself.
pub fn sign_path(module: &str, generation: &str) -> String {
    let (module, generation) = (percent_encode(module), percent_encode(generation));
    format!("/modules/{module}/genid/{generation}/sign?api-version={API_VERSION}")
}

/// Path and query of the trust bundle.
pub fn trust_bundle_path() -> String {
    format!("/trust-bundle?api-version={API_VERSION}")
}

/// Path and query of the module list, open to every module.
pub fn modules_path() -> String {
    format!("/modules?api-version={API_VERSION}")
}

/// Asks for a signature with the module's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignRequest {
    /// `primary`. Older daemons insist on it.
    pub key_id: String,
    /// `HMACSHA256`. Older daemons insist on it.
    pub algo: String,
    /// Base64 of what to sign.
    pub data: String,
}

impl SignRequest {
    /// Asks to sign `data`, such as [`Unsigned::string_to_sign`](crate::sas::Unsigned::string_to_sign).
    pub fn new(data: &[u8]) -> Self {
        SignRequest { key_id: "primary".to_owned(), algo: "HMACSHA256".to_owned(), data: STANDARD.encode(data) }
    }

    /// What to sign, where it is base64.
    pub fn decoded(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.data).ok()
    }
}

/// The signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignAnswer {
    /// Base64; goes as it is into [`Unsigned::assemble`](crate::sas::Unsigned::assemble).
    pub digest: String,
}

/// The certificates to trust for edgeHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustBundle {
    /// PEM.
    pub certificate: String,
}

/// What runs on the device.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModuleList {
    /// The modules.
    #[serde(default)]
    pub modules: Vec<WorkloadModule>,
}

/// A module on the device, as its daemon sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadModule {
    /// An id of the daemon's.
    #[serde(default)]
    pub id: Option<String>,
    /// The module's name.
    pub name: String,
    /// `docker`.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// Its configuration, with the environment emptied.
    #[serde(default)]
    pub config: Map,
    /// Whether it runs.
    #[serde(default)]
    pub status: ModuleStatus,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

/// Whether a module runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleStatus {
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// How it last ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<ExitStatus>,
    /// Its state.
    #[serde(default)]
    pub runtime_status: RuntimeStatus,
}

/// How a module ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitStatus {
    /// When.
    pub exit_time: String,
    /// With which code.
    pub status_code: String,
}

/// The state of a module.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RuntimeStatus {
    /// `running`, `stopped`, `failed`, …
    #[serde(default)]
    pub status: String,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The daemon's error body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadError {
    /// What went wrong.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_request_carries_all_three_fields() {
        let request = SignRequest::new(b"sr\n1");
        let body = serde_json::to_string(&request).unwrap();
        assert_eq!(body, r#"{"keyId":"primary","algo":"HMACSHA256","data":"c3IKMQ=="}"#);
        assert_eq!(request.decoded().unwrap(), b"sr\n1");
        assert_eq!(sign_path("$edgeHub", "1"), "/modules/%24edgeHub/genid/1/sign?api-version=2019-01-30");
    }

    #[test]
    fn reads_a_module_list() {
        let text = r#"{"modules":[{"id":"x","name":"advice","type":"docker","config":{"settings":{},"env":[]},
            "status":{"startTime":"t","runtimeStatus":{"status":"running","description":"d"}}}]}"#;
        let list: ModuleList = serde_json::from_str(text).unwrap();
        assert_eq!(list.modules[0].status.runtime_status.status, "running");
    }
}
