//! Shared Access Signatures: signing, reading and verifying tokens.
//!
//! A token is `SharedAccessSignature sr={resource}&sig={signature}&se={expiry}[&skn={policy}]`, its parts in any order.
//! The signature is an HMAC-SHA256 over `{sr}\n{se}`, with `sr` **exactly as it stands in the token**: clients differ in
//! the case of hex digits and in what they encode (Microsoft docs: control access with shared access signatures).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{Error, percent_decode, percent_encode};

/// How far a token's expiry may lie in the past for a verifier's clock, as IoT Hub allows (Microsoft docs: IoT Hub error 401003).
pub const CLOCK_SKEW_S: u64 = 300;

/// A key to sign with. `Debug` is redacted.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedAccessKey(Vec<u8>);

impl SharedAccessKey {
    /// A key from the base64 text that portals and connection strings show.
    pub fn from_base64(text: &str) -> Result<Self, Error> {
        STANDARD.decode(text).map(SharedAccessKey).map_err(Error::Key)
    }

    /// A key from its bytes; IoT Hub takes 16 to 64 of them.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        SharedAccessKey(bytes.into())
    }

    /// The base64 text. For a REST body or a file, never for a log.
    pub fn expose(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// Base64 of the HMAC-SHA256 of `data`: what a workload API's `sign` answers too.
    pub fn sign(&self, data: &[u8]) -> String {
        STANDARD.encode(self.mac(data).finalize().into_bytes())
    }

    /// Whether `signature` (base64) is this key's over `data`; takes the same time either way.
    pub fn verify(&self, data: &[u8], signature: &str) -> bool {
        STANDARD.decode(signature).is_ok_and(|bytes| self.mac(data).verify_slice(&bytes).is_ok())
    }

    fn mac(&self, data: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(data);
        mac
    }
}

impl fmt::Debug for SharedAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedAccessKey(redacted)")
    }
}

/// A token before it is signed. Sign it with a key here, or have its [`Unsigned::string_to_sign`] signed elsewhere (a
/// workload API) and [`Unsigned::assemble`] it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned {
    resource: String,
    expiry_unix_s: u64,
    policy: Option<String>,
}

impl Unsigned {
    /// For a back-end service: the whole hub. `host` as given, with its port if it has one.
    pub fn service(host: &str, policy: &str, expiry_unix_s: u64) -> Self {
        Unsigned { resource: percent_encode(host), expiry_unix_s, policy: Some(policy.to_owned()) }
    }

    /// For a device.
    pub fn device(host: &str, device: &str, expiry_unix_s: u64) -> Self {
        let resource = format!("{host}/devices/{}", percent_encode(device));
        Unsigned { resource: percent_encode(&resource), expiry_unix_s, policy: None }
    }

    /// For a module. Ids are encoded by themselves and again with the whole, as IoT Edge's own modules do.
    pub fn module(host: &str, device: &str, module: &str, expiry_unix_s: u64) -> Self {
        let resource = format!("{host}/devices/{}/modules/{}", percent_encode(device), percent_encode(module));
        Unsigned { resource: percent_encode(&resource), expiry_unix_s, policy: None }
    }

    /// The same, signed under a hub policy (`skn`) instead of the identity's own key.
    pub fn with_policy(mut self, policy: &str) -> Self {
        self.policy = Some(policy.to_owned());
        self
    }

    /// What the signature is made over.
    pub fn string_to_sign(&self) -> String {
        format!("{}\n{}", self.resource, self.expiry_unix_s)
    }

    /// The token, given the base64 signature over [`Unsigned::string_to_sign`].
    pub fn assemble(&self, signature: &str) -> String {
        let (sr, sig, se) = (&self.resource, percent_encode(signature), self.expiry_unix_s);
        let skn = self.policy.as_deref().map(|policy| format!("&skn={}", percent_encode(policy))).unwrap_or_default();
        format!("{SCHEME} sr={sr}&sig={sig}&se={se}{skn}")
    }

    /// The token, signed with `key`.
    pub fn sign(&self, key: &SharedAccessKey) -> String {
        self.assemble(&key.sign(self.string_to_sign().as_bytes()))
    }

    /// When the token ends, in Unix seconds.
    pub fn expiry_unix_s(&self) -> u64 {
        self.expiry_unix_s
    }
}

