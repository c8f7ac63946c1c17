//! Messages of the workload, taken while this member is active and stamped with the term under which they were taken.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ha_core::ids::{PoolName, Term};
use ha_wire::Properties;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

use super::Shared;
use crate::clock::boot_now;
use crate::link::{Message, Outcome};

/// What the hub takes, body and properties together (Microsoft docs: quotas and throttling, 256 KB a device-to-cloud message).
pub(super) const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Of names and values: they travel in an MQTT topic, encoded, which ends at 65,535 bytes.
const PROPERTIES_BYTES_MAX: usize = 16 * 1024;

/// How long the hub may take to acknowledge. Behind edgeHub that is its disk; else a round trip, and perhaps a new connection first.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a message goes from here.
#[derive(Clone, Debug)]
pub struct Outlet {
    /// The pool it is stamped with.
    pub pool: PoolName,
    /// The line to the hub.
    pub link: mpsc::Sender<Message>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Way {
    /// The edgeHub output that the message leaves by.
    output: Option<String>,
}

/// Why a message was not taken, or what is known of it after all.
struct Refused {
    status: StatusCode,
    error: String,
    sent: &'static str,
    term: Option<Term>,
}

impl Refused {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), sent: "no", term: None }
    }

    fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.error, "sent": self.sent });
        if let Some(term) = self.term {
            body["term"] = json!(term.0);
        }
        let busy = self.status == StatusCode::SERVICE_UNAVAILABLE;
        let retry = busy.then_some([(header::RETRY_AFTER, "1")]);
        (self.status, retry, Json(body)).into_response()
    }
}

