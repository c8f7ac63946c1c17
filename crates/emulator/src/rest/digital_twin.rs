//! Digital twins, and commands: direct methods under the names that models give them.

use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use ha_wire::method::MethodRequest;
use ha_wire::percent_encode;
use jiff::Timestamp;
use serde_json::Value;

use super::answer::{Outcome, accepted, method_refused, ok, refused, unknown};
use super::call::Call;
use super::methods::{ask, checked};
use crate::hub::{Expect, Hub, Id, Refusal};
use crate::shell::Shell;

const STATUS_CODE: HeaderName = HeaderName::from_static("x-ms-command-statuscode");

/// `GET` and `PATCH /digitaltwins/{id}`
pub(super) fn digital_twin(hub: &mut Hub, call: &Call, device: &str, now: Timestamp) -> Outcome {
    match call.method.as_str() {
        "GET" => {
            let shown = hub.digital_twin(device)?;
            Ok(with_etag(ok(&shown.body), &shown.etag))
        }
        "PATCH" => {
            let etag = hub.patch_digital_twin(device, &call.json()?, &expect(call), now)?;
            let mut response = with_etag(accepted(), &etag);
            let location = HeaderValue::from_str(&format!("/digitaltwins/{}", percent_encode(device)));
            response.headers_mut().extend(location.ok().map(|location| (LOCATION, location)));
            Ok(response)
        }
        _ => Err(unknown()),
    }
}

/// `POST /digitaltwins/{id}/commands/{command}` and the same for a component.
pub(super) async fn invoke(shell: &Shell, call: &Call, path: &[&str]) -> Response {
    let (device, name) = match path {
        ["digitaltwins", device, "commands", command] => (*device, (*command).to_owned()),
        ["digitaltwins", device, "components", component, "commands", command] => {
            (*device, format!("{component}*{command}"))
        }
        _ => return refused(&unknown()),
    };
    let request = match read(call, name) {
        Ok(request) => request,
        Err(refusal) => return refused(&refusal),
    };
    let id = Id::device(device);
    if !shell.act(|hub, _| hub.exists(&id)) {
        return refused(&Refusal::device_not_found(device));
    }
    match ask(shell, &id, &request).await {
        Ok(answer) => {
            let mut response = ok(&answer.payload);
            response.headers_mut().insert(STATUS_CODE, HeaderValue::from(answer.status));
            response
        }
        Err(refusal) => method_refused(&refusal),
    }
}

fn read(call: &Call, method_name: String) -> Result<MethodRequest, Refusal> {
    let payload = if call.body().is_empty() { Value::Null } else { call.json()? };
    checked(MethodRequest {
        method_name,
        payload,
        response_timeout_in_seconds: seconds(call, "responseTimeoutInSeconds")?,
        connect_timeout_in_seconds: seconds(call, "connectTimeoutInSeconds")?,
    })
}

fn seconds(call: &Call, name: &str) -> Result<Option<u32>, Refusal> {
    let read = call.parameter(name).map(str::parse).transpose();
    read.map_err(|_| Refusal::argument(format!("'{name}' must be a whole number of seconds")))
}

/// The etag goes out weak, so it is taken as it went out.
fn expect(call: &Call) -> Expect {
    let header = call.header("if-match").map(str::trim);
    Expect::parse(header.map(|tag| tag.strip_prefix("W/").unwrap_or(tag)))
}

fn with_etag(mut response: Response, etag: &str) -> Response {
    let etag = HeaderValue::from_str(&format!("W/\"{etag}\""));
    response.headers_mut().extend(etag.ok().map(|etag| (ETAG, etag)));
    response
}
