//! Cloud-to-device messages over HTTPS: devices receive and settle them; whoever has the control token sends them, for
//! the real hub's way to send one is AMQP; back ends learn what became of them.

use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::json;

use super::answer::{Outcome, no_content, ok, refused, unknown};
use super::call::Call;
use super::metering::throttled;
use crate::hub::{Ack, CloudMessage, Expect, FEEDBACK, Hub, Received, Refusal, Settlement, print_time};
use crate::meters::Meter;
use crate::shell::Shell;
use crate::throttle::{Lane, Turn};

/// `POST /_emulator/v1/devices/{d}/messages/deviceBound`
pub(super) async fn send(shell: &Shell, call: &Call, device: &str) -> Response {
    match shell.gate.take(Lane::CloudToDevice, 1) {
        Turn::Now => {}
        Turn::After(wait) => {
            shell.meters.count(Meter::Queued);
            tokio::time::sleep(wait).await;
        }
        Turn::Refused => return throttled(shell, "CloudToDevice"),
    }
    let sent = read(call).and_then(|message| shell.send_message(device, message));
    match sent {
        Ok(sequence) => ok(&json!({"sequenceNumber": sequence})),
        Err(refusal) => refused(&refusal),
    }
}

/// `GET /devices/{d}/messages/deviceBound`
pub(super) fn receive(shell: &Shell, device: &str) -> Result<Response, Refusal> {
    let Some(received) = shell.act(|hub, now| hub.receive_message(device, now))? else {
        return Ok(no_content());
    };
    shell.meters.count(Meter::CloudMessagesDelivered);
    Ok(answer(&format!("/devices/{device}/messages/deviceBound"), received))
}

/// `GET /messages/serviceBound/feedback`, `DELETE …/{lock}` and `POST …/{lock}/abandon`
pub(super) fn feedback(hub: &mut Hub, call: &Call, rest: &[&str], now: Timestamp) -> Outcome {
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let Some(received) = hub.receive_feedback(now) else {
                return Ok(no_content());
            };
            let mut response = answer("/messages/serviceBound/feedback", received);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FEEDBACK));
            Ok(response)
        }
        ("DELETE", [lock]) => hub.settle_feedback(lock, Settlement::Complete, now).map(|()| no_content()),
        ("POST", [lock, "abandon"]) => hub.settle_feedback(lock, Settlement::Abandon, now).map(|()| no_content()),
        _ => Err(unknown()),
    }
}

/// Completes, rejects or abandons a message. `If-Match`, where given, must say the same as the path.
pub(super) fn settle(
    shell: &Shell,
    call: &Call,
    device: &str,
    lock_token: &str,
    settlement: Settlement,
) -> Result<(), Refusal> {
    let expect = call.expect();
    if expect != Expect::Nothing && !expect.allows(lock_token) {
        return Err(Refusal::precondition());
    }
    shell.act(|hub, now| hub.settle_message(device, lock_token, settlement, now))
}

fn read(call: &Call) -> Result<CloudMessage, Refusal> {
    let own = |name: &str| call.header(name).map(str::to_owned);
    let expiry = call.header("iothub-expiry").map(|text| {
        text.parse::<Timestamp>()
            .map_err(|e| Refusal::argument(format!("iothub-expiry: {e} (say 2030-01-31T12:00:00Z)")))
    });
    let ack = call.header("iothub-ack").map(|text| {
        Ack::parse(text).ok_or_else(|| Refusal::argument("iothub-ack is none, positive, negative or full"))
    });
    let property = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = name.as_str().strip_prefix("iothub-app-")?;
        Some((name.to_owned(), value.to_str().ok()?.to_owned()))
    };
    Ok(CloudMessage {
        message_id: own("iothub-messageid"),
        correlation_id: own("iothub-correlationid"),
        user_id: own("iothub-userid"),
        content_type: own("iothub-contenttype"),
        content_encoding: own("iothub-contentencoding"),
        ack: ack.transpose()?,
        expiry: expiry.transpose()?,
        properties: call.headers.iter().filter_map(property).collect(),
        body: call.body().to_vec(),
    })
}

fn answer(to: &str, received: Received) -> Response {
    let message = received.message;
    let mut response = Response::new(message.body.into());
    let headers = response.headers_mut();
    put(headers, "iothub-sequencenumber", &received.sequence.to_string());
    put(headers, "iothub-enqueuedtime", &print_time(received.enqueued));
    put(headers, "iothub-expiry", &print_time(received.expires));
    put(headers, "iothub-deliverycount", &received.deliveries.to_string());
    put(headers, "iothub-to", to);
    let texts = [
        ("iothub-messageid", message.message_id),
        ("iothub-correlationid", message.correlation_id),
        ("iothub-userid", message.user_id),
        ("iothub-contenttype", message.content_type),
        ("iothub-contentencoding", message.content_encoding),
        ("iothub-ack", message.ack.map(|ack| ack.as_str().to_owned())),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            put(headers, name, &value);
        }
    }
    for (name, value) in &message.properties {
        put(headers, &format!("iothub-app-{name}"), value);
    }
    if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", received.lock_token)) {
        headers.insert(ETAG, etag);
    }
    response
}

/// What cannot stand in a header is left out.
fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) {
        headers.append(name, value);
    }
}
