//! Direct methods: to a connected device and back, or the reason why not.

use std::time::Duration;

use axum::response::Response;
use ha_wire::method::{MethodAnswer, MethodRequest, RESPONSE_TIMEOUT_S_DEFAULT};
use ha_wire::topics::{RequestId, ToDevice};
use serde_json::Value;
use tokio::time::Instant;

use super::answer::{method_refused, ok, refused};
use super::call::Call;
use crate::hub::{Code, Id, Refusal, Session};
use crate::meters::Meter;
use crate::shell::{Parcel, Shell};

const IN_FLIGHT_MAX: usize = 100;

/// `POST /twins/{id}/methods` and the same for modules.
pub(super) async fn invoke(shell: &Shell, call: &Call, path: &[&str]) -> Response {
    let id = match path {
        ["twins", device, "modules", module, "methods"] => Id::module(*device, *module),
        [_, device, ..] => Id::device(*device),
        _ => return refused(&Refusal::argument("no such path")),
    };
    let request = match read(call) {
        Ok(request) => request,
        Err(refusal) => return refused(&refusal),
    };
    if !shell.act(|hub, _| hub.exists(&id)) {
        return refused(&Refusal::device_not_found(&id.device));
    }
    match carry(shell, &id, &request).await {
        Ok(body) => ok(&body),
        Err(refusal) => method_refused(&refusal),
    }
}

fn read(call: &Call) -> Result<MethodRequest, Refusal> {
    checked(serde_json::from_value(call.json()?).map_err(|e| Refusal::argument(e.to_string()))?)
}

/// The request, if it is within the hub's limits.
pub(super) fn checked(request: MethodRequest) -> Result<MethodRequest, Refusal> {
    match request.validate() {
        Ok(()) => Ok(request),
        Err(e) => Err(Refusal::argument(e.to_string())),
    }
}

/// Calls a method of a device and waits for the answer, as long as the request says.
pub(crate) async fn carry(shell: &Shell, id: &Id, request: &MethodRequest) -> Result<Value, Refusal> {
    let answer = ask(shell, id, request).await?;
    serde_json::to_value(answer).map_err(|e| Refusal::new(Code::ServerError, e.to_string()))
}

/// The same with the answer in its parts.
pub(super) async fn ask(shell: &Shell, id: &Id, request: &MethodRequest) -> Result<MethodAnswer, Refusal> {
    let session = reachable(shell, id, request.connect_timeout_in_seconds.unwrap_or(0)).await?;
    let Some((guard, answer)) = shell.open_call(id, IN_FLIGHT_MAX) else {
        let code = Code::DeviceMaximumInflightMethodExceeded;
        return Err(Refusal::new(code, "too many methods wait for this device"));
    };
    let rid = RequestId::new(format!("{:x}", guard.rid()));
    let name = request.method_name.clone();
    let topic = ToDevice::MethodCall { name, rid: rid.map_err(|e| Refusal::argument(e.to_string()))? };
    let parcel = Parcel {
        receipt: None,
        topic: topic.to_string(),
        payload: request.payload.to_string().into_bytes(),
        meter: Meter::MethodsDelivered,
    };
    if !shell.post(session, parcel) {
        return Err(not_online());
    }
    let patience_s = request.response_timeout_in_seconds;
    let patience_s = patience_s.unwrap_or(RESPONSE_TIMEOUT_S_DEFAULT);
    let patience = Duration::from_secs(patience_s.into());
    let Ok(Ok(answer)) = tokio::time::timeout(patience, answer).await else {
        let text = "Timed out waiting for the response from device.";
        return Err(Refusal::new(Code::GatewayTimeout, text));
    };
    let payload = match serde_json::from_slice(&answer.payload) {
        Ok(payload) => payload,
        Err(_) if answer.payload.is_empty() => Value::Null,
        Err(e) => {
            tracing::warn!(%id, error = %e, "a method's answer is not JSON");
            Value::Null
        }
    };
    Ok(MethodAnswer { status: answer.status, payload })
}

/// Waits for a connection that takes methods, but only if asked to.
async fn reachable(shell: &Shell, id: &Id, connect_timeout_s: u32) -> Result<Session, Refusal> {
    let deadline = Instant::now() + Duration::from_secs(connect_timeout_s.into());
    let mut links = shell.links();
    loop {
        links.mark_unchanged();
        if let Some((session, _)) = shell.act(|hub, _| hub.method_session(id)) {
            return Ok(session);
        }
        let changed = tokio::time::timeout_at(deadline, links.changed()).await;
        if !matches!(changed, Ok(Ok(()))) {
            return Err(not_online());
        }
    }
}

fn not_online() -> Refusal {
    Refusal::new(Code::DeviceNotOnline, "Timed out waiting for device to connect.")
}