pub(super) async fn post(
    State(shared): State<Shared>,
    way: Result<Query<Way>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match take(&shared, way, &headers, body).await {
        Ok(sent) => Json(sent).into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn take(
    shared: &Shared,
    way: Result<Query<Way>, QueryRejection>,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Value, Refused> {
    let Some(outlet) = &shared.outlet else {
        let hint = "this agent takes no messages; start it with --messages, or set gate.messages = true";
        return Err(Refused::new(StatusCode::NOT_FOUND, hint));
    };
    let Query(way) = way.map_err(|rejection| Refused::bad(rejection.body_text()))?;
    let body = body.map_err(|rejection| Refused::new(rejection.status(), rejection.body_text()))?;
    let mut properties = properties(headers, way.output.as_deref())?;
    let notice = *shared.notice.borrow();
    if !notice.active_at(boot_now()) {
        let error = "this device is not active";
        return Err(Refused { term: Some(notice.term), ..Refused::new(StatusCode::CONFLICT, error) });
    }
    let term = notice.term;
    properties.set("ha-pool", outlet.pool.as_str());
    properties.set("ha-term", term.to_string());
    check_sizes(&properties, body.len())?;
    send(&outlet.link, properties, body).await.map_err(|refused| Refused { term: Some(term), ..refused })?;
    Ok(json!({ "sent": "yes", "term": term.0 }))
}

async fn send(link: &mpsc::Sender<Message>, properties: Properties, body: Bytes) -> Result<(), Refused> {
    let unavailable = |error: &str| Refused::new(StatusCode::SERVICE_UNAVAILABLE, error);
    let (outcome, came) = oneshot::channel();
    link.try_send(Message { properties, payload: body.to_vec(), outcome }).map_err(|error| match error {
        TrySendError::Full(_) => unavailable("too many messages wait to be sent"),
        TrySendError::Closed(_) => unavailable("the agent is stopping"),
    })?;
    let unknown = |error: &str| Refused { sent: "unknown", ..Refused::new(StatusCode::GATEWAY_TIMEOUT, error) };
    match tokio::time::timeout(PATIENCE, came).await {
        Ok(Ok(Outcome::Acknowledged)) => Ok(()),
        Ok(Ok(Outcome::NotSent)) => Err(unavailable("there is no connection to the hub")),
        Ok(Err(_)) => Err(unknown("the connection broke before the hub had acknowledged the message")),
        Err(_) => Err(unknown("the hub has not acknowledged the message in time")),
    }
}

/// As the hub's own HTTPS door reads them: `iothub-app-NAME` for each property of the application.
fn properties(headers: &HeaderMap, output: Option<&str>) -> Result<Properties, Refused> {
    let mut properties = Properties::new();
    if let Some(output) = output {
        if output.is_empty() || output.len() > 128 || !output.chars().all(|c| c.is_ascii_graphic()) {
            return Err(Refused::bad("output must be a name of 1 to 128 printable characters"));
        }
        properties.set_system("on", output);
    }
    for (name, value) in headers {
        let text = || value.to_str().map_err(|_| Refused::bad(format!("{name}: only printable ASCII is taken")));
        if let Some(own) = name.as_str().strip_prefix("iothub-app-") {
            check_name(own, name)?;
            properties.set(own, text()?);
        } else if let Some((_, system)) = SYSTEM.iter().find(|(header, _)| *header == name.as_str()) {
            properties.set_system(system, text()?);
        } else if *name == header::CONTENT_TYPE {
            content_type(&mut properties, text()?);
        }
    }
    Ok(properties)
}

const SYSTEM: [(&str, &str); 3] =
    [("iothub-messageid", "mid"), ("iothub-correlationid", "cid"), ("iothub-userid", "uid")];

/// The hub looks into bodies only when type and encoding stand apart, and it wants to be told of UTF-8.
fn content_type(properties: &mut Properties, given: &str) {
    let mut parts = given.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset = parts.find_map(|part| part.strip_prefix("charset="));
    let encoding = charset.or((kind == "application/json").then_some("utf-8"));
    properties.set_system("ct", kind);
    if let Some(encoding) = encoding {
        properties.set_system("ce", encoding.trim_matches('"').to_ascii_lowercase());
    }
}

fn check_name(own: &str, header: &HeaderName) -> Result<(), Refused> {
    if own.is_empty() {
        return Err(Refused::bad(format!("{header}: a property needs a name")));
    }
    if own.starts_with("ha-") {
        return Err(Refused::bad(format!("{header}: names that begin with ha- are the agent's")));
    }
    Ok(())
}

fn check_sizes(properties: &Properties, body: usize) -> Result<(), Refused> {
    let sizes = properties.iter().map(|(name, value)| name.len() + value.map_or(0, str::len));
    let size: usize = sizes.sum();
    let too_large = |error: String| Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, error));
    if size > PROPERTIES_BYTES_MAX {
        return too_large(format!("the properties have {size} bytes; at most {PROPERTIES_BYTES_MAX} are taken"));
    }
    if size + body > MESSAGE_BYTES_MAX {
        return too_large(format!("the message has {} bytes; the hub takes {MESSAGE_BYTES_MAX}", size + body));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use expect_test::{Expect, expect};

    use super::*;

    fn check(headers: &[(&'static str, &'static str)], output: Option<&str>, expected: Expect) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let said = properties(&headers, output).map_or_else(|refused| refused.error, |found| found.to_string());
        expected.assert_eq(&said);
    }

    #[test]
    fn headers_become_properties() {
        check(&[], None, expect![""]);
        check(
            &[("iothub-app-level", "a b"), ("iothub-messageid", "m1"), ("accept", "*/*")],
            Some("advice"),
            expect!["%24.on=advice&level=a%20b&%24.mid=m1"],
        );
        check(&[("content-type", "application/json")], None, expect!["%24.ct=application%2Fjson&%24.ce=utf-8"]);
        check(&[("content-type", "Text/Plain; charset=\"UTF-8\"")], None, expect!["%24.ct=text%2Fplain&%24.ce=utf-8"]);
        check(&[("content-type", "application/octet-stream")], None, expect!["%24.ct=application%2Foctet-stream"]);
    }

    #[test]
    fn what_is_the_agents_is_nobody_elses() {
        check(
            &[("iothub-app-ha-term", "9")],
            None,
            expect!["iothub-app-ha-term: names that begin with ha- are the agent's"],
        );
        check(&[("iothub-app-", "9")], None, expect!["iothub-app-: a property needs a name"]);
        check(&[], Some("a b"), expect!["output must be a name of 1 to 128 printable characters"]);
    }

    #[test]
    fn what_the_hub_would_refuse_is_refused() {
        let long = Properties::new().with("k", "v".repeat(PROPERTIES_BYTES_MAX));
        assert!(check_sizes(&long, 0).is_err());
        let short = Properties::new().with("key", "value");
        assert!(check_sizes(&short, MESSAGE_BYTES_MAX - 8).is_ok());
        assert!(check_sizes(&short, MESSAGE_BYTES_MAX - 7).is_err());
    }
}
