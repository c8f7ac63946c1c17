//! Queries, and how results come in pages.

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use ha_wire::query::{HEADER_CONTINUATION, HEADER_ITEM_TYPE, HEADER_MAX_ITEM_COUNT};
use jiff::Timestamp;
use serde_json::Value;

use super::answer::{Outcome, ok};
use super::call::Call;
use crate::hub::{Hub, PAGE_MAX, Page, Refusal};

/// `POST /devices/query`
pub(super) fn query(hub: &mut Hub, call: &Call, now: Timestamp) -> Outcome {
    let body = call.json()?;
    let text = body.get("query").and_then(Value::as_str).ok_or_else(|| Refusal::argument("BadRequest"))?;
    hub.query(text, page_size(call), continuation(call), now).map(page)
}

/// How many rows the caller wants at most; what is no number counts for nothing.
pub(super) fn page_size(call: &Call) -> usize {
    let asked = call.header(HEADER_MAX_ITEM_COUNT).and_then(|count| count.trim().parse::<usize>().ok());
    asked.filter(|count| *count > 0).unwrap_or(PAGE_MAX)
}

/// Where the caller wants to go on.
pub(super) fn continuation(call: &Call) -> Option<&str> {
    call.header(HEADER_CONTINUATION).filter(|token| !token.is_empty())
}

/// A page with the headers that say what it is and whether there is more.
pub(super) fn page(page: Page) -> Response {
    let mut response = ok(&Value::Array(page.rows));
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(HEADER_ITEM_TYPE), HeaderValue::from_static(page.item_type));
    if let Some(Ok(token)) = page.continuation.map(HeaderValue::try_from) {
        headers.insert(HeaderName::from_static(HEADER_CONTINUATION), token);
    }
    response
}
