//! JSON Web Tokens in compact form, and the keys they are verified with.
//!
//! The algorithm is the key's, never the token's choice: RS256 for RSA keys, ES256 for P-256 keys. Has no clock and fetches nothing; who may
//! issue a token, to whom, for what and for how long is for those to say who take it.
#![warn(missing_docs)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

/// Entra's tokens have one to two thousand characters.
const TOKEN_CHARS_MAX: usize = 16 * 1024;

/// The public keys of an authority.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<PublicKey>);

#[derive(Debug, Clone)]
struct PublicKey {
    id: Option<String>,
    material: Material,
}

#[derive(Debug, Clone)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256 { point: Vec<u8> },
}

/// A token taken apart; nothing about it is proved yet.
#[derive(Debug)]
pub struct Token<'a> {
    header: Header,
    signed: &'a str,
    signature: Vec<u8>,
    /// What it claims.
    pub claims: Claims,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

/// The claims that matter here.
#[derive(Debug, Clone, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    aud: Value,
    /// Its end, in seconds since 1970.
    pub exp: i64,
    /// Its beginning, if it has one.
    pub nbf: Option<i64>,
    /// The object id of whom it was issued to.
    pub oid: Option<String>,
    appid: Option<String>,
    azp: Option<String>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a JSON Web Key Set; keys of other kinds or for other purposes are passed over.
    ///
    /// # Errors
    /// When it cannot be read or holds no usable key.
    pub fn parse(json: &str) -> Result<Self, String> {
        let set: Jwks = serde_json::from_str(json).map_err(|e| format!("not a JSON Web Key Set: {e}"))?;
        let keys: Vec<PublicKey> = set.keys.into_iter().filter_map(PublicKey::read).collect();
        if keys.is_empty() {
            return Err("the key set holds no RSA and no P-256 key for signatures".into());
        }
        Ok(Self(keys))
    }

    /// These keys and those.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Whether the key that the token names is among these, or may be: it may name none.
    pub fn may_know(&self, token: &Token<'_>) -> bool {
        self.0.iter().any(|key| key.is_named(token))
    }

    /// Whether one of the keys signed the token. A token that names its key is held to that key.
    pub fn signed(&self, token: &Token<'_>) -> bool {
        self.0.iter().filter(|key| key.is_named(token)).any(|key| key.signed(token))
    }
}

impl PublicKey {
    fn read(jwk: Jwk) -> Option<Self> {
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let field = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { n: field(jwk.n)?, e: field(jwk.e)? },
            ("EC", Some("P-256")) => Material::P256 { point: [vec![4], field(jwk.x)?, field(jwk.y)?].concat() },
            _ => return None,
        };
        Some(Self { id: jwk.kid, material })
    }

    fn is_named(&self, token: &Token<'_>) -> bool {
        match (&token.header.kid, &self.id) {
            (Some(wanted), Some(id)) => wanted == id,
            _ => true,
        }
    }

    fn signed(&self, token: &Token<'_>) -> bool {
        let message = token.signed.as_bytes();
        let verdict = match (&self.material, token.header.alg.as_str()) {
            (Material::Rsa { n, e }, "RS256") => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, &token.signature)
            }
            (Material::P256 { point }, "ES256") => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, &token.signature)
            }
            _ => return false,
        };
        verdict.is_ok()
    }
}

impl<'a> Token<'a> {
    /// Takes `header.claims.signature` apart.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        Some(Self {
            header: serde_json::from_slice(&decoded(header)?).ok()?,
            claims: serde_json::from_slice(&decoded(claims)?).ok()?,
            signature: decoded(signature)?,
            signed,
        })
    }
}

impl Claims {
    /// Whom the token is for: one name or several.
    pub fn audiences(&self) -> Vec<&str> {
        match &self.aud {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The application, as tokens of version 1 or 2 name it.
    pub fn application(&self) -> Option<&str> {
        self.appid.as_deref().or(self.azp.as_deref())
    }
}

/// What follows `Bearer` in an `Authorization` header, in any case.
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}
