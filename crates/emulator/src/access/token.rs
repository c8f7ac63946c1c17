//! Shared access signatures, verified over `sr` exactly as received.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::hub::Key;

const TOKEN_CHARS_MAX: usize = 4096;

pub(super) struct Token {
    raw_resource: String,
    resource: String,
    signature: Vec<u8>,
    expires: i64,
    policy: Option<String>,
}

impl Token {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let fields = text.strip_prefix("SharedAccessSignature")?.trim_start();
        let (mut resource, mut signature, mut expires, mut policy) = (None, None, None, None);
        for field in fields.split('&') {
            let (name, value) = field.split_once('=')?;
            match name {
                "sr" => resource = Some(value.to_owned()),
                "sig" => signature = STANDARD.decode(decode(value)).ok(),
                "se" => expires = value.parse().ok(),
                "skn" => policy = Some(decode(value)).filter(|name| !name.is_empty()),
                _ => {}
            }
        }
        let raw_resource = resource?;
        Some(Self { resource: decode(&raw_resource), raw_resource, signature: signature?, expires: expires?, policy })
    }

    pub(super) fn resource(&self) -> &str {
        &self.resource
    }

    pub(super) fn expires(&self) -> i64 {
        self.expires
    }

    pub(super) fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    pub(super) fn is_signed_with(&self, keys: &[&Key]) -> bool {
        keys.iter().any(|key| {
            mac(&self.raw_resource, self.expires, key).is_some_and(|mac| mac.verify_slice(&self.signature).is_ok())
        })
    }
}

pub(super) fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn mac(resource: &str, expires: i64, key: &Key) -> Option<Hmac<Sha256>> {
    let secret = STANDARD.decode(key.reveal()).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).ok()?;
    mac.update(format!("{resource}\n{expires}").as_bytes());
    Some(mac)
}

#[cfg(test)]
pub(super) fn sign(resource: &str, key: &Key, expires: i64, policy: Option<&str>) -> String {
    let mac = mac(resource, expires, key).expect("a key of base64");
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let signature = percent_encoding::utf8_percent_encode(&signature, percent_encoding::NON_ALPHANUMERIC);
    let policy = policy.map_or_else(String::new, |name| format!("&skn={name}"));
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expires}{policy}")
}
