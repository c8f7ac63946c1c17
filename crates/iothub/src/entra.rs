//! Tokens of Microsoft Entra ID: for the hub, and for whatever else of Azure takes them.
//!
//! Asking is left to `azure_identity`. What is added here is what a lease needs: a token is renewed while the old one is
//! still good, one request at a time serves all callers, a caller that gives up does not undo the request, and an
//! authority that is down costs nothing until the last token has ended.

mod error;
mod source;
mod transport;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use ha_wire::Secret;
use tokio::time::Instant;

pub use self::error::Error;
pub use self::source::{ReadSecret, Source};
use self::transport::Transport;
use crate::client::unix_now_s;
use crate::management::{Bearer, TokenFuture};

/// A token with less left than this is renewed in the background; one that lives for less than twice this, at half its life.
const RENEW_AHEAD_S: u64 = 600;
/// A token with less left than this is not begun a call with.
const LEAST_LEFT_S: u64 = 20;
/// How long a request for a token may take.
const FETCH_MAX: Duration = Duration::from_secs(30);
/// After a failure the authority is left alone for this long.
const FAILURE_HOLD: Duration = Duration::from_secs(5);
/// A token younger than this is not replaced because a service refused it: then rights are missing, not time.
const REPLACE_AFTER: Duration = Duration::from_secs(60);

/// Where tokens come from, and how to get there.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who asks, and with what proof.
    pub source: Source,
    /// The authority instead of `https://login.microsoftonline.com`; with [`Source::Managed`], the metadata service
    /// instead of `http://169.254.169.254`. HTTPS, unless on this machine.
    pub authority: Option<String>,
    /// Certificates (PEM) to trust besides the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// One identity. Cheap to clone; clones share tokens.
#[derive(Clone)]
pub struct Entra {
    inner: Arc<Inner>,
}

struct Inner {
    source: Source,
    transport: Transport,
    slots: Mutex<HashMap<String, Slot>>,
}

/// What is known about the token of one scope.
#[derive(Default)]
struct Slot {
    held: Option<Held>,
    fetch: Option<Fetch>,
    failed: Option<(Instant, Error)>,
}

#[derive(Clone)]
struct Held {
    token: Secret,
    since: Instant,
    renew_at_unix_s: u64,
    expiry_unix_s: u64,
}

/// A request under way, which any number of callers may wait for.
type Fetch = Shared<BoxFuture<'static, Result<Secret, Error>>>;

