//! Devices and modules as the registry keeps and shows them.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::c2d::Queue;
use super::time::print_or_never;
use super::twin::Twin;

/// A device, or a module of a device.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id {
    /// The device.
    pub device: String,
    /// The module, or `None` for the device itself.
    pub module: Option<String>,
}

impl Id {
    /// The device itself.
    pub fn device(device: impl Into<String>) -> Self {
        Self { device: device.into(), module: None }
    }

    /// A module of the device.
    pub fn module(device: impl Into<String>, module: impl Into<String>) -> Self {
        Self { device: device.into(), module: Some(module.into()) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            None => f.write_str(&self.device),
            Some(module) => write!(f, "{}/{module}", self.device),
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A shared access key in base64. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// Takes base64 of 16 to 64 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        (16..=64).contains(&bytes.len()).then(|| Self(text.to_owned()))
    }

    /// A key made of these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(STANDARD.encode(bytes))
    }

    /// The base64 text, for connection strings and answers of the registry.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// How an identity proves itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Authentication {
    /// Shared access signatures.
    Sas {
        /// Tried first.
        primary: Key,
        /// Tried second.
        secondary: Key,
    },
    /// Thumbprints of certificates, self-signed or not.
    SelfSigned {
        /// Bare hex.
        primary: Option<String>,
        /// Bare hex.
        secondary: Option<String>,
    },
    /// Certificates of an authority that the hub knows, made out to the identity.
    CertificateAuthority,
    /// Nothing: the modules of the edge runtime before it sets keys.
    None,
}

impl Authentication {
    /// The `type` that the API shows.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sas { .. } => "sas",
            Self::SelfSigned { .. } => "selfSigned",
            Self::CertificateAuthority => "certificateAuthority",
            Self::None => "none",
        }
    }

    /// The keys a token may be signed with.
    pub fn keys(&self) -> Vec<&Key> {
        match self {
            Self::Sas { primary, secondary } => vec![primary, secondary],
            _ => Vec::new(),
        }
    }

    /// The thumbprints a certificate may have: SHA-1 or SHA-256, in hex.
    pub fn thumbprint_list(&self) -> Vec<&str> {
        match self {
            Self::SelfSigned { primary, secondary } => {
                [primary, secondary].into_iter().flatten().map(String::as_str).collect()
            }
            _ => Vec::new(),
        }
    }

    /// `x509Thumbprint` as identities and twins show it.
    pub fn thumbprints(&self) -> Value {
        match self {
            Self::SelfSigned { primary, secondary } => {
                json!({"primaryThumbprint": primary, "secondaryThumbprint": secondary})
            }
            _ => json!({"primaryThumbprint": null, "secondaryThumbprint": null}),
        }
    }

    fn show(&self) -> Value {
        let (primary, secondary) = match self {
            Self::Sas { primary, secondary } => (Some(primary.reveal()), Some(secondary.reveal())),
            _ => (None, None),
        };
        json!({
            "symmetricKey": {"primaryKey": primary, "secondaryKey": secondary},
            "x509Thumbprint": self.thumbprints(),
            "type": self.kind(),
        })
    }
}

/// What the registry shows of a connection.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Presence {
    /// Never loaded as true: no connection survives the process.
    #[serde(skip)]
    pub connected: bool,
    /// Last change of `connected`.
    pub updated: Option<Timestamp>,
    /// Last traffic on a messaging path.
    pub last_activity: Option<Timestamp>,
}

impl Presence {
    /// `Connected` or `Disconnected`.
    pub(super) fn state(&self) -> &'static str {
        if self.connected { "Connected" } else { "Disconnected" }
    }
}

/// A device of the registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Device {
    /// Decimal ticks at creation.
    pub generation_id: String,
    /// Counter behind the etag.
    pub etag: u64,
    /// Disabled devices and their modules cannot connect.
    pub enabled: bool,
    /// Free text beside the status.
    pub status_reason: Option<String>,
    /// Last change of the status.
    pub status_updated: Option<Timestamp>,
    /// Connection state.
    pub presence: Presence,
    /// Credentials.
    pub authentication: Authentication,
    /// `capabilities.iotEdge`
    pub iot_edge: bool,
    /// An edge device's own scope, or a leaf's parent.
    pub device_scope: Option<String>,
    /// Scopes of the parents.
    pub parent_scopes: Vec<String>,
    /// Messages that wait for it.
    #[serde(default, skip_serializing_if = "Queue::is_untouched")]
    pub mail: Queue,
    /// The twin.
    pub twin: Twin,
    /// Modules by id.
    pub modules: BTreeMap<String, Module>,
}

/// A module of a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Module {
    /// `iotEdge` for the runtime's own and for what a deployment made.
    pub managed_by: Option<String>,
    /// Decimal ticks at creation.
    pub generation_id: String,
    /// Counter behind the etag.
    pub etag: u64,
    /// Connection state.
    pub presence: Presence,
    /// Credentials.
    pub authentication: Authentication,
    /// The twin.
    pub twin: Twin,
}

