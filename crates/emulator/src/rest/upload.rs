//! What a device asks before and tells after it uploads a file.

use axum::response::Response;
use serde_json::Value;

use super::answer::{method_refused, no_content, ok, refused};
use super::call::Call;
use crate::hub::{Code, Refusal};
use crate::shell::Shell;

/// `POST /devices/{d}/files`
pub(super) fn begin(shell: &Shell, call: &Call, device: &str) -> Response {
    let now = shell.clock.now();
    let in_force = shell.events.management.in_force(now);
    // The blob is behind the same door as the hub.
    let host = call.header("host").unwrap_or("localhost").to_ascii_lowercase();
    let begun = call.json().and_then(|body| shell.uploads.begin(device, &body, in_force.uploads.as_ref(), &host, now));
    match begun {
        Ok(body) => ok(&body),
        // Seen so in what users report, while bad arguments have the other form.
        Err(refusal) if refusal.code == Code::DeviceMaximumActiveFileUploadLimitExceeded => method_refused(&refusal),
        Err(refusal) => refused(&refusal),
    }
}

/// `POST /devices/{d}/files/notifications[/{correlation}]`: SDKs differ in where they put it.
pub(super) fn end(shell: &Shell, call: &Call, device: &str, named: Option<&str>) -> Result<Response, Refusal> {
    let body = call.json()?;
    let correlation = named.or_else(|| body["correlationId"].as_str());
    let correlation = correlation.ok_or_else(|| Refusal::argument("correlationId must be a text"))?;
    let success = body["isSuccess"].as_bool();
    let success = success.ok_or_else(|| Refusal::argument("isSuccess must be true or false"))?;
    shell.uploads.end(device, correlation, shell.clock.now())?;
    let status = body.get("statusCode").and_then(Value::as_i64);
    tracing::info!(device, success, status, "a device has uploaded a file, or tried to");
    Ok(no_content())
}
