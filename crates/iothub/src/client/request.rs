use std::time::Duration;

use ha_wire::{API_VERSION, HubError, IfMatch, percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, IF_MATCH};
use reqwest::{Method, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Refusal;
use crate::exchange::Unread;
use crate::{Error, Operation, exchange};

/// Far above any answer of a hub (a page of a hundred twins of 72 KiB).
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Methods are throttled by the size of the request.
const METHOD_STEP_BYTES: usize = 4096;

/// A call to the hub, ready to be sent any number of times.
pub(super) struct Request {
    pub(super) what: String,
    pub(super) operation: Operation,
    effect: Effect,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

/// What repeating a call after a lost answer would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It changes nothing.
    Read,
    /// A merge without a condition: twice is like once.
    Merge,
    /// A write that must not happen twice, or whose second answer would mislead.
    Write,
}

impl Request {
    pub(super) fn new(what: String, operation: Operation, effect: Effect, method: Method, path: &[&str]) -> Self {
        let path: String = path.iter().map(|segment| format!("/{}", percent_encode(segment))).collect();
        Request { what, operation, effect, method, path, headers: Vec::new(), body: None }
    }

    pub(super) fn read(what: String, operation: Operation, path: &[&str]) -> Self {
        Request::new(what, operation, Effect::Read, Method::GET, path)
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn if_match(self, condition: Option<&IfMatch>) -> Self {
        match condition {
            Some(condition) => self.header(IF_MATCH.as_str(), condition.header()),
            None => self,
        }
    }

    pub(super) fn json(mut self, body: &impl Serialize) -> Self {
        // Our own types have string keys and no failing serialisers.
        self.body = Some(serde_json::to_vec(body).unwrap_or_default());
        self
    }

    pub(super) fn cost(&self) -> u32 {
        let bytes = self.body.as_ref().map_or(0, Vec::len);
        if self.operation == Operation::Method {
            u32::try_from(bytes.div_ceil(METHOD_STEP_BYTES)).unwrap_or(1)
        } else {
            1
        }
    }

    /// Refusals that leave no doubt may be repeated where that can help; lost answers only where twice is like once.
    pub(super) fn may_repeat_after(&self, error: &Error) -> bool {
        let helps = match error {
            Error::Throttled(_) | Error::Server(_) | Error::Unreachable { .. } | Error::NoAnswer { .. } => true,
            Error::MethodTimeout(_) => self.effect == Effect::Read,
            Error::NoToken { source, .. } => source.is_retryable(),
            _ => false,
        };
        helps && (!error.outcome_unknown() || self.effect != Effect::Write)
    }

    pub(super) async fn send_once(
        &self,
        http: &reqwest::Client,
        base: &str,
        authorization: &str,
        time: Duration,
    ) -> Result<Answer, Error> {
        let url = format!("{base}{}?api-version={API_VERSION}", self.path);
        let mut request = http.request(self.method.clone(), url).header(AUTHORIZATION, authorization).timeout(time);
        request = request.header(CONTENT_TYPE, "application/json; charset=utf-8");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        let response = request.send().await.map_err(|source| self.lost(source, time))?;
        self.read_answer(response, time).await
    }

    async fn read_answer(&self, mut response: Response, time: Duration) -> Result<Answer, Error> {
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let body = exchange::read_body(response, ANSWER_BYTES_MAX).await.map_err(|unread| match unread {
            Unread::TooLarge => self.bad_answer("it is larger than 16 MiB"),
            Unread::Lost(source) => self.lost(source, time),
        })?;
        if status.is_success() {
            return Ok(Answer { headers, body });
        }
        let code = headers.get(ha_wire::error::HEADER).and_then(|value| value.to_str().ok());
        let said = HubError::decode(code, &body);
        let refusal = Refusal::new(&self.what, status.as_u16(), said, exchange::retry_after(&headers), self.is_write());
        Err(Error::from_refusal(refusal))
    }

    fn lost(&self, source: reqwest::Error, waited: Duration) -> Error {
        let what = self.what.clone();
        let outcome_unknown = self.is_write() && exchange::may_have_arrived(&source);
        if exchange::is_no_answer(&source) {
            return Error::NoAnswer { what, waited, outcome_unknown };
        }
        // The address is in `what` and the host in the client; the full URL only makes the text longer.
        Error::Unreachable { what, outcome_unknown, source: source.without_url() }
    }

    pub(super) fn bad_answer(&self, reason: impl ToString) -> Error {
        let outcome_unknown = self.is_write();
        Error::BadAnswer { what: self.what.clone(), reason: reason.to_string(), outcome_unknown }
    }

    pub(super) fn decode<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        serde_json::from_slice(&answer.body).map_err(|error| self.bad_answer(error))
    }

    fn is_write(&self) -> bool {
        self.effect != Effect::Read
    }
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer {
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
    }
}
