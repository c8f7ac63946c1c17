//! Reads what a token authority says of itself, and keeps it.

use std::time::Duration;

use ha_jwt::{KeySet, Token};
use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::token::{Authority, Refused, judge};
use crate::config::TokenConfig;
use crate::hub::chain;

/// Keys are read anew after so long, for those that an authority has withdrawn.
const FRESH: Duration = Duration::from_secs(24 * 3600);
/// A key that is not known may be a new one, or the invention of a stranger: the authority is not asked more often than this.
const ASKED_AT_MOST_EVERY: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Entra's key sets have some ten thousand bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Why a delivery with a token is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    /// The token does not count.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It cannot be told whether it counts.
    #[error("the token authority cannot be asked: {0}")]
    NoAuthority(String),
}

/// Checks bearer tokens of Microsoft Entra ID.
pub struct Tokens {
    wanted: TokenConfig,
    http: reqwest::Client,
    known: Mutex<Known>,
}

/// What is known of the authority, and since when.
#[derive(Default)]
struct Known {
    authority: Option<Authority>,
    read: Option<Instant>,
    asked: Option<Instant>,
    trouble: String,
}

impl Tokens {
    /// Takes these tokens. `ca_pem` are authorities of TLS to trust besides the system's.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(wanted: TokenConfig, ca_pem: Option<&[u8]>) -> Result<Self, String> {
        // Fails only when a provider is installed already, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("iotedge-ha/", env!("CARGO_PKG_VERSION")))
            .timeout(ANSWER_WITHIN)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = ca_pem {
            let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| chain(&error))?;
            builder = builder.tls_certs_merge(roots);
        }
        if Url::parse(&wanted.authority).is_ok_and(|url| is_on_this_machine(&url)) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| chain(&error))?;
        Ok(Self { wanted, http, known: Mutex::default() })
    }

    /// Whether an `Authorization` header brings a token that counts.
    pub(super) async fn check(&self, header: Option<&str>, now: Timestamp) -> Result<(), NotTaken> {
        let text = header.and_then(ha_jwt::bearer).ok_or(Refused::Absent)?;
        let token = Token::parse(text).ok_or(Refused::Malformed)?;
        let mut known = self.known.lock().await;
        if known.is_to_be_read(&token, Instant::now()) {
            known.asked = Some(Instant::now());
            match self.read().await {
                Ok(authority) => known.learn(authority, Instant::now()),
                Err(why) => {
                    tracing::warn!(why, "the token authority cannot be asked for its keys");
                    known.trouble = why;
                }
            }
        }
        let Some(authority) = &known.authority else { return Err(NotTaken::NoAuthority(known.trouble.clone())) };
        Ok(judge(&token, authority, &self.wanted, now.as_second())?)
    }

    /// Reads the documents of both versions of tokens: which an application gets is up to its registration.
    async fn read(&self) -> Result<Authority, String> {
        let TokenConfig { authority, tenant, .. } = &self.wanted;
        let (mut issuers, mut urls, mut keys) = (Vec::new(), Vec::new(), KeySet::default());
        for version in ["/v2.0", ""] {
            let url = format!("{authority}/{tenant}{version}/.well-known/openid-configuration");
            let text = self.get(&url).await?;
            let said: Discovery = serde_json::from_str(&text).map_err(|error| format!("{url}: {error}"))?;
            issuers.push(said.issuer);
            if !urls.contains(&said.jwks_uri) {
                let set = KeySet::parse(&self.get(&said.jwks_uri).await?);
                keys = keys.and(set.map_err(|why| format!("{}: {why}", said.jwks_uri))?);
                urls.push(said.jwks_uri);
            }
        }
        Ok(Authority { issuers, keys })
    }

    async fn get(&self, url: &str) -> Result<String, String> {
        let parsed = Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
        if parsed.scheme() != "https" && !is_on_this_machine(&parsed) {
            return Err(format!("{url}: keys are read over https only"));
        }
        let failed = |error: reqwest::Error| format!("{url}: {}", chain(&error.without_url()));
        let mut response = self.http.get(parsed).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(format!("{url}: it answered {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(format!("{url}: the answer is too long"));
            }
        }
        String::from_utf8(body).map_err(|_| format!("{url}: the answer is no text"))
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Known {
    fn is_to_be_read(&self, token: &Token<'_>, now: Instant) -> bool {
        let past = |at: Option<Instant>, span: Duration| at.is_none_or(|at| now.duration_since(at) >= span);
        let is_missing = self.authority.as_ref().is_none_or(|authority| !authority.keys.may_know(token));
        (is_missing || past(self.read, FRESH)) && past(self.asked, ASKED_AT_MOST_EVERY)
    }

    fn learn(&mut self, authority: Authority, now: Instant) {
        self.authority = Some(authority);
        self.read = Some(now);
    }
}

fn is_on_this_machine(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../jwt/testdata/rs256.jwt");
    const KEYS: &str = include_str!("../../../jwt/testdata/jwks.json");

    #[test]
    fn keys_are_read_when_they_are_missing_or_old_and_not_too_often() {
        let token = Token::parse(GOOD.trim()).expect("a token");
        let authority = |keys: &str| Authority { issuers: Vec::new(), keys: KeySet::parse(keys).expect("keys") };
        let start = Instant::now();
        let mut known = Known::default();
        assert!(known.is_to_be_read(&token, start), "nothing is known yet");
        known.asked = Some(start);
        assert!(
            !known.is_to_be_read(&token, start + ASKED_AT_MOST_EVERY / 2),
            "it was asked a moment ago, and did not answer"
        );
        assert!(known.is_to_be_read(&token, start + ASKED_AT_MOST_EVERY));

        let kid = serde_json::from_str::<serde_json::Value>(KEYS).expect("JSON")["keys"][0]["kid"].clone();
        let rotated = KEYS.replace(kid.as_str().expect("an id"), "another-key");
        known.learn(authority(&rotated), start);
        assert!(!known.is_to_be_read(&token, start + ASKED_AT_MOST_EVERY / 2), "strangers invent keys as well");
        assert!(known.is_to_be_read(&token, start + ASKED_AT_MOST_EVERY), "the key may be a new one");

        known.asked = Some(start + ASKED_AT_MOST_EVERY);
        known.learn(authority(KEYS), start + ASKED_AT_MOST_EVERY);
        assert!(!known.is_to_be_read(&token, start + FRESH), "the key is known");
        assert!(known.is_to_be_read(&token, start + FRESH + ASKED_AT_MOST_EVERY), "it may have been withdrawn");
    }
}
