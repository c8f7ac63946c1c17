//! What devices may do over HTTPS: send a message.

use axum::response::Response;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::answer::{no_content, refused};
use super::call::Call;
use crate::access::Credentials;
use crate::hub::{Id, Refusal};
use crate::meters::Meter;
use crate::shell::{Message, Shell};

/// The identity, if the path is one of a device's own.
pub(super) fn sender(method: &str, path: &[&str]) -> Option<Id> {
    match (method, path) {
        ("POST", ["devices", device, "messages", "events"]) => Some(Id::device(*device)),
        ("POST", ["devices", device, "modules", module, "messages", "events"]) => Some(Id::module(*device, *module)),
        _ => None,
    }
}

/// `POST /devices/{d}/messages/events`
pub(super) fn send(shell: &Shell, call: &Call, certificates: &[CertificateDer<'static>], id: Id) -> Response {
    let token = call.header("authorization").unwrap_or_default();
    let now = Timestamp::now();
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
