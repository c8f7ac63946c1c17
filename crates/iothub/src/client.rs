mod configurations;
mod identities;
mod methods;
mod query;
mod request;
mod statistics;
mod twins;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ha_wire::{ConnectionString, Secret};
pub use query::{Page, Query};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use request::{Answer, Request};
use tokio::time::Instant;

use crate::budget::Budget;
use crate::credential::{Credential, ReadStrings, host_of};
use crate::{Backoff, Call, Cloud, Entra, Error, Limits, Sku};

/// How many keys one attempt may try: the one in use, what replaced it, and the next.
const KEYS_MAX: u32 = 3;

/// How a [`Client`] is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Certificates (PEM) to trust instead of the system's: for an emulator or a private endpoint.
    pub ca_pem: Option<Vec<u8>>,
    /// The cloud that the hub is in: tokens are asked for in its name for hubs.
    pub cloud: Cloud,
    /// How often a second each kind of operation may be done; by default four fifths of what one S1 unit allows, since
    /// nobody is ever quite alone on a hub.
    pub limits: Limits,
    /// When to try again.
    pub backoff: Backoff,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// Seed of the jitter, for tests; random by default.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            ca_pem: None,
            cloud: Cloud::Public,
            limits: Sku::S1.limits(1).share(0.8),
            backoff: Backoff::default(),
            connect_timeout: Duration::from_secs(10),
            seed: None,
        }
    }
}

/// A client of one hub. Cheap to clone; clones share connections, token and rate budget.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    base: String,
    host: String,
    credential: Credential,
    budget: Budget,
    backoff: Backoff,
    jitter: Mutex<StdRng>,
}

impl Client {
    /// A client for the hub of a service's connection string. Opens no connection yet.
    pub fn new(connection: &ConnectionString, options: &Options) -> Result<Self, Error> {
        let credential = Credential::from_connection(connection)?;
        Self::build("https", connection.host(), &connection.host_and_port(), credential, options)
    }

    /// A client that reads its connection strings from a place. When the hub refuses a key the place is read anew, and
    /// then the next string's key is tried: a rotation needs no restart. All strings are of one hub.
    pub fn with_strings(read: ReadStrings, options: &Options) -> Result<Self, Error> {
        let strings = read().map_err(|_| Error::Setup { reason: "there is no connection string" })?;
        let first = host_of(&strings)?;
        let credential = Credential::from_reader(&strings, read)?;
        Self::build("https", first.host(), &first.host_and_port(), credential, options)
    }

    /// A client for the hub at `host` (a port may follow, after a colon) that proves itself by tokens of Entra ID.
    /// Neither opens a connection yet nor asks for a token.
    pub fn with_entra(host: &str, entra: Entra, options: &Options) -> Result<Self, Error> {
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "443"));
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if name.is_empty() || !name.chars().all(is_name) || port.parse::<u16>().is_err() {
            return Err(Error::Setup { reason: "the hub's host is not like my-hub.azure-devices.net" });
        }
        Self::build("https", name, host, Credential::Entra(entra, options.cloud.hub_scope()), options)
    }

    /// A client that talks plain HTTP, for tests against a stub.
    #[doc(hidden)]
    pub fn insecure_for_tests(connection: &ConnectionString, options: &Options) -> Result<Self, Error> {
        let credential = Credential::from_connection(connection)?;
        Self::build("http", connection.host(), &connection.host_and_port(), credential, options)
    }

    /// The hub's host name.
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    fn build(
        scheme: &str,
        host: &str,
        authority: &str,
        credential: Credential,
        options: &Options,
    ) -> Result<Self, Error> {
        let inner = Inner {
            http: http_client(host, options)?,
            base: format!("{scheme}://{authority}"),
            host: host.to_owned(),
            credential,
            budget: Budget::new(&options.limits),
            backoff: options.backoff,
            jitter: Mutex::new(options.seed.map_or_else(|| rand::make_rng(), StdRng::seed_from_u64)),
        };
        Ok(Client { inner: Arc::new(inner) })
    }

    /// Carries a request out: waits for its rate budget, sends, and repeats what is safe to repeat while there is time.
    async fn send(&self, request: &Request, call: &Call) -> Result<Answer, Error> {
        let mut unknown = false;
        let mut next = 0;
        loop {
            next += 1;
            let error = match self.attempt(request, call).await {
                Ok(answer) => return Ok(answer),
                // Out of time while a first attempt may have happened: that doubt must reach the caller.
                Err(Error::OutOfTime { what, .. }) if unknown => {
                    return Err(Error::NoAnswer { what, waited: Duration::ZERO, outcome_unknown: true });
                }
                Err(error) => error.after_unknown(unknown),
            };
            unknown = error.outcome_unknown();
            let wait = self.wait_before(next, &error);
            let again = call.may_retry() && request.may_repeat_after(&error);
            if !again || wait >= call.time_left(Instant::now()) {
                tracing::debug!(attempt = next, %error, "hub call failed");
                return Err(error);
            }
            tracing::debug!(attempt = next, wait_ms = wait.as_millis(), %error, "hub call failed, trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, request: &Request, call: &Call) -> Result<Answer, Error> {
        let inner = &*self.inner;
        let turn = inner.budget.acquire(request.operation, request.cost(), call.how_urgent(), call.deadline());
        let out_of_time = |_| Error::OutOfTime { what: request.what.clone(), operation: request.operation };
        turn.await.map_err(out_of_time)?;
        let mut keys = 0;
        loop {
            keys += 1;
            let authorization = self.authorization(request, call).await?;
            let time = call.attempt_time(Instant::now());
            let result = request.send_once(&inner.http, &inner.base, authorization.expose(), time).await;
            // What was refused so was not done: it may be sent again as somebody else.
            let refused = matches!(result, Err(Error::Unauthorised(_)));
            if !refused || !inner.credential.refused(&authorization) || keys == KEYS_MAX {
                return result;
            }
        }
    }

    /// Waits for a token no longer than the call may take; nothing has been sent if there is none.
    async fn authorization(&self, request: &Request, call: &Call) -> Result<Secret, Error> {
        let time = call.attempt_time(Instant::now());
        let what = || request.what.clone();
        match tokio::time::timeout(time, self.inner.credential.authorization(unix_now_s())).await {
            Ok(Ok(authorization)) => Ok(authorization),
            Ok(Err(source)) => Err(Error::NoToken { what: what(), source }),
            Err(_) => Err(Error::NoAnswer { what: what(), waited: time, outcome_unknown: false }),
        }
    }

    fn wait_before(&self, next: u32, error: &Error) -> Duration {
        let jitter = self.inner.jitter.lock().unwrap_or_else(PoisonError::into_inner).random::<f64>();
        let retry_after = error.refusal().and_then(|refusal| refusal.retry_after);
        self.inner.backoff.wait(next, matches!(error, Error::Throttled(_)), retry_after, jitter)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.inner.host).finish_non_exhaustive()
    }
}

pub(crate) fn http_client(host: &str, options: &Options) -> Result<reqwest::Client, Error> {
    // Fails only when a provider is installed already, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("iotedge-ha/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        .tcp_keepalive(Duration::from_secs(20))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if let Some(pem) = &options.ca_pem {
        let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(Error::Tls)?;
        if roots.is_empty() {
            return Err(Error::Setup { reason: "the CA file holds no certificate" });
        }
        builder = builder.tls_certs_only(roots);
    }
    if matches!(host, "localhost" | "[::1]") || host.starts_with("127.") {
        builder = builder.no_proxy();
    }
    builder.build().map_err(Error::Tls)
}

pub(crate) fn unix_now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
