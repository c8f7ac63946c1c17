//! Device and module identities of the registry (IoT Hub REST reference: Device, Module).

use serde::{Deserialize, Serialize};

use crate::invalid::shown;
use crate::text::text_enum;
use crate::{ETag, Error, Map, Secret, Timestamp};

/// A device identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// The device's name; case-sensitive.
    pub device_id: String,
    /// New after delete and re-create under the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation_id: Option<String>,
    /// Moves with each write to the identity; not with connects or telemetry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// Always `Disconnected` for an IoT Edge device; lags minutes elsewhere. Not to be relied on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<ConnectionState>,
    /// Whether the device may connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Free text beside the status.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// When the connection state last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_state_updated_time: Option<Timestamp>,
    /// When the status last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_updated_time: Option<Timestamp>,
    /// When the device last connected, sent or received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<Timestamp>,
    /// Cloud-to-device messages waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_message_count: Option<i64>,
    /// How the device proves itself. Left out of a full update, the hub mints new keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// What the device is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// An edge device's own scope, or the parent's for a leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// Scopes of the parents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

impl Device {
    /// A device to be created: enabled, keys made by the hub.
    pub fn new(device_id: impl Into<String>) -> Self {
        Device {
            device_id: device_id.into(),
            generation_id: None,
            etag: None,
            connection_state: None,
            status: None,
            status_reason: None,
            connection_state_updated_time: None,
            status_updated_time: None,
            last_activity_time: None,
            cloud_to_device_message_count: None,
            authentication: None,
            capabilities: None,
            device_scope: None,
            parent_scopes: None,
            other: Map::new(),
        }
    }

    /// Whether it is an IoT Edge device.
    pub fn is_edge(&self) -> bool {
        self.capabilities.as_ref().is_some_and(|capabilities| capabilities.iot_edge)
    }

    /// Whether it may connect; a hub that leaves the status out means yes.
    pub fn is_enabled(&self) -> bool {
        self.status.as_ref().is_none_or(|status| *status == Status::Enabled)
    }
}

/// A module identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Module {
    /// The module's name.
    pub module_id: String,
    /// `iotEdge` for modules of a deployment; a `PUT` without it clears it.
    #[serde(default)]
    pub managed_by: Option<String>,
    /// The device.
    pub device_id: String,
    /// New after delete and re-create under the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation_id: Option<String>,
    /// Moves with each write to the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// Useful for `$edgeHub`; always `Disconnected` for `$edgeAgent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<ConnectionState>,
    /// When the connection state last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_state_updated_time: Option<Timestamp>,
    /// When the module last connected, sent or received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<Timestamp>,
    /// Cloud-to-device messages waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_message_count: Option<i64>,
    /// How the module proves itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

impl Module {
    /// A module to be created, keys made by the hub.
    pub fn new(device_id: impl Into<String>, module_id: impl Into<String>) -> Self {
        Module {
            module_id: module_id.into(),
            managed_by: None,
            device_id: device_id.into(),
            generation_id: None,
            etag: None,
            connection_state: None,
            connection_state_updated_time: None,
            last_activity_time: None,
            cloud_to_device_message_count: None,
            authentication: None,
            other: Map::new(),
        }
    }
}

text_enum! {
    /// Whether an identity is connected, by the hub's lagging account.
    ConnectionState {
        /// Connected, some minutes ago at least.
        Connected = "Connected",
        /// Not connected; also what every edge device says for ever.
        Disconnected = "Disconnected",
    }
}

text_enum! {
    /// Whether a device may connect.
    Status {
        /// It may.
        Enabled = "enabled",
        /// It may not.
        Disabled = "disabled",
    }
}

text_enum! {
    /// The ways to prove an identity.
    AuthenticationType {
        /// Shared access keys.
        Sas = "sas",
        /// A certificate known by its thumbprint.
        SelfSigned = "selfSigned",
        /// A certificate signed by an authority the hub knows.
        CertificateAuthority = "certificateAuthority",
        /// Modules of an edge device that have no keys of their own.
        None = "none",
    }
}

/// How an identity proves itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// Shared access keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<SymmetricKey>,
    /// Certificate thumbprints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x509_thumbprint: Option<X509Thumbprint>,
    /// Which of them counts; `sas` if left out.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<AuthenticationType>,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

impl Authentication {
    /// Shared access keys, both given, in base64.
    pub fn sas(primary: Secret, secondary: Secret) -> Self {
        let symmetric_key = Some(SymmetricKey { primary_key: Some(primary), secondary_key: Some(secondary) });
        Authentication { symmetric_key, kind: Some(AuthenticationType::Sas), ..Authentication::default() }
    }
}

/// A pair of shared access keys. An empty one counts as absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymmetricKey {
    /// The key in use.
    #[serde(default)]
    pub primary_key: Option<Secret>,
    /// The other key, for rotation.
    #[serde(default)]
    pub secondary_key: Option<Secret>,
}

impl SymmetricKey {
    /// The primary key, unless absent or empty.
    pub fn primary(&self) -> Option<&Secret> {
        self.primary_key.as_ref().filter(|key| !key.is_empty())
    }

    /// The secondary key, unless absent or empty.
    pub fn secondary(&self) -> Option<&Secret> {
        self.secondary_key.as_ref().filter(|key| !key.is_empty())
    }
}

/// A pair of certificate thumbprints, bare hex.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct X509Thumbprint {
    /// The certificate in use.
    #[serde(default)]
    pub primary_thumbprint: Option<String>,
    /// The other certificate, for rotation.
    #[serde(default)]
    pub secondary_thumbprint: Option<String>,
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Whether it is an IoT Edge device.
    #[serde(default)]
    pub iot_edge: bool,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub other: Map,
}

/// Longest device or module id.
pub const ID_LENGTH_MAX: usize = 128;

/// Checks a device or module id: 1 to 128 ASCII letters, digits and `- : . + % _ # * ? ! ( ) , = @ ; $ '`.
pub fn check_id(id: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-:.+%_#*?!(),=@;$'".contains(&b);
    if id.is_empty() || id.len() > ID_LENGTH_MAX || !id.bytes().all(allowed) {
        return Err(Error::Id(shown(id)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_and_values_survive() {
        let body = json!({"deviceId": "d", "status": "quarantined", "statusReason": null, "new": {"a": [1]},
            "authentication": {"type": "sas", "symmetricKey": {"primaryKey": "", "secondaryKey": "c2VjcmV0"}, "more": 1}});
        let device: Device = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(device.status, Some(Status::Other("quarantined".into())));
        assert!(!device.is_enabled());
        let keys = device.authentication.as_ref().unwrap().symmetric_key.as_ref().unwrap();
        assert!(keys.primary().is_none() && keys.secondary().is_some());
        assert_eq!(serde_json::to_value(&device).unwrap(), body);
        assert!(!format!("{device:?}").contains("c2Vj"), "keys are redacted");
    }

    #[test]
    fn a_name_is_enough_to_create() {
        assert_eq!(serde_json::to_value(Device::new("d")).unwrap(), json!({"deviceId": "d", "statusReason": null}));
        assert!(check_id("edge-a:1.$'").is_ok());
        for bad in ["", "a/b", "a b", "é", &"x".repeat(129)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }
}
