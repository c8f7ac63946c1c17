//! The control API: faults, connections, counts. No part of any real hub.

mod faults;
mod meters;
mod state;

use axum::http::StatusCode;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answer::{ok, problem};
use super::app::App;
use super::bound;
use super::call::Call;
use super::events;

/// Carries out a call under `/_emulator/`.
pub(super) async fn control(app: &App, call: &Call) -> Response {
    let shell = &app.shell;
    if let Some(turned_away) = turn_away(app, call) {
        return turned_away;
    }
    let path = call.path();
    if events::is_ours(&path) {
        return events::control(app, call).await;
    }
    let answer = match (call.method.as_str(), path.get(1..).unwrap_or_default()) {
        ("GET", ["metrics"]) => Some(meters::metrics(shell)),
        (_, ["v1", "faults", rest @ ..]) => faults::faults(shell, call, rest),
        (_, ["v1", "meters", rest @ ..]) => meters::meters(shell, call, rest),
        (_, ["v1", "throttles"]) => meters::throttles(shell, call),
        ("POST", ["v1", "devices", id, "messages", "deviceBound"]) => Some(bound::send(shell, call, id).await),
        ("POST", ["v1", "evaluate"]) => Some(ok(&json!(crate::evaluation::now(shell)))),
        ("GET", ["v1", "devices"]) => Some(state::devices(shell)),
        ("GET", ["v1", "export"]) => Some(state::export(shell)),
        ("POST", ["v1", "import"]) => Some(state::import(shell, call)),
        ("GET", ["v1", "script"]) => Some(ok(&shell.script.shown())),
        ("GET", ["v1", "connections"]) => Some(ok(&json!(shell.connections()))),
        _ => None,
    };
    answer.unwrap_or_else(|| problem(StatusCode::NOT_FOUND, "no such control call"))
}

/// What a caller is told who has not the control token.
pub(super) fn turn_away(app: &App, call: &Call) -> Option<Response> {
    let given = call.header("authorization").and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default();
    if app.control_token.is(given) {
        return None;
    }
    Some(problem(StatusCode::UNAUTHORIZED, "send the control token: Authorization: Bearer …"))
}

fn read<T: DeserializeOwned>(call: &Call, check: impl FnOnce(&T) -> Result<(), String>) -> Result<T, String> {
    let body: &[u8] = match call.body().as_ref() {
        [] => b"{}",
        body => body,
    };
    let read = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    check(&read)?;
    Ok(read)
}
