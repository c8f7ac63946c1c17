//! Answers in the hub's manner.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, DATE, ETAG, SERVER, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use ha_wire::error::{HEADER, form_a, form_b};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::hub::{Code, Refusal, Shown};

const ERROR_CODE: HeaderName = HeaderName::from_static(HEADER);
/// Ours: why the hub refused what the real one refuses without a word.
const REASON: HeaderName = HeaderName::from_static("x-emulator-reason");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// What came of a call on the hub's own paths.
pub(super) type Outcome = Result<Response, Refusal>;

/// Marks an answer that must never arrive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost;

/// A call that the hub does not know.
pub(super) fn unknown() -> Refusal {
    Refusal::new(Code::GenericMethodNotAllowed, "no such operation")
}

/// An error as the control API words it.
pub(super) fn problem(status: StatusCode, text: &str) -> Response {
    with_body(status, &json!({"error": text}))
}

/// 200 with a body.
pub(super) fn ok(body: &Value) -> Response {
    with_body(StatusCode::OK, body)
}

/// 200 with a body and, where the hub sends one, a quoted `ETag`.
pub(super) fn shown(shown: &Shown) -> Response {
    let mut response = ok(&shown.body);
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", shown.etag)) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

/// 204.
pub(super) fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// 202 without a body.
pub(super) fn accepted() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// Any status with a JSON body.
pub(super) fn with_body(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// An error as the registry, twins and configurations word it.
pub(super) fn refused(refusal: &Refusal) -> Response {
    let body = form_a(refusal.code, &refusal.text, &tracking_id());
    coded(refusal, &body)
}

/// An error as direct methods word it: JSON inside a string.
pub(super) fn method_refused(refusal: &Refusal) -> Response {
    let at = ha_wire::Timestamp::new(Timestamp::now());
    let (info, tracking_id) = (json!({}), tracking_id());
    let body = form_b(refusal.code, &refusal.text, &tracking_id, &info, at);
    coded(refusal, &body)
}

/// The headers that every answer of the hub carries.
pub(super) fn dress(headers: &mut HeaderMap, now: Timestamp) {
    headers.insert(SERVER, HeaderValue::from_static("Microsoft-HTTPAPI/2.0"));
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT");
    insert(headers, DATE, &date.to_string());
    insert(headers, REQUEST_ID, &uuid::Uuid::new_v4().to_string());
}

/// An error in whatever words, with the header that names it.
pub(super) fn coded(refusal: &Refusal, body: &Value) -> Response {
    let status = StatusCode::from_u16(refusal.code.http_status());
    let mut response = with_body(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body);
    insert(response.headers_mut(), ERROR_CODE, refusal.code.name());
    if let Some(reason) = &refusal.reason {
        tracing::info!(code = refusal.code.name(), reason, "request refused");
        let visible = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
        insert(response.headers_mut(), REASON, &reason.chars().map(visible).collect::<String>());
    }
    response
}

fn tracking_id() -> String {
    let id = uuid::Uuid::new_v4().simple();
    let at = Timestamp::now().strftime("%m/%d/%Y %H:%M:%S");
    format!("{id}-G:0-TimeStamp:{at}")
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
