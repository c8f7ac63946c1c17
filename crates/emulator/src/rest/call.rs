//! A request, read once: path segments, query, headers, body.

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use futures_util::StreamExt as _;
use serde_json::Value;

use crate::hub::{Code, Expect, Refusal};

/// The longest body: a bulk call or a configuration.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The longest body that is read before its sender's credentials are looked at.
const STRANGERS_BODY_BYTES_MAX: u64 = 64 * 1024;
const SEGMENTS_MAX: usize = 12;

/// A request taken apart.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) segments: Vec<String>,
    pub(super) headers: HeaderMap,
    query: Vec<(String, String)>,
    body: Bytes,
}

impl Call {
    /// Reads what comes before the body, which is yet to be read.
    pub(super) fn head(request: Request) -> Result<(Self, Body), Refusal> {
        let (parts, body) = request.into_parts();
        let segments = segments(parts.uri.path());
        if segments.len() > SEGMENTS_MAX {
            return Err(Refusal::argument("no such path"));
        }
        let query = parts.uri.query().unwrap_or_default();
        let query = query
            .split('&')
            .filter(|field| !field.is_empty())
            .map(|field| field.split_once('=').unwrap_or((field, "")))
            .map(|(name, value)| (decode(name), decode(value)))
            .collect();
        let call = Self { method: parts.method, segments, headers: parts.headers, query, body: Bytes::new() };
        Ok((call, body))
    }

    /// Reads the body; one over the limit is refused.
    pub(super) async fn with_body(self, body: Body) -> Result<Self, Refusal> {
        let read = axum::body::to_bytes(body, BODY_BYTES_MAX).await;
        let body = read.map_err(|_| Refusal::new(Code::MessageTooLarge, "the body is too large"))?;
        Ok(Self { body, ..self })
    }

    /// The path as a list to match on.
    pub(super) fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A query parameter, decoded.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// `If-Match`.
    pub(super) fn expect(&self) -> Expect {
        Expect::parse(self.header("if-match"))
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(&self.body).map_err(|e| Refusal::argument(format!("bad JSON: {e}")))
    }

    /// The body as a form; what does not decode stands as it came.
    pub(super) fn form(&self) -> Vec<(String, String)> {
        let text = String::from_utf8_lossy(&self.body);
        let fields = text.split('&').filter_map(|field| field.split_once('='));
        let plain = |text: &str| decode(&text.replace('+', " "));
        fields.map(|(name, value)| (plain(name), plain(value))).collect()
    }

    /// The body as it came.
    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    /// Any version since 2018-06-30 will do.
    pub(super) fn check_version(&self) -> Result<(), Refusal> {
        let version = self.parameter("api-version").unwrap_or_default();
        let plausible = version.len() >= 10
            && version.is_char_boundary(10)
            && version.as_bytes()[..10].iter().enumerate().all(|(i, b)| match i {
                4 | 7 => *b == b'-',
                _ => b.is_ascii_digit(),
            });
        if plausible && &version[..10] >= "2018-06-30" {
            return Ok(());
        }
        let text = "api-version must be 2018-06-30 or later";
        Err(Refusal::new(Code::InvalidProtocolVersion, text))
    }
}

/// Whether so much may come that only somebody with credentials may send it.
pub(super) fn is_long(body: &Body) -> bool {
    body.size_hint().upper().is_none_or(|most| most > STRANGERS_BODY_BYTES_MAX)
}

/// Reads a body and keeps nothing: whoever still writes does not read an answer.
pub(super) async fn discard(body: Body) {
    let (mut read, mut parts) = (0, body.into_data_stream());
    while let Some(Ok(part)) = parts.next().await {
        read += part.len();
        if read > BODY_BYTES_MAX {
            return;
        }
    }
}

/// Percent-decoded segments; a trailing slash makes no difference.
pub(super) fn segments(path: &str) -> Vec<String> {
    path.trim_matches('/').split('/').map(decode).collect()
}

fn decode(text: &str) -> String {
    ha_wire::percent_decode(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}
