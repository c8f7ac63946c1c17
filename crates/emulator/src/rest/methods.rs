//! Direct methods: to a connected device and back, or the reason why not.

use std::time::Duration;

use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::{method_refused, ok, refused};
use super::call::Call;
use crate::hub::{Code, Id, Refusal, Session};
use crate::meters::Meter;
use crate::shell::{Parcel, Shell};

const RESPONSE_TIMEOUT_S: std::ops::RangeInclusive<u64> = 5..=300;
const CONNECT_TIMEOUT_S_MAX: u64 = 300;
const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
const IN_FLIGHT_MAX: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    method_name: String,
    #[serde(default)]
    payload: Value,
    response_timeout_in_seconds: Option<u64>,
    connect_timeout_in_seconds: Option<u64>,
}

/// `POST /twins/{id}/methods` and the same for modules.
pub(super) async fn invoke(shell: &Shell, call: &Call, path: &[&str]) -> Response {
    let id = match path {
        ["twins", device, "modules", module, "methods"] => Id::module(*device, *module),
        [_, device, ..] => Id::device(*device),
        _ => return refused(&Refusal::argument("no such path")),
    };
    let invocation = match Invocation::read(call) {
        Ok(invocation) => invocation,
        Err(refusal) => return refused(&refusal),
    };
    if !shell.act(|hub, _| hub.exists(&id)) {
        return refused(&Refusal::device_not_found(&id.device));
    }
    match carry(shell, &id, &invocation).await {
        Ok(body) => ok(&body),
        Err(refusal) => method_refused(&refusal),
    }
}

impl Invocation {
    fn read(call: &Call) -> Result<Self, Refusal> {
        let it: Self = serde_json::from_value(call.json()?).map_err(|e| Refusal::argument(e.to_string()))?;
        let odd = |c: char| !c.is_ascii_graphic() || "$()<>@,;:\\\"/[]?={}".contains(c);
        if it.method_name.is_empty() || it.method_name.len() > 64 || it.method_name.chars().any(odd) {
            return Err(Refusal::argument("not a method name"));
        }
        if !RESPONSE_TIMEOUT_S.contains(&it.response_timeout_s()) {
            return Err(Refusal::argument("responseTimeoutInSeconds is between 5 and 300"));
        }
        if it.connect_timeout_s() > CONNECT_TIMEOUT_S_MAX {
            return Err(Refusal::argument("connectTimeoutInSeconds is between 0 and 300"));
        }
        if it.connect_timeout_s() > it.response_timeout_s() {
            return Err(Refusal::argument("connectTimeoutInSeconds exceeds responseTimeoutInSeconds"));
        }
        if it.payload.to_string().len() > PAYLOAD_BYTES_MAX {
            return Err(Refusal::new(Code::MessageTooLarge, "the payload is too large"));
        }
        Ok(it)
    }

    fn response_timeout_s(&self) -> u64 {
        self.response_timeout_in_seconds.unwrap_or(30)
    }

    fn connect_timeout_s(&self) -> u64 {
        self.connect_timeout_in_seconds.unwrap_or(0)
    }
}

async fn carry(shell: &Shell, id: &Id, invocation: &Invocation) -> Result<Value, Refusal> {
    let session = reachable(shell, id, invocation.connect_timeout_s()).await?;
    let Some((guard, answer)) = shell.open_call(id, IN_FLIGHT_MAX) else {
        let code = Code::DeviceMaximumInflightMethodExceeded;
        return Err(Refusal::new(code, "too many methods wait for this device"));
    };
    let parcel = Parcel {
        topic: format!("$iothub/methods/POST/{}/?$rid={:x}", invocation.method_name, guard.rid()),
        payload: invocation.payload.to_string().into_bytes(),
        meter: Meter::MethodsDelivered,
    };
    if !shell.post(session, parcel) {
        return Err(not_online());
    }
    let patience = Duration::from_secs(invocation.response_timeout_s());
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
    Ok(json!({"status": answer.status, "payload": payload}))
}

/// Waits for a connection that takes methods, but only if asked to.
async fn reachable(shell: &Shell, id: &Id, connect_timeout_s: u64) -> Result<Session, Refusal> {
    let deadline = Instant::now() + Duration::from_secs(connect_timeout_s);
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
