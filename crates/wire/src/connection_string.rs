//! Connection strings of services, devices and modules.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Secret, SharedAccessKey};

/// A connection string: `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…` for a service, with `DeviceId` (and
/// `ModuleId`) in place of the key name for a device or module.
///
/// Keys are case-sensitive, appear once and are split at their first `=`; unknown ones are refused, as the Python SDK
/// does. `Debug` hides the key; [`ConnectionString::expose`] writes the whole string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionString {
    host: String,
    port: Option<u16>,
    gateway_host: Option<String>,
    identity: Identity,
    credential: Credential,
}

/// Whom a connection string speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A back-end service using a hub policy (or a ready-made signature, when the policy is `None`).
    Service {
        /// `SharedAccessKeyName`.
        policy: Option<String>,
    },
    /// A device.
    Device {
        /// `DeviceId`.
        device: String,
    },
    /// A module of a device.
    Module {
        /// `DeviceId`.
        device: String,
        /// `ModuleId`.
        module: String,
    },
}

/// What a connection string proves its identity with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A key to sign with.
    Key(SharedAccessKey),
    /// A ready-made Shared Access Signature.
    Signature(Secret),
    /// A client certificate, kept elsewhere (`x509=true`).
    Certificate,
}

/// Far above any real one (the longest ids and keys give under 1 kB).
const LENGTH_MAX: usize = 4096;

impl ConnectionString {
    /// Puts a connection string together; `host` may carry a port. The pairing of identity and credential is checked.
    pub fn new(host: &str, identity: Identity, credential: Credential) -> Result<Self, Error> {
        let (host, port) = split_host(host)?;
        let service_certificate =
            matches!((&identity, &credential), (Identity::Service { .. }, Credential::Certificate));
        if service_certificate {
            return Err(bad("x509=true needs a DeviceId"));
        }
        if matches!((&identity, &credential), (Identity::Service { policy: None }, Credential::Key(_))) {
            return Err(bad("SharedAccessKey needs a SharedAccessKeyName or a DeviceId beside it"));
        }
        Ok(ConnectionString { host, port, gateway_host: None, identity, credential })
    }

    /// The hub's host name, without a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, where the host name carries one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The host as given, with its port: what goes into a token's `sr` and into a URL.
    pub fn host_and_port(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// `GatewayHostName`: where to connect instead of the hub. User name and `sr` still name the hub.
    pub fn gateway_host(&self) -> Option<&str> {
        self.gateway_host.as_deref()
    }

    /// The same with a `GatewayHostName`.
    pub fn with_gateway(mut self, gateway_host: impl Into<String>) -> Self {
        self.gateway_host = Some(gateway_host.into());
        self
    }

    /// Whom it speaks for.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// `DeviceId`, if it is a device's or module's.
    pub fn device_id(&self) -> Option<&str> {
        match &self.identity {
            Identity::Service { .. } => None,
            Identity::Device { device } | Identity::Module { device, .. } => Some(device),
        }
    }

    /// `ModuleId`, if it is a module's.
    pub fn module_id(&self) -> Option<&str> {
        match &self.identity {
            Identity::Module { module, .. } => Some(module),
            _ => None,
        }
    }

    /// `SharedAccessKeyName`, if it is a service's.
    pub fn policy(&self) -> Option<&str> {
        match &self.identity {
            Identity::Service { policy } => policy.as_deref(),
            _ => None,
        }
    }

    /// What it proves itself with.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The key, if it has one.
    pub fn key(&self) -> Option<&SharedAccessKey> {
        match &self.credential {
            Credential::Key(key) => Some(key),
            _ => None,
        }
    }

    /// The connection string itself, key and all. For a file or a pipe, never for a log.
    pub fn expose(&self) -> String {
        let mut parts = vec![format!("HostName={}", self.host_and_port())];
        match &self.identity {
            Identity::Service { policy: Some(policy) } => parts.push(format!("SharedAccessKeyName={policy}")),
            Identity::Service { policy: None } => {}
            Identity::Device { device } => parts.push(format!("DeviceId={device}")),
            Identity::Module { device, module } => parts.push(format!("DeviceId={device};ModuleId={module}")),
        }
        parts.extend(self.gateway_host.iter().map(|gateway| format!("GatewayHostName={gateway}")));
        parts.push(match &self.credential {
            Credential::Key(key) => format!("SharedAccessKey={}", key.expose()),
            Credential::Signature(token) => format!("SharedAccessSignature={}", token.expose()),
            Credential::Certificate => "x509=true".to_owned(),
        });
        parts.join(";")
    }
}

impl FromStr for ConnectionString {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = Parts::read(text.trim())?;
        let host = parts.host.take().ok_or_else(|| bad("HostName is missing"))?;
        let identity = match (parts.device.take(), parts.module.take(), parts.policy.take()) {
            (None, None, policy) => Identity::Service { policy },
            (Some(device), None, None) => Identity::Device { device },
            (Some(device), Some(module), None) => Identity::Module { device, module },
            (None, Some(_), _) => return Err(bad("ModuleId needs a DeviceId")),
            (Some(_), _, Some(_)) => return Err(bad("SharedAccessKeyName and DeviceId exclude each other")),
        };
        let credential = match (parts.key.take(), parts.signature.take(), parts.x509) {
            (Some(key), None, false) => Credential::Key(SharedAccessKey::from_base64(&key)?),
            (None, Some(token), false) => Credential::Signature(Secret::new(token)),
            (None, None, true) => Credential::Certificate,
            (None, None, false) => return Err(bad("SharedAccessKey is missing")),
            _ => return Err(bad("more than one of SharedAccessKey, SharedAccessSignature and x509")),
        };
        if parts.gateway.as_deref().is_some_and(|gateway| split_host(gateway).is_err()) {
            return Err(bad("GatewayHostName is not a host name"));
        }
        let mut parsed = ConnectionString::new(&host, identity, credential)?;
        parsed.gateway_host = parts.gateway;
        Ok(parsed)
    }
}