impl Entra {
    /// An identity. Asks for nothing yet.
    ///
    /// # Errors
    /// When the authority is no usable address or the certificates cannot be read.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let (authority, ca_pem) = (settings.authority.as_deref(), settings.ca_pem.as_deref());
        let transport = Transport::new(authority, ca_pem, settings.source.is_near())
            .map_err(|reason| Error::setup(settings.source.name(), reason))?;
        Ok(Self { inner: Arc::new(Inner { source: settings.source, transport, slots: Mutex::default() }) })
    }

    /// A token for a scope such as [`crate::Cloud::hub_scope`], good for at least twenty seconds.
    ///
    /// # Errors
    /// When there is none and none is to be had; [`Error::is_retryable`] tells an authority in trouble from a refusal.
    pub async fn token(&self, scope: &str) -> Result<Secret, Error> {
        let fetch = {
            let mut slots = self.slots();
            let slot = slots.entry(scope.to_owned()).or_default();
            let now = unix_now_s();
            let usable = slot.held.as_ref().filter(|held| held.is_usable(now)).cloned();
            if let Some(held) = usable.as_ref().filter(|held| now < held.renew_at_unix_s) {
                return Ok(held.token.clone());
            }
            let failure = slot.recent_failure();
            match (usable, failure) {
                (Some(held), Some(_)) => return Ok(held.token),
                (None, Some(error)) => return Err(error),
                (Some(held), None) => {
                    slot.fetch.get_or_insert_with(|| self.start(scope));
                    return Ok(held.token);
                }
                (None, None) => slot.fetch.get_or_insert_with(|| self.start(scope)).clone(),
            }
        };
        fetch.await
    }

    /// A service refused this token. Unless it is new, the next call asks for another: clocks and keys change.
    pub fn refused(&self, scope: &str, token: &Secret) {
        if let Some(slot) = self.slots().get_mut(scope) {
            let is_old = |held: &Held| held.token == *token && held.since.elapsed() >= REPLACE_AFTER;
            if slot.held.as_ref().is_some_and(is_old) {
                slot.held = None;
            }
        }
    }

    /// The source in words, for messages.
    pub fn name(&self) -> &'static str {
        self.inner.source.name()
    }

    /// Starts a request of its own, which goes on whatever becomes of those who wait.
    fn start(&self, scope: &str) -> Fetch {
        let (entra, scope, name) = (self.clone(), scope.to_owned(), self.name());
        let task = tokio::spawn(async move { entra.fetch(&scope).await });
        async move { task.await.unwrap_or_else(|_| Err(Error::setup(name, "the request was dropped".to_owned()))) }
            .boxed()
            .shared()
    }

    async fn fetch(&self, scope: &str) -> Result<Secret, Error> {
        let inner = &*self.inner;
        let asked = tokio::time::timeout(FETCH_MAX, inner.source.ask(&inner.transport, scope)).await;
        let asked = asked.unwrap_or_else(|_| Err(Error::silent(self.name(), scope, FETCH_MAX)));
        let mut slots = self.slots();
        let slot = slots.entry(scope.to_owned()).or_default();
        slot.fetch = None;
        match asked {
            Ok((token, expiry_unix_s)) => {
                *slot = Slot { held: Some(Held::new(token.clone(), unix_now_s(), expiry_unix_s)), ..Slot::default() };
                Ok(token)
            }
            Err(error) => {
                tracing::warn!(scope, %error, "no new token");
                slot.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn recent_failure(&self) -> Option<Error> {
        self.failed.as_ref().filter(|(at, _)| at.elapsed() < FAILURE_HOLD).map(|(_, error)| error.clone())
    }
}

impl Held {
    fn new(token: Secret, now_unix_s: u64, expiry_unix_s: u64) -> Self {
        let life_s = expiry_unix_s.saturating_sub(now_unix_s);
        let renew_at_unix_s = expiry_unix_s - RENEW_AHEAD_S.min(life_s / 2).min(expiry_unix_s);
        Self { token, since: Instant::now(), renew_at_unix_s, expiry_unix_s }
    }

    fn is_usable(&self, now_unix_s: u64) -> bool {
        now_unix_s + LEAST_LEFT_S < self.expiry_unix_s
    }
}

impl Bearer for Entra {
    fn token<'a>(&'a self, scope: &'a str) -> TokenFuture<'a> {
        Box::pin(async move { Ok(Entra::token(self, scope).await?) })
    }
}

impl fmt::Debug for Entra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entra").field("source", &self.inner.source).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn entra(authority: String) -> Entra {
        let secret: ReadSecret = Arc::new(|| Ok(Secret::new("s")));
        let source = Source::ClientSecret { tenant: "t".to_owned(), client_id: "c".to_owned(), secret };
        Entra::new(Settings { source, authority: Some(authority), ca_pem: None }).unwrap()
    }

    /// Holds a token that may serve for 300 s more, as if it had been fetched `age` ago.
    fn holding_an_old_one(entra: Entra, age: Duration) -> Entra {
        let now = unix_now_s();
        let held = Held::new(Secret::new("old"), now, now + 300);
        let held = Held { since: Instant::now() - age, renew_at_unix_s: 0, ..held };
        entra.slots().insert("scope".to_owned(), Slot { held: Some(held), ..Slot::default() });
        entra
    }

    /// An authority that answers one request.
    async fn authority() -> (String, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answering = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await.unwrap();
            let body = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"new"}"#;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            socket.write_all(answer.as_bytes()).await.unwrap();
        });
        (url, answering)
    }

    async fn until(entra: &Entra, holds: impl Fn(&Slot) -> bool) {
        let met = async {
            while !holds(&entra.slots()["scope"]) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), met).await.unwrap();
    }

    #[tokio::test]
    async fn the_old_token_serves_while_a_new_one_is_fetched() {
        let (url, answering) = authority().await;
        let entra = holding_an_old_one(entra(url), Duration::ZERO);
        assert_eq!(entra.token("scope").await.unwrap(), Secret::new("old"));
        until(&entra, |slot| slot.held.as_ref().is_some_and(|held| held.token == Secret::new("new"))).await;
        assert_eq!(entra.token("scope").await.unwrap(), Secret::new("new"));
        answering.await.unwrap();
    }

    #[tokio::test]
    async fn the_old_token_serves_while_the_authority_is_down() {
        let entra = holding_an_old_one(entra("http://127.0.0.1:1".to_owned()), Duration::ZERO);
        assert_eq!(entra.token("scope").await.unwrap(), Secret::new("old"));
        until(&entra, |slot| slot.failed.is_some()).await;
        assert_eq!(entra.token("scope").await.unwrap(), Secret::new("old"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_authority_in_trouble_is_left_alone_for_a_while() {
        for holds in [true, false] {
            let entra = entra("http://127.0.0.1:1".to_owned());
            let entra = if holds { holding_an_old_one(entra, Duration::ZERO) } else { entra };
            let trouble = Error::silent(entra.name(), "scope", FETCH_MAX);
            entra.slots().entry("scope".to_owned()).or_default().failed = Some((Instant::now(), trouble.clone()));
            let is_asked = || entra.slots()["scope"].fetch.is_some();
            let expected = if holds { Ok(Secret::new("old")) } else { Err(trouble) };
            assert_eq!(entra.token("scope").await, expected);
            tokio::time::advance(FAILURE_HOLD - Duration::from_millis(1)).await;
            assert_eq!(entra.token("scope").await, expected);
            assert!(!is_asked());
            tokio::time::advance(Duration::from_millis(1)).await;
            // Polled once: that begins a request, if there is to be one.
            let _ = entra.token("scope").now_or_never();
            assert!(is_asked());
        }
    }

    #[tokio::test]
    async fn only_an_older_token_is_replaced_when_it_is_refused() {
        for (age, kept) in [(Duration::ZERO, true), (REPLACE_AFTER, false)] {
            let entra = holding_an_old_one(entra("http://127.0.0.1:1".to_owned()), age);
            entra.refused("scope", &Secret::new("another"));
            assert!(entra.slots()["scope"].held.is_some());
            entra.refused("scope", &Secret::new("old"));
            assert_eq!(entra.slots()["scope"].held.is_some(), kept, "{age:?}");
        }
    }

    #[test]
    fn renewal_begins_ten_minutes_ahead_or_at_half_the_life() {
        let now = 1_000_000;
        for (life_s, ahead_s) in [(3600, 600), (86_400, 600), (100, 50), (0, 0)] {
            let held = Held::new(Secret::new("t"), now, now + life_s);
            assert_eq!(held.expiry_unix_s - held.renew_at_unix_s, ahead_s, "{life_s}");
        }
    }
}
