//! The emulator as its own token authority.
//!
//! Its key is P-256, where Entra's are RSA: clients treat access tokens as opaque, and a P-256 key is made in no time.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ha_jwt::KeySet;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// How long tokens last, as Entra's do.
pub(crate) const LIFETIME_S: i64 = 3599;
/// Tokens are valid from a little before their making, for clocks that lag.
const HEAD_START_S: i64 = 300;
/// Where the authority lies under the hub's own address.
const PATH: &str = "/_emulator/entra/";

/// The directory of those who do not name one.
pub(crate) const TENANT: &str = "emulator";

/// Signs tokens, and knows its own again.
pub(crate) struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
    key_set: Value,
    keys: KeySet,
}

/// Whom a token is for and who asks for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The address the authority was asked under, as `host[:port]`.
    pub(crate) host: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) audience: &'a str,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer")
    }
}

/// A fresh key as base64 of PKCS #8, to be kept secret.
pub(crate) fn fresh_key() -> Result<String, String> {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    made.map(|document| STANDARD.encode(document.as_ref())).map_err(|_| "cannot make a key".to_owned())
}

impl Issuer {
    /// Takes up a key that [`fresh_key`] made.
    pub(crate) fn from_key(pkcs8: &str) -> Result<Self, String> {
        let bytes = STANDARD.decode(pkcs8).map_err(|_| "the token key is not base64".to_owned())?;
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &bytes, &random)
            .map_err(|e| format!("the token key: {e}"))?;
        let point = key.public_key().as_ref();
        // An uncompressed point: 4, then x and y of 32 bytes each.
        let (x, y) = point.get(1..).and_then(|xy| xy.split_at_checked(32)).ok_or("the token key has no point")?;
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let id = ring::digest::digest(&ring::digest::SHA256, point);
        let key_set = json!({"keys": [{
            "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256",
            "kid": URL_SAFE_NO_PAD.encode(&id.as_ref()[..12]), "x": coordinate(x), "y": coordinate(y),
        }]});
        let keys = KeySet::parse(&key_set.to_string())?;
        Ok(Self { key, random, key_set, keys })
    }

    /// The public half, as `discovery/v2.0/keys` shows it.
    pub(crate) fn key_set(&self) -> &Value {
        &self.key_set
    }

    pub(super) fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// Makes a token, or nothing should the random source fail.
    pub(crate) fn mint(&self, request: &Request<'_>, now: Timestamp) -> Option<String> {
        let now = now.as_second();
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": self.key_set["keys"][0]["kid"]});
        let claims = json!({
            "aud": request.audience,
            "iss": issuer_url(request.host, request.tenant),
            "iat": now,
            "nbf": now - HEAD_START_S,
            "exp": now + LIFETIME_S,
            "appid": request.client_id,
            "appidacr": "1",
            "idtyp": "app",
            "oid": request.client_id,
            "sub": request.client_id,
            "tid": request.tenant,
            "ver": "1.0",
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

/// What our own tokens name as their issuer.
pub(crate) fn issuer_url(host: &str, tenant: &str) -> String {
    format!("https://{host}{PATH}{tenant}/v2.0")
}

/// The host of an issuer that is one of our own.
pub(super) fn own_host(issuer: &str) -> Option<&str> {
    let (host, rest) = issuer.strip_prefix("https://")?.split_once('/')?;
    let tenant = rest.strip_prefix(PATH.trim_start_matches('/'))?.strip_suffix("/v2.0")?;
    (!tenant.is_empty() && !tenant.contains('/')).then_some(host)
}
