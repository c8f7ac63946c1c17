//! The control API: the line to the cloud. No part of any real edgeHub.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::Door;
use crate::Cut;

/// Where the control API is.
pub(crate) const PATH: &str = "/_edge/v1";

/// What it controls.
pub(crate) struct Control {
    pub(crate) token: String,
    pub(crate) cut: watch::Sender<Cut>,
}

/// The state of the line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Upstream {
    cut: Cut,
}

pub(super) fn routes() -> Router<Arc<Door>> {
    Router::new().route("/upstream", axum::routing::get(read).put(write))
}

async fn read(State(door): State<Arc<Door>>, headers: HeaderMap) -> Response {
    if !is_allowed(&door.control, &headers) {
        return unauthorized();
    }
    let cut = *door.control.cut.borrow();
    Json(Upstream { cut }).into_response()
}

async fn write(State(door): State<Arc<Door>>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_allowed(&door.control, &headers) {
        return unauthorized();
    }
    match serde_json::from_slice(&body) {
        Ok(Upstream { cut }) => {
            tracing::info!(?cut, "the line to the cloud");
            door.control.cut.send_replace(cut);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({"error": error.to_string()}))).into_response(),
    }
}

fn is_allowed(control: &Control, headers: &HeaderMap) -> bool {
    let header = headers.get("authorization").and_then(|value| value.to_str().ok());
    let given = header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default();
    same(given.as_bytes(), control.token.as_bytes())
}

fn unauthorized() -> Response {
    let error = "send the control token: Authorization: Bearer …";
    (StatusCode::UNAUTHORIZED, Json(json!({ "error": error }))).into_response()
}

/// In time that depends on the lengths only.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |acc, (l, r)| acc | (l ^ r)) == 0
}