#[derive(Default)]
struct Parts {
    host: Option<String>,
    gateway: Option<String>,
    policy: Option<String>,
    key: Option<String>,
    signature: Option<String>,
    device: Option<String>,
    module: Option<String>,
    x509: bool,
}

impl Parts {
    fn read(text: &str) -> Result<Self, Error> {
        if text.len() > LENGTH_MAX {
            return Err(bad("it is longer than 4096 bytes"));
        }
        let mut parts = Parts::default();
        for part in text.split(';').filter(|part| !part.trim().is_empty()) {
            // The text of a part without `=` may be a key pasted alone, so it is not repeated.
            let (key, value) =
                part.split_once('=').ok_or_else(|| bad("a part has no `=` (want Key=Value;Key=Value)"))?;
            parts.take(key.trim(), value.trim())?;
        }
        Ok(parts)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let slot = match key {
            "HostName" => &mut self.host,
            "GatewayHostName" => &mut self.gateway,
            "SharedAccessKeyName" => &mut self.policy,
            "SharedAccessKey" => &mut self.key,
            "SharedAccessSignature" => &mut self.signature,
            "DeviceId" => &mut self.device,
            "ModuleId" => &mut self.module,
            "x509" if self.x509 => return Err(bad("x509 appears twice")),
            "x509" => {
                self.x509 = value.eq_ignore_ascii_case("true");
                return Ok(());
            }
            "Endpoint" | "EntityPath" => return Err(bad("this is an Event Hubs connection string, not IoT Hub's")),
            _ => {
                return Err(bad(
                    "unknown key (keys are case-sensitive: HostName, SharedAccessKeyName, SharedAccessKey, SharedAccessSignature, DeviceId, ModuleId, GatewayHostName, x509)",
                ));
            }
        };
        if value.is_empty() {
            return Err(Error::ConnectionString(format!("{key} is empty")));
        }
        // Names are shown in logs; a key that has slipped into one must not be.
        if !key.starts_with("SharedAccess") && value.contains("SharedAccess") {
            return Err(Error::ConnectionString(format!("a semicolon is missing after {key}")));
        }
        if slot.replace(value.to_owned()).is_some() {
            return Err(Error::ConnectionString(format!("{key} appears twice")));
        }
        Ok(())
    }
}

