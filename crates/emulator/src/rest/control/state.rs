//! What is in the hub: devices for the page, import and export, the script.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::fleet;
use crate::hub::{Hub, Id};
use crate::rest::answer::{ok, problem};
use crate::rest::call::Call;
use crate::shell::Shell;

/// Every device without its keys, with its twin and its modules' names.
pub(super) fn devices(shell: &Shell) -> Response {
    ok(&shell.act(|hub, _| json!(hub.list_devices(None).iter().map(|device| summary(hub, device)).collect::<Vec<_>>())))
}

/// `devices.txt`, keys included.
pub(super) fn export(shell: &Shell) -> Response {
    let mut response = Response::new(Body::from(shell.act(|hub, _| fleet::export(hub))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Carries out `devices.txt`.
pub(super) fn import(shell: &Shell, call: &Call) -> Response {
    let Ok(text) = std::str::from_utf8(call.body()) else {
        return problem(StatusCode::BAD_REQUEST, "not UTF-8");
    };
    match shell.act(|hub, now| fleet::import(hub, text, now)) {
        Ok(done) => ok(&json!({"lines": done})),
        Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
    }
}

fn summary(hub: &Hub, device: &Value) -> Value {
    let id = device["deviceId"].as_str().unwrap_or_default();
    let modules = hub.identities_of(id);
    json!({
        "id": id,
        "edge": device["capabilities"]["iotEdge"],
        "status": device["status"],
        "connection": device["connectionState"],
        "modules": modules,
        "twin": hub.twin(&Id::device(id)).ok(),
    })
}
