//! A record of what was asked over HTTP and answered: one line of JSON for each exchange.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::answer::Lost;
use super::call::Call;
use crate::error::Error;

/// Takes exchanges down, each before its answer goes out.
#[derive(Debug)]
pub(crate) struct Recorder(Mutex<File>);

/// A request, as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    pub(super) fn of(uri: Uri, call: &Call) -> Self {
        let (method, headers, body) = (call.method.clone(), call.headers.clone(), call.body().clone());
        Self { method, uri, headers, body }
    }
}

impl Recorder {
    /// Goes on at the end of a file that is there. Bodies may hold keys, so it is readable by the owner only.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        opened.map(|file| Self(Mutex::new(file))).map_err(Error::write(path))
    }

    /// Gives the answer back.
    pub(super) async fn take_down(&self, at: Timestamp, asked: &Asked, answer: Response) -> Response {
        let (parts, body) = answer.into_parts();
        // What the hub answers is in memory already.
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let mut answered = part(&parts.headers, &body);
        answered.insert("status".into(), parts.status.as_u16().into());
        if parts.extensions.get::<Lost>().is_some() {
            answered.insert("lost".into(), true.into());
        }
        self.write(&json!({
            "at": at.to_string(),
            "method": asked.method.as_str(),
            "path": asked.uri.path(),
            "query": asked.uri.query().unwrap_or_default(),
            "asked": part(&asked.headers, &asked.body),
            "answered": answered,
        }));
        Response::from_parts(parts, Body::from(body))
    }

    fn write(&self, exchange: &Value) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = file.write_all(format!("{exchange}\n").as_bytes()) {
            tracing::error!(error = %e, "an exchange is missing in the record");
        }
    }
}

/// Headers, without credentials, and the body in the simplest form that holds it.
fn part(headers: &HeaderMap, body: &[u8]) -> Map<String, Value> {
    let shown = headers.iter().filter(|(name, _)| *name != AUTHORIZATION);
    let shown: Map<_, _> =
        shown.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into())).collect();
    let mut part = Map::from_iter([("headers".to_owned(), Value::Object(shown))]);
    if body.is_empty() {
        return part;
    }
    if let Ok(json) = serde_json::from_slice(body) {
        part.insert("json".into(), json);
    } else if let Ok(text) = std::str::from_utf8(body) {
        part.insert("text".into(), text.into());
    } else {
        part.insert("base64".into(), BASE64.encode(body).into());
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_by_example() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, "SharedAccessSignature secret".parse().expect("a value"));
        headers.insert("if-match", "\"*\"".parse().expect("a value"));
        let headers = &headers;
        let shown = |body: &[u8]| Value::from(part(headers, body)).to_string();
        assert_eq!(shown(b""), r#"{"headers":{"if-match":"\"*\""}}"#);
        assert_eq!(shown(b" "), r#"{"headers":{"if-match":"\"*\""},"text":" "}"#);
        assert_eq!(shown(b"{\"a\":1}"), r#"{"headers":{"if-match":"\"*\""},"json":{"a":1}}"#);
        assert_eq!(shown(b"\xff"), r#"{"headers":{"if-match":"\"*\""},"base64":"/w=="}"#);
    }
}
