//! The control API: faults, connections, counts. No part of any real hub.

use axum::http::StatusCode;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::{no_content, ok, with_body};
use super::call::Call;
use crate::faults::{DeviceFault, RestFault, RestKind};
use crate::shell::Shell;

/// Carries out a call under `/_emulator/v1/`.
pub(super) fn control(shell: &Shell, call: &Call, token: &str) -> Response {
    let given = call.header("authorization").and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default();
    if !same(given.as_bytes(), token.as_bytes()) {
        return problem(StatusCode::UNAUTHORIZED, "send the control token: Authorization: Bearer …");
    }
    let path = call.path();
    match (call.method.as_str(), path.get(2..).unwrap_or_default()) {
        ("GET", ["faults"]) => ok(&faults(shell)),
        ("DELETE", ["faults"]) => {
            shell.faults.heal_all();
            no_content()
        }
        ("PUT", ["faults", "devices", id]) => match read::<DeviceFault>(call, DeviceFault::check) {
            Ok(fault) => {
                tracing::info!(device = id, ?fault, "fault on a link");
                shell.faults.set_device(id, fault);
                no_content()
            }
            Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
        },
        ("DELETE", ["faults", "devices", id]) => {
            shell.faults.heal_device(id);
            tracing::info!(device = id, "link healed");
            no_content()
        }
        ("PUT", ["faults", "hub", kind]) => match rest_fault(call, kind) {
            Ok((kind, fault)) => {
                tracing::info!(?kind, ?fault, "fault on REST answers");
                shell.faults.set_rest(kind, fault);
                no_content()
            }
            Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
        },
        ("DELETE", ["faults", "hub", kind]) => match rest_kind(kind) {
            Ok(kind) => {
                shell.faults.heal_rest(kind);
                no_content()
            }
            Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
        },
        ("GET", ["connections"]) => ok(&json!(shell.connections())),
        ("GET", ["meters"]) => ok(&json!(shell.meters.all())),
        ("DELETE", ["meters"]) => {
            shell.meters.reset();
            no_content()
        }
        _ => problem(StatusCode::NOT_FOUND, "no such control call"),
    }
}

fn faults(shell: &Shell) -> Value {
    json!({"devices": shell.faults.devices(), "hub": shell.faults.rest()})
}

fn rest_fault(call: &Call, kind: &str) -> Result<(RestKind, RestFault), String> {
    let kind = rest_kind(kind)?;
    let fault = read::<RestFault>(call, RestFault::check)?;
    if kind == RestKind::Latency && fault.delay_ms.is_none() {
        return Err("latency needs delay_ms".into());
    }
    Ok((kind, fault))
}

fn rest_kind(name: &str) -> Result<RestKind, String> {
    serde_json::from_value(json!(name)).map_err(|e| e.to_string())
}

fn read<T: DeserializeOwned>(call: &Call, check: impl FnOnce(&T) -> Result<(), String>) -> Result<T, String> {
    let body: &[u8] = match call.body().as_ref() {
        [] => b"{}",
        body => body,
    };
    let fault = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    check(&fault)?;
    Ok(fault)
}

fn problem(status: StatusCode, text: &str) -> Response {
    with_body(status, &json!({"error": text}))
}

/// In time that depends on the lengths only.
pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |acc, (l, r)| acc | (l ^ r)) == 0
}
