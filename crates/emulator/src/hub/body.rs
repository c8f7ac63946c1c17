//! Bodies of identity writes, read loosely: fields that only the hub may set are ignored.

use serde::Deserialize;

use super::identity::{Authentication, Key};
use super::refusal::Refusal;

/// `PUT /devices/{id}`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceBody {
    pub(super) device_id: Option<String>,
    pub(super) status: Option<String>,
    pub(super) status_reason: Option<String>,
    pub(super) authentication: Option<AuthenticationBody>,
    pub(super) capabilities: Option<Capabilities>,
    pub(super) device_scope: Option<String>,
    pub(super) parent_scopes: Option<Vec<String>>,
}

/// `PUT /devices/{id}/modules/{mid}`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleBody {
    pub(super) module_id: Option<String>,
    pub(super) device_id: Option<String>,
    pub(super) managed_by: Option<String>,
    pub(super) authentication: Option<AuthenticationBody>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Capabilities {
    #[serde(default)]
    pub(super) iot_edge: bool,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthenticationBody {
    #[serde(rename = "type")]
    kind: Option<String>,
    symmetric_key: Option<SymmetricKey>,
    x509_thumbprint: Option<Thumbprint>,
}

impl std::fmt::Debug for AuthenticationBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthenticationBody").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SymmetricKey {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thumbprint {
    primary_thumbprint: Option<String>,
    secondary_thumbprint: Option<String>,
}

impl DeviceBody {
    /// Reads the body; an empty one asks for a device with nothing but defaults.
    pub fn read(body: serde_json::Value) -> Result<Self, Refusal> {
        serde_json::from_value(body).map_err(|e| Refusal::argument(e.to_string()))
    }

    pub(super) fn enabled(&self) -> Result<bool, Refusal> {
        enabled(self.status.as_deref())
    }

    pub(super) fn iot_edge(&self) -> bool {
        self.capabilities.as_ref().is_some_and(|c| c.iot_edge)
    }
}

impl ModuleBody {
    /// Reads the body.
    pub fn read(body: serde_json::Value) -> Result<Self, Refusal> {
        serde_json::from_value(body).map_err(|e| Refusal::argument(e.to_string()))
    }
}

pub(super) fn enabled(status: Option<&str>) -> Result<bool, Refusal> {
    match status {
        None => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("enabled") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("disabled") => Ok(false),
        Some(_) => Err(Refusal::argument("status is enabled or disabled")),
    }
}

impl AuthenticationBody {
    /// What is asked for; keys left out (or `""`) are made by `mint`.
    pub(super) fn resolve(body: Option<&Self>, mut mint: impl FnMut() -> Key) -> Result<Authentication, Refusal> {
        let default = Self::default();
        let body = body.unwrap_or(&default);
        let kind = body.kind.as_deref().unwrap_or("sas");
        if kind.eq_ignore_ascii_case("sas") {
            return body.sas(&mut mint);
        }
        if kind.eq_ignore_ascii_case("selfSigned") {
            return body.self_signed();
        }
        if kind.eq_ignore_ascii_case("certificateAuthority") {
            return Ok(Authentication::CertificateAuthority);
        }
        if kind.eq_ignore_ascii_case("none") {
            return Ok(Authentication::None);
        }
        Err(Refusal::argument("unknown authentication type"))
    }

    fn sas(&self, mint: &mut impl FnMut() -> Key) -> Result<Authentication, Refusal> {
        let keys = self.symmetric_key.clone().unwrap_or_default();
        let given = |key: Option<String>| key.filter(|k| !k.is_empty());
        match (given(keys.primary_key), given(keys.secondary_key)) {
            (None, None) => Ok(Authentication::Sas { primary: mint(), secondary: mint() }),
            (Some(primary), Some(secondary)) => {
                Ok(Authentication::Sas { primary: key(&primary)?, secondary: key(&secondary)? })
            }
            _ => Err(Refusal::argument("give both keys or neither")),
        }
    }

    fn self_signed(&self) -> Result<Authentication, Refusal> {
        let thumbprint = self.x509_thumbprint.clone().unwrap_or_default();
        let hex = |text: &Option<String>| text.as_ref().is_none_or(|t| t.chars().all(|c| c.is_ascii_hexdigit()));
        if !hex(&thumbprint.primary_thumbprint) || !hex(&thumbprint.secondary_thumbprint) {
            return Err(Refusal::argument("a thumbprint is bare hexadecimal"));
        }
        Ok(Authentication::SelfSigned {
            primary: thumbprint.primary_thumbprint,
            secondary: thumbprint.secondary_thumbprint,
        })
    }
}

fn key(text: &str) -> Result<Key, Refusal> {
    Key::parse(text).ok_or_else(|| Refusal::argument("a key is base64 of 16 to 64 bytes"))
}
