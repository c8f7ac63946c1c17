//! One call: token, attempts, answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use reqwest::header::{AUTHORIZATION, HeaderMap, IF_MATCH};
use reqwest::{Method, Url};
use serde_json::Value;
use tokio::time::Instant;

use super::error::code_and_message;
use super::{Bearer, Error, Options, Refusal};
use crate::exchange::Unread;
use crate::{Backoff, client, exchange};

/// Far above any resource.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) struct Request {
    what: String,
    method: Method,
    url: String,
    if_match: Option<String>,
    body: Option<Value>,
}

impl Request {
    pub(super) fn new(what: impl Into<String>, method: Method, url: String) -> Self {
        Self { what: what.into(), method, url, if_match: None, body: None }
    }

    /// Bare, as Microsoft's own client sends it.
    pub(super) fn if_match(mut self, etag: &str) -> Self {
        self.if_match = Some(etag.to_owned());
        self
    }

    pub(super) fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn bad_answer(&self, reason: impl ToString) -> Error {
        Error::BadAnswer { what: self.what.clone(), reason: reason.to_string() }
    }

    fn is_write(&self) -> bool {
        self.method == Method::PUT
    }

    fn lost(&self, source: reqwest::Error, waited: Duration) -> Error {
        let what = self.what.clone();
        let outcome_unknown = self.is_write() && exchange::may_have_arrived(&source);
        if exchange::is_no_answer(&source) {
            return Error::NoAnswer { what, waited, outcome_unknown };
        }
        Error::Unreachable { what, outcome_unknown, source: source.without_url() }
    }
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        exchange::retry_after(&self.headers)
    }

    pub(super) fn json(&self, request: &Request) -> Result<Value, Error> {
        serde_json::from_slice(&self.body).map_err(|error| request.bad_answer(error))
    }
}

pub(super) struct Sender {
    http: reqwest::Client,
    endpoint: Url,
    bearer: Arc<dyn Bearer>,
    backoff: Backoff,
    attempt: Duration,
    jitter: Mutex<StdRng>,
}

impl Sender {
    pub(super) fn new(bearer: Arc<dyn Bearer>, options: &Options) -> Result<Self, Error> {
        let given = &options.endpoint;
        let no = |why: &str| Error::Setup(format!("{given:?} is no address for it: {why}"));
        let endpoint = Url::parse(given).map_err(|error| no(&error.to_string()))?;
        let Some(host) = endpoint.host_str() else { return Err(no("it names no host")) };
        // A token is worth as much as a key: it goes over plain HTTP to this very machine only, which is for tests.
        let loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        if endpoint.scheme() != "https" && !loopback {
            return Err(no("https is expected"));
        }
        if endpoint.path() != "/" || endpoint.query().is_some() || !endpoint.username().is_empty() {
            return Err(no("scheme, host and port are expected, and nothing more"));
        }
        let http = crate::Options { ca_pem: options.ca_pem.clone(), ..crate::Options::default() };
        let http = client::http_client(host, &http).map_err(|error| Error::Setup(error.to_string()))?;
        let (backoff, attempt) = (Backoff::default(), options.attempt);
        Ok(Self { http, endpoint, bearer, backoff, attempt, jitter: Mutex::new(rand::make_rng()) })
    }

    /// Without a `/` at its end.
    pub(super) fn endpoint(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    /// Whether an address is on the endpoint.
    pub(super) fn is_ours(&self, url: &str) -> bool {
        Url::parse(url).is_ok_and(|url| url.origin() == self.endpoint.origin())
    }

    /// Sends what changes nothing; again while that may help and there is time.
    pub(super) async fn read(&self, request: &Request, until: Instant) -> Result<Answer, Error> {
        let mut next = 0;
        loop {
            next += 1;
            let error = match self.once(request, until).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let passing = matches!(error, Error::Throttled(_) | Error::Server(_))
                || matches!(error, Error::Unreachable { .. } | Error::NoAnswer { .. });
            let wait = self.wait_before(next, &error);
            if !passing || Instant::now() + wait >= until {
                return Err(error);
            }
            tracing::debug!(attempt = next, wait_ms = wait.as_millis(), %error, "a call to Azure Resource Manager failed, trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends a write: again only after a refusal that leaves no doubt.
    pub(super) async fn write(&self, request: &Request, until: Instant) -> Result<Answer, Error> {
        let mut next = 0;
        loop {
            next += 1;
            match self.once(request, until).await {
                Err(error @ Error::Throttled(_)) if Instant::now() + self.wait_before(next, &error) < until => {
                    tokio::time::sleep(self.wait_before(next, &error)).await;
                }
                other => return other,
            }
        }
    }

    async fn once(&self, request: &Request, until: Instant) -> Result<Answer, Error> {
        let scope = format!("{}/.default", self.endpoint());
        let token = self.bearer.token(&scope).await.map_err(Error::Token)?;
        let time = self.attempt.min(until.saturating_duration_since(Instant::now()));
        let mut sent = self.http.request(request.method.clone(), &request.url).timeout(time);
        sent = sent.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        if let Some(etag) = &request.if_match {
            sent = sent.header(IF_MATCH, etag);
        }
        if let Some(body) = &request.body {
            sent = sent.json(body);
        }
        let mut response = sent.send().await.map_err(|source| request.lost(source, time))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let body = exchange::read_body(response, ANSWER_BYTES_MAX).await.map_err(|unread| match unread {
            Unread::TooLarge => request.bad_answer("it is larger than 4 MiB"),
            Unread::Lost(source) => request.lost(source, time),
        })?;
        let status_code = status.as_u16();
        if status.is_success() {
            return Ok(Answer { status: status_code, headers, body });
        }
        let (code, message) = code_and_message(&body);
        let request_id = headers.get("x-ms-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        Err(Error::from_refusal(Refusal {
            what: request.what.clone(),
            status: status_code,
            code,
            message,
            request_id,
            retry_after: exchange::retry_after(&headers),
            outcome_unknown: request.is_write() && matches!(status_code, 408 | 500..),
        }))
    }

    pub(super) fn wait_before(&self, next: u32, error: &Error) -> Duration {
        let jitter = self.jitter.lock().unwrap_or_else(PoisonError::into_inner).random::<f64>();
        let retry_after = error.refusal().and_then(|refusal| refusal.retry_after);
        self.backoff.wait(next, matches!(error, Error::Throttled(_)), retry_after, jitter)
    }
}