/// An identity's etag: base64 of its counter in decimal.
pub(super) fn etag(counter: u64) -> String {
    STANDARD.encode(counter.to_string())
}

impl Device {
    /// `enabled` or `disabled`.
    pub(super) fn status(&self) -> &'static str {
        if self.enabled { "enabled" } else { "disabled" }
    }

    /// The identity as `/devices/{id}` shows it; the answer that creates it writes "never" and parents differently.
    pub(super) fn show(&self, id: &str, fresh: bool) -> Value {
        let mut out = json!({
            "deviceId": id,
            "generationId": self.generation_id,
            "etag": etag(self.etag),
            "connectionState": self.presence.state(),
            "status": self.status(),
            "statusReason": self.status_reason,
            "connectionStateUpdatedTime": print_or_never(self.presence.updated, fresh),
            "statusUpdatedTime": print_or_never(self.status_updated, fresh),
            "lastActivityTime": print_or_never(self.presence.last_activity, fresh),
            "cloudToDeviceMessageCount": self.mail.len(),
            "authentication": self.authentication.show(),
            "capabilities": {"iotEdge": self.iot_edge},
        });
        if let Some(scope) = &self.device_scope {
            out["deviceScope"] = json!(scope);
        }
        if fresh || !self.parent_scopes.is_empty() {
            out["parentScopes"] = json!(self.parent_scopes);
        }
        out
    }

    /// The twin as `/twins/{id}` shows it.
    pub(super) fn show_twin(&self, id: &str) -> Value {
        let facts = TwinFacts {
            etag: self.etag,
            presence: &self.presence,
            authentication: &self.authentication,
            iot_edge: Some(self.iot_edge),
            messages: self.mail.len(),
        };
        let mut out = show_twin(&json!({"deviceId": id}), self, &self.twin, &facts);
        if let Some(scope) = &self.device_scope {
            out["deviceScope"] = json!(scope);
        }
        if !self.parent_scopes.is_empty() {
            out["parentScopes"] = json!(self.parent_scopes);
        }
        out
    }
}

impl Module {
    /// The identity as `/devices/{id}/modules/{mid}` shows it.
    pub(super) fn show(&self, device: &str, id: &str, fresh: bool) -> Value {
        json!({
            "moduleId": id,
            "managedBy": self.managed_by,
            "deviceId": device,
            "generationId": self.generation_id,
            "etag": etag(self.etag),
            "connectionState": self.presence.state(),
            "connectionStateUpdatedTime": print_or_never(self.presence.updated, fresh),
            "lastActivityTime": print_or_never(self.presence.last_activity, fresh),
            "cloudToDeviceMessageCount": 0,
            "authentication": self.authentication.show(),
        })
    }

    /// The twin as `/twins/{id}/modules/{mid}` shows it.
    pub(super) fn show_twin(&self, device_id: &str, device: &Device, id: &str) -> Value {
        let facts = TwinFacts {
            etag: self.etag,
            presence: &self.presence,
            authentication: &self.authentication,
            iot_edge: None,
            messages: 0,
        };
        let head = json!({"deviceId": device_id, "moduleId": id});
        show_twin(&head, device, &self.twin, &facts)
    }
}

struct TwinFacts<'a> {
    etag: u64,
    presence: &'a Presence,
    authentication: &'a Authentication,
    iot_edge: Option<bool>,
    messages: usize,
}

fn show_twin(head: &Value, device: &Device, twin: &Twin, facts: &TwinFacts<'_>) -> Value {
    let mut out = head.clone();
    out["etag"] = json!(twin.etag());
    out["deviceEtag"] = json!(etag(facts.etag));
    out["status"] = json!(device.status());
    if let Some(reason) = &device.status_reason {
        out["statusReason"] = json!(reason);
    }
    out["statusUpdateTime"] = json!(print_or_never(device.status_updated, false));
    out["connectionState"] = json!(facts.presence.state());
    out["lastActivityTime"] = json!(print_or_never(facts.presence.last_activity, false));
    out["cloudToDeviceMessageCount"] = json!(facts.messages);
    out["authenticationType"] = json!(facts.authentication.kind());
    out["x509Thumbprint"] = facts.authentication.thumbprints();
    if let Some(model) = twin.model_id() {
        out["modelId"] = json!(model);
    }
    out["version"] = json!(twin.version());
    if let Some(tags) = twin.tags() {
        out["tags"] = tags;
    }
    if let Some(configurations) = twin.configurations() {
        out["configurations"] = configurations;
    }
    out["properties"] = twin.properties();
    if let Some(iot_edge) = facts.iot_edge {
        out["capabilities"] = json!({"iotEdge": iot_edge});
    }
    out
}
