//! edgeHub over HTTPS: methods between modules, messages, MQTT over WebSocket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ha_wire::Properties;
use ha_wire::method::{MethodRequest, RESPONSE_TIMEOUT_S_DEFAULT};
use ha_wire::topics::FromDevice;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Door, control, session};
use crate::access::{self, now_unix_s};
use crate::hub::Answer;
use crate::id::Id;

/// A connection may idle for this long between requests.
const IDLE: Duration = Duration::from_secs(120);
const BODY_BYTES_MAX: usize = 512 * 1024;

/// Serves one connection until it ends.
pub(super) async fn serve<S>(door: Arc<Door>, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stop = door.stop.clone();
    let router = Router::new()
        .route("/twins/{device}/modules/{module}/methods", post(call_module))
        .route("/twins/{device}/methods", post(call_device))
        .route("/devices/{device}/messages/events", post(send_from_device))
        .route("/devices/{device}/modules/{module}/messages/events", post(send_from_module))
        .route(ha_wire::topics::WEBSOCKET_PATH, get(upgrade))
        .nest(control::PATH, control::routes())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(door);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::select! {
        () = stop.cancelled() => {}
        served = connection => {
            if let Err(error) = served {
                tracing::debug!(%error, "an HTTPS connection broke");
            }
        }
    }
}

async fn call_module(
    State(door): State<Arc<Door>>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    call(&door, Id::module(device, module), &headers, &body).await
}

async fn call_device(
    State(door): State<Arc<Door>>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    call(&door, Id::device(device), &headers, &body).await
}

/// A method called by a module of this device, with the cloud or without.
async fn call(door: &Door, to: Id, headers: &HeaderMap, body: &[u8]) -> Response {
    let caller = headers.get("x-ms-edge-moduleId").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some((device, module)) = caller.split_once('/') else {
        return problem(StatusCode::BAD_REQUEST, "the header x-ms-edge-moduleId names no device/module");
    };
    let caller = Id::module(device, module);
    if device != door.device {
        return problem(StatusCode::UNAUTHORIZED, "the caller is not a module of this device");
    }
    if let Err(reason) = authenticate(door, &caller, headers).await {
        return problem(StatusCode::UNAUTHORIZED, &reason);
    }
    let request: MethodRequest = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if let Err(error) = request.validate() {
        return problem(StatusCode::BAD_REQUEST, &error.to_string());
    }
    let response_s = request.response_timeout_in_seconds.unwrap_or(RESPONSE_TIMEOUT_S_DEFAULT);
    let connect_s = request.connect_timeout_in_seconds.unwrap_or(0);
    match door.hub.call(to.clone(), request.method_name, request.payload, connect_s, response_s).await {
        Answer::Given { status, payload } => {
            let payload: Value = serde_json::from_slice(&payload).unwrap_or_default();
            Json(json!({"status": status, "payload": payload})).into_response()
        }
        Answer::NotConnected => problem(StatusCode::NOT_FOUND, &format!("{to} is not connected to edgeHub")),
        Answer::TimedOut => problem(StatusCode::GATEWAY_TIMEOUT, &format!("{to} did not answer in time")),
    }
}

async fn send_from_device(
    State(door): State<Arc<Door>>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    send(&door, Id::device(device), &headers, body).await
}

async fn send_from_module(
    State(door): State<Arc<Door>>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    send(&door, Id::module(device, module), &headers, body).await
}

async fn send(door: &Door, id: Id, headers: &HeaderMap, body: Bytes) -> Response {
    if let Err(reason) = authenticate(door, &id, headers).await {
        return problem(StatusCode::UNAUTHORIZED, &reason);
    }
    let mut properties = Properties::new();
    for (name, value) in headers {
        let value = value.to_str().unwrap_or_default();
        match name.as_str() {
            "iothub-messageid" => properties.set_system("mid", value),
            "iothub-correlationid" => properties.set_system("cid", value),
            "iothub-userid" => properties.set_system("uid", value),
            "iothub-contenttype" => properties.set_system("ct", value),
            "iothub-contentencoding" => properties.set_system("ce", value),
            name => {
                if let Some(name) = name.strip_prefix("iothub-app-") {
                    properties.set(name, value);
                }
            }
        }
    }
    let topic = FromDevice::Event { device: id.device.clone(), module: id.module.clone(), properties };
    door.hub.post(id, topic, body).await;
    StatusCode::NO_CONTENT.into_response()
}

async fn authenticate(door: &Door, id: &Id, headers: &HeaderMap) -> Result<(), String> {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let identity = door.registry.find(id).await.ok_or_else(|| format!("{id} is not known on this device"))?;
    access::check(token, id, &identity, &door.hosts, now_unix_s()).map(drop).map_err(|denied| denied.to_string())
}

async fn upgrade(State(door): State<Arc<Door>>, upgrade: WebSocketUpgrade) -> Response {
    ha_mqtt::upgrade(upgrade, move |stream| session::serve(door, stream, "websocket"))
}

fn problem(status: StatusCode, message: &str) -> Response {
    tracing::info!(status = status.as_u16(), message, "an HTTPS call was refused");
    (status, Json(json!({ "message": message }))).into_response()
}