const SCHEME: &str = "SharedAccessSignature";
const LENGTH_MAX: usize = 4096;

/// A token as received.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    resource: String,
    signature: String,
    expiry: String,
    expiry_unix_s: u64,
    policy: Option<String>,
}

impl Token {
    /// Reads a token, its parts in any order. Unknown parts are ignored, doubled ones refused.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > LENGTH_MAX {
            return Err(Error::Sas("longer than 4096 bytes"));
        }
        let text = text.trim().strip_prefix(SCHEME).ok_or(Error::Sas("does not begin with SharedAccessSignature"))?;
        let text = text.strip_prefix(' ').ok_or(Error::Sas("no space after SharedAccessSignature"))?;
        let (mut sr, mut sig, mut se, mut skn) = (None, None, None, None);
        for part in text.trim().split('&') {
            let (key, value) = part.split_once('=').ok_or(Error::Sas("a part has no `=`"))?;
            let slot = match key.trim() {
                "sr" => &mut sr,
                "sig" => &mut sig,
                "se" => &mut se,
                "skn" => &mut skn,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(Error::Sas("a part appears twice"));
            }
        }
        let expiry = se.ok_or(Error::Sas("no se (expiry)"))?;
        let policy = skn.map(percent_decode).transpose()?.filter(|policy| !policy.is_empty());
        Ok(Token {
            resource: sr.ok_or(Error::Sas("no sr (resource)"))?.to_owned(),
            signature: percent_decode(sig.ok_or(Error::Sas("no sig (signature)"))?)?.into_owned(),
            expiry: expiry.to_owned(),
            expiry_unix_s: expiry.parse().map_err(|_| Error::Sas("se (expiry) is not a number of seconds"))?,
            policy: policy.map(std::borrow::Cow::into_owned),
        })
    }

    /// Whether `key` made this signature. Says nothing about expiry or scope.
    pub fn verify(&self, key: &SharedAccessKey) -> bool {
        key.verify(format!("{}\n{}", self.resource, self.expiry).as_bytes(), &self.signature)
    }

    /// Whether the token has ended at `now_unix_s`. Add [`CLOCK_SKEW_S`] to be as patient as IoT Hub.
    pub fn is_expired(&self, now_unix_s: u64) -> bool {
        self.expiry_unix_s <= now_unix_s
    }

    /// When the token ends, in Unix seconds.
    pub fn expiry_unix_s(&self) -> u64 {
        self.expiry_unix_s
    }

    /// The hub policy whose key signed it; `None` for a device's or module's own key.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// `sr` exactly as received.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// What the token is good for.
    pub fn scope(&self) -> Result<Scope, Error> {
        Scope::decode(&self.resource)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Token { resource, expiry_unix_s, policy, .. } = self;
        let mut out = f.debug_struct("Token");
        out.field("resource", resource)
            .field("expiry_unix_s", expiry_unix_s)
            .field("policy", policy)
            .finish_non_exhaustive()
    }
}

/// The resource a token is good for: a host and a path, which covers everything below it by whole segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    host: String,
    segments: Vec<String>,
}

impl Scope {
    /// Decodes an `sr`.
    pub fn decode(resource: &str) -> Result<Self, Error> {
        let decoded = percent_decode(resource)?;
        let mut segments = decoded.split('/').map(str::to_owned);
        let host = segments.next().filter(|host| !host.is_empty()).ok_or(Error::Sas("sr names no host"))?;
        let mut segments: Vec<String> = segments.collect();
        if segments.last().is_some_and(String::is_empty) {
            segments.pop();
        }
        Ok(Scope { host, segments })
    }

    /// The host, with its port if it was given one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host without a port.
    pub fn host_name(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.host,
        }
    }

    /// The device it is narrowed to, if any.
    pub fn device(&self) -> Option<String> {
        self.id_after(0, "devices")
    }

    /// The module it is narrowed to, if any.
    pub fn module(&self) -> Option<String> {
        self.id_after(2, "modules")
    }

    /// Whether it covers the whole hub, as a service's token does.
    pub fn covers_hub(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether it covers this device (and so all its modules).
    pub fn covers_device(&self, device: &str) -> bool {
        self.covers(&["devices", device])
    }

    /// Whether it covers this module: by itself, by its device, or by the whole hub.
    pub fn covers_module(&self, device: &str, module: &str) -> bool {
        self.covers(&["devices", device, "modules", module])
    }

    /// Whether its path is a prefix of `path` by whole segments.
    pub fn covers(&self, path: &[&str]) -> bool {
        self.segments.len() <= path.len() && self.segments.iter().zip(path).all(|(mine, want)| same(mine, want))
    }

    fn id_after(&self, at: usize, word: &str) -> Option<String> {
        let id = self.segments.get(at + 1).filter(|_| self.segments.get(at).is_some_and(|found| found == word))?;
        Some(percent_decode(id).map_or_else(|_| id.clone(), std::borrow::Cow::into_owned))
    }
}