fn split_host(text: &str) -> Result<(String, Option<u16>), Error> {
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address in brackets may end in `]` or in `]:port`.
        Some((host, port)) if !port.ends_with(']') => {
            let port = port.parse().map_err(|_| bad("the port in HostName is not a number up to 65535"))?;
            (host, Some(port))
        }
        _ => (text, None),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    if host.is_empty() || !host.chars().all(allowed) || (host.contains(':') && !host.starts_with('[')) {
        return Err(bad("HostName is not a host name"));
    }
    Ok((host.to_owned(), port))
}

fn bad(reason: &str) -> Error {
    Error::ConnectionString(reason.to_owned())
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Service { policy } => write!(f, "policy {}", policy.as_deref().unwrap_or("(unnamed)")),
            Identity::Device { device } => write!(f, "device {device}"),
            Identity::Module { device, module } => write!(f, "module {device}/{module}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConnectionString, String> {
        text.parse().map_err(|error: Error| error.to_string())
    }

    #[test]
    fn reads_the_three_kinds() {
        let service =
            parse("HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=AAAA==").err();
        assert_eq!(service.as_deref(), Some("shared access key is not valid base64"));
        let service =
            parse("HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=a2V5LQ==").unwrap();
        assert_eq!(
            (service.host(), service.policy(), service.port()),
            ("h.azure-devices.net", Some("iothubowner"), None)
        );
        let module =
            parse("HostName=localhost:8443;DeviceId=d=1;ModuleId=$edgeHub;SharedAccessKey=a2V5LQ==;GatewayHostName=gw")
                .unwrap();
        assert_eq!((module.device_id(), module.module_id()), (Some("d=1"), Some("$edgeHub")));
        assert_eq!((module.host_and_port().as_str(), module.gateway_host()), ("localhost:8443", Some("gw")));
        assert!(matches!(parse("HostName=h;DeviceId=d;x509=true").unwrap().credential(), Credential::Certificate));
    }

    #[test]
    fn says_what_is_wrong_without_the_key() {
        let cases = [
            ("", "HostName is missing"),
            ("HostName=h", "SharedAccessKey is missing"),
            (
                "HostName=h;SharedAccessKey=a2V5LQ==",
                "SharedAccessKey needs a SharedAccessKeyName or a DeviceId beside it",
            ),
            ("HostName=h;ModuleId=m;SharedAccessKey=a2V5LQ==", "ModuleId needs a DeviceId"),
            ("HostName=h;HostName=h", "HostName appears twice"),
            (
                "HostName=h:99999;DeviceId=d;SharedAccessKey=a2V5LQ==",
                "the port in HostName is not a number up to 65535",
            ),
            ("HostName=a b;DeviceId=d;SharedAccessKey=a2V5LQ==", "HostName is not a host name"),
            ("Endpoint=sb://x;SharedAccessKey=a2V5LQ==", "this is an Event Hubs connection string, not IoT Hub's"),
            (
                "HostName=h;DeviceId=d;SharedAccessKey=a2V5LQ==;GatewayHostName=g=a2V5LQ",
                "GatewayHostName is not a host name",
            ),
            ("HostName=h;DeviceId=dSharedAccessKey=a2V5LQ==", "a semicolon is missing after DeviceId"),
            ("a2V5LQ", "a part has no `=` (want Key=Value;Key=Value)"),
        ];
        for (text, reason) in cases {
            assert_eq!(parse(text).unwrap_err(), format!("connection string: {reason}"), "{text}");
        }
        assert!(parse("hostname=h").unwrap_err().contains("case-sensitive"));
    }

    #[test]
    fn debug_hides_the_key_and_expose_gives_it_back() {
        let text = "HostName=[::1]:8443;DeviceId=d;SharedAccessKey=a2V5LQ==";
        let parsed = parse(text).unwrap();
        assert!(!format!("{parsed:?}").contains("a2V5"));
        assert_eq!(parsed.expose(), text);
    }
}
