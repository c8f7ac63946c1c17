//! Counts, bills, throttles.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::read;
use crate::meters::{self, Gauges, open_metrics};
use crate::rest::answer::{no_content, ok, problem};
use crate::rest::call::Call;
use crate::shell::Shell;
use crate::throttle::Throttling;

/// Carries out a call under `/meters`; `None` if there is no such call.
pub(super) fn meters(shell: &Shell, call: &Call, path: &[&str]) -> Option<Response> {
    Some(match (call.method.as_str(), path) {
        ("GET", []) => ok(&json!(shell.meters.all())),
        ("GET", ["billed"]) => ok(&json!(shell.meters.billed())),
        ("GET", ["devices"]) => ok(&json!(shell.meters.by_device())),
        ("DELETE", []) => {
            shell.meters.reset();
            no_content()
        }
        _ => return None,
    })
}

/// Carries out a call on `/throttles`; `None` if there is no such call.
pub(super) fn throttles(shell: &Shell, call: &Call) -> Option<Response> {
    Some(match call.method.as_str() {
        "GET" => ok(&json!(shell.gate.status(shell.clock.now()))),
        "PUT" if call.body().is_empty() => problem(StatusCode::BAD_REQUEST, "name a sku, such as {\"sku\":\"S1\"}"),
        "PUT" => match read(call, Throttling::check) {
            Ok(throttling) => {
                tracing::info!(?throttling, "throttles set");
                shell.set_throttling(Some(throttling));
                no_content()
            }
            Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
        },
        "DELETE" => {
            shell.set_throttling(None);
            no_content()
        }
        _ => return None,
    })
}

/// Everything as OpenMetrics text.
pub(super) fn metrics(shell: &Shell) -> Response {
    let gauges = Gauges { connections: shell.connections().len(), throttles: shell.gate.status(shell.clock.now()) };
    let mut response = Response::new(Body::from(open_metrics(&shell.meters, &gauges)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(meters::CONTENT_TYPE));
    response
}
