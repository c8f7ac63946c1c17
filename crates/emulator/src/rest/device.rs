//! What devices may do over HTTPS: send a message.

use axum::response::Response;
use rustls::pki_types::CertificateDer;

use super::answer::{no_content, refused};
use super::call::Call;
use super::metering::throttled;
use crate::access::Credentials;
use crate::hub::{Code, Id, Refusal};
use crate::meters::Meter;
use crate::shell::{Message, Shell};
use crate::throttle::{Lane, Turn};

/// The identity, if the path is one of a device's own.
pub(super) fn sender(method: &str, path: &[&str]) -> Option<Id> {
    match (method, path) {
        ("POST", ["devices", device, "messages", "events"]) => Some(Id::device(*device)),
        ("POST", ["devices", device, "modules", module, "messages", "events"]) => Some(Id::module(*device, *module)),
        _ => None,
    }
}

/// `POST /devices/{d}/messages/events`
pub(super) async fn send(shell: &Shell, call: &Call, certificates: &[CertificateDer<'static>], id: Id) -> Response {
    let token = call.header("authorization").unwrap_or_default();
    let now = shell.clock.now();
    let admission = shell.act(|hub, _| hub.admit(&id));
    let reason = match &admission {
        Ok(admission) => {
            let shown = Credentials { token, certificates };
            shell.access.check_device(&id, &admission.authentication, shown, now).err().map(|denied| denied.to_string())
        }
        Err(barred) => Some(barred.to_string()),
    };
    if let Some(reason) = reason {
        shell.meters.count(Meter::Unauthorized);
        tracing::warn!(%id, reason, "message refused");
        return refused(&Refusal::unauthorized());
    }
    if let Err(spent) = shell.check_quota() {
        return refused(&Refusal::new(Code::IotHubQuotaExceeded, spent.to_string()));
    }
    match shell.gate.take(Lane::Telemetry, 1) {
        Turn::Now => {}
        Turn::After(wait) => {
            shell.meters.count(Meter::Queued);
            tokio::time::sleep(wait).await;
        }
        Turn::Refused => return throttled(shell, "DeviceToCloud"),
    }
    let properties = call
        .headers
        .iter()
        .filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("iothub-app-")?;
            Some((name.to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect();
    shell.publish_message(Message { from: id, at: now, properties, body: call.body().clone() });
    no_content()
}
