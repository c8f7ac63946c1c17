//! What devices may do over HTTPS: send messages, receive and settle messages, upload files. No twins, no methods.

mod batch;

use axum::response::Response;
use rustls::pki_types::CertificateDer;

use super::answer::{no_content, refused};
use super::bound;
use super::call::Call;
use super::metering::throttled;
use super::upload;
use crate::access::Credentials;
use crate::hub::{Code, Id, Refusal, Settlement};
use crate::meters::Meter;
use crate::mqtt::MESSAGE_BYTES_MAX;
use crate::shell::{Message, Shell};
use crate::throttle::{Lane, Turn};

/// What a call on a device's own paths asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Errand {
    /// `POST /devices/{d}/messages/events`, or a module's.
    Send(Id),
    /// `GET /devices/{d}/messages/deviceBound`
    Receive(Id),
    /// `DELETE …/deviceBound/{lock}[?reject]` or `POST …/deviceBound/{lock}/abandon`
    Settle { id: Id, lock_token: String, settlement: Settlement },
    /// `POST /devices/{d}/files`
    BeginUpload(Id),
    /// `POST /devices/{d}/files/notifications[/{correlation}]`
    EndUpload { id: Id, correlation: Option<String> },
}

/// The errand, if the path is one of a device's own.
pub(super) fn errand(call: &Call) -> Option<Errand> {
    let (method, path) = (call.method.as_str(), call.path());
    let is_bound = |segment: &str| segment.eq_ignore_ascii_case("deviceBound");
    let settle = |device: &str, lock: &str, settlement| Errand::Settle {
        id: Id::device(device),
        lock_token: lock.to_owned(),
        settlement,
    };
    Some(match (method, path.as_slice()) {
        ("POST", ["devices", device, "messages", "events"]) => Errand::Send(Id::device(*device)),
        ("POST", ["devices", device, "modules", module, "messages", "events"]) => {
            Errand::Send(Id::module(*device, *module))
        }
        ("GET", ["devices", device, "messages", bound]) if is_bound(bound) => Errand::Receive(Id::device(*device)),
        ("DELETE", ["devices", device, "messages", bound, lock]) if is_bound(bound) => {
            let rejects = call.parameter("reject").is_some();
            settle(device, lock, if rejects { Settlement::Reject } else { Settlement::Complete })
        }
        ("POST", ["devices", device, "messages", bound, lock, "abandon"]) if is_bound(bound) => {
            settle(device, lock, Settlement::Abandon)
        }
        ("POST", ["devices", device, "files"]) => Errand::BeginUpload(Id::device(*device)),
        ("POST", ["devices", device, "files", "notifications", rest @ ..]) if rest.len() <= 1 => {
            Errand::EndUpload { id: Id::device(*device), correlation: rest.first().map(|&named| named.to_owned()) }
        }
        _ => return None,
    })
}

/// Carries it out for whoever the call proves to be.
pub(super) async fn carry_out(
    shell: &Shell,
    call: &Call,
    certificates: &[CertificateDer<'static>],
    errand: Errand,
) -> Response {
    if let Some(turned_away) = turn_away(shell, call, certificates, &errand) {
        return turned_away;
    }
    let done = match errand {
        Errand::Send(id) => send(shell, call, id).await,
        Errand::Receive(id) => bound::receive(shell, &id.device),
        Errand::Settle { id, lock_token, settlement } => {
            bound::settle(shell, call, &id.device, &lock_token, settlement).map(|()| no_content())
        }
        Errand::BeginUpload(id) => Ok(upload::begin(shell, call, &id.device)),
        Errand::EndUpload { id, correlation } => upload::end(shell, call, &id.device, correlation.as_deref()),
    };
    done.unwrap_or_else(|refusal| refused(&refusal))
}

/// What a caller is told who is not the one whose errand it is.
pub(super) fn turn_away(
    shell: &Shell,
    call: &Call,
    certificates: &[CertificateDer<'static>],
    errand: &Errand,
) -> Option<Response> {
    let (Errand::Send(id)
    | Errand::Receive(id)
    | Errand::Settle { id, .. }
    | Errand::BeginUpload(id)
    | Errand::EndUpload { id, .. }) = errand;
    let reason = check(shell, call, certificates, id).err()?;
    shell.meters.count(Meter::Unauthorized);
    tracing::warn!(%id, reason, "device call refused");
    Some(refused(&Refusal::unauthorized()))
}

fn check(shell: &Shell, call: &Call, certificates: &[CertificateDer<'static>], id: &Id) -> Result<(), String> {
    let token = call.header("authorization").unwrap_or_default();
    let admission = shell.act(|hub, _| hub.admit(id)).map_err(|barred| barred.to_string())?;
    let shown = Credentials { token, certificates };
    let granted = shell.access().check_device(id, &admission.authentication, shown, shell.clock.now());
    granted.map(|_| ()).map_err(|denied| denied.to_string())
}

async fn send(shell: &Shell, call: &Call, from: Id) -> Result<Response, Refusal> {
    if call.body().len() > MESSAGE_BYTES_MAX {
        let text = format!("a message, or a batch, has at most {MESSAGE_BYTES_MAX} bytes");
        return Err(Refusal::new(Code::MessageTooLarge, text));
    }
    let at = shell.clock.now();
    let is_batch = call.header("content-type").is_some_and(|kind| kind.starts_with(batch::CONTENT_TYPE));
    let messages = match is_batch {
        true => batch::read(call.body())?,
        false => vec![(properties(call), call.body().clone())],
    };
    shell.check_quota().map_err(|spent| Refusal::new(Code::IotHubQuotaExceeded, spent.to_string()))?;
    match shell.gate.take(Lane::Telemetry, 1) {
        Turn::Now => {}
        Turn::After(wait) => {
            shell.meters.count(Meter::Queued);
            tokio::time::sleep(wait).await;
        }
        Turn::Refused => return Ok(throttled(shell, "DeviceToCloud")),
    }
    for (properties, body) in messages {
        shell.publish_message(Message { from: from.clone(), at, properties, body });
    }
    Ok(no_content())
}

/// Names as MQTT has them: `$.mid` for a message id, the application's own as they are.
fn properties(call: &Call) -> Vec<(String, String)> {
    let text = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        Some((property(name.as_str())?, value.to_str().ok()?.to_owned()))
    };
    call.headers.iter().filter_map(text).collect()
}

/// The property that a header, or a key in a batch, stands for.
fn property(header: &str) -> Option<String> {
    let header = header.to_ascii_lowercase();
    if let Some(own) = header.strip_prefix("iothub-app-") {
        return Some(own.to_owned());
    }
    let system = match header.as_str() {
        "iothub-messageid" => "$.mid",
        "iothub-correlationid" => "$.cid",
        "iothub-userid" => "$.uid",
        "iothub-contenttype" => "$.ct",
        "iothub-contentencoding" => "$.ce",
        "iothub-to" => "$.to",
        _ => return None,
    };
    Some(system.to_owned())
}