/// Some clients encode ids once, some twice; after decoding the whole, either form may be left.
fn same(segment: &str, want: &str) -> bool {
    segment == want || percent_decode(segment).is_ok_and(|decoded| decoded == want)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SharedAccessKey {
        SharedAccessKey::from_base64("MDEyMzQ1Njc4OWFiY2RlZg==").unwrap()
    }

    #[test]
    fn signs_what_it_verifies() {
        let text = Unsigned::module("localhost:8443", "edge a", "$edgeHub", 1_700_000_000).sign(&key());
        let token = Token::parse(&text).unwrap();
        assert!(token.verify(&key()));
        assert!(!token.verify(&SharedAccessKey::from_bytes(*b"another")));
        assert_eq!((token.expiry_unix_s(), token.policy()), (1_700_000_000, None));
        assert!(token.is_expired(1_700_000_000) && !token.is_expired(1_699_999_999));
        let scope = token.scope().unwrap();
        assert_eq!((scope.host(), scope.host_name()), ("localhost:8443", "localhost"));
        assert_eq!((scope.device().as_deref(), scope.module().as_deref()), (Some("edge a"), Some("$edgeHub")));
    }

    #[test]
    fn matches_a_known_token() {
        let text = Unsigned::service("h.azure-devices.net", "service", 1_700_000_000).sign(&key());
        assert_eq!(
            text,
            "SharedAccessSignature sr=h.azure-devices.net&sig=4uXsk5okVVY7Hoc71BOhZBGCT%2FLxfE%2BHM3W7%2BY13X7E%3D&se=1700000000&skn=service"
        );
    }

    #[test]
    fn verifies_over_sr_as_received_in_any_order() {
        for sr in ["localhost%3a8443%2fdevices%2fd", "localhost:8443/devices/d", "localhost%3A8443%2Fdevices%2Fd"] {
            let sig = percent_encode(&key().sign(format!("{sr}\n99").as_bytes()));
            let bare = sig.replace("%2F", "/");
            for text in [format!("skn=&se=99&sig={sig}&sr={sr}"), format!("sr={sr}&sig={bare}&se=99&x=1")] {
                let token = Token::parse(&format!("SharedAccessSignature {text}")).unwrap();
                assert!(token.verify(&key()), "{text}");
                assert!(token.scope().unwrap().covers_device("d"));
                assert_eq!(token.policy(), None);
            }
        }
    }

    #[test]
    fn covers_by_whole_segments() {
        let scope = |sr: &str| Scope::decode(sr).unwrap();
        assert!(scope("h").covers_hub() && scope("h/").covers_module("d", "m"));
        assert!(scope("h/devices").covers_device("any"));
        assert!(!scope("h/devices/d1").covers_device("d10"));
        assert!(scope("h/devices/d1").covers_module("d1", "m"));
        assert!(!scope("h/devices/d1/modules/m").covers_device("d1"));
        assert!(scope("h%2Fdevices%2Fa%2525b").covers_device("a%b"));
        assert!(scope("h%2Fdevices%2Fa%25b").covers_device("a%b"));
    }

    #[test]
    fn refuses_nonsense_and_shows_no_signature() {
        for bad in [
            "",
            "Bearer x",
            "SharedAccessSignature",
            "SharedAccessSignature sr=h&sig=a",
            "SharedAccessSignature sr=h&sig=a&se=x",
            "SharedAccessSignature sr=h&sr=h&sig=a&se=1",
        ] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
        let token = Token::parse("SharedAccessSignature sr=h&sig=c2VjcmV0&se=1").unwrap();
        assert!(!format!("{token:?}").contains("c2Vj"));
    }
}
