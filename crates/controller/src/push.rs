//! Hints from outside: Event Grid tells that something may have happened to a device, and the pool asks the device itself.
//!
//! Nothing is decided here and nothing is believed: an event may be hours old, repeated, out of order or forged by whoever may deliver. The
//! most that it can do is to have a member asked, at most once per `retry_ms`.

mod authority;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Json, Response};
use axum::routing::{get, options};
use ha_core::ids::MemberId;
use ha_wire::Secret;
use ha_wire::event_grid::{ALLOWED_ORIGIN, Delivery, DeviceEvent, REQUEST_ORIGIN};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::authority::NotTaken;
pub use self::authority::Tokens;
use crate::run::Hints;

/// Event Grid sends at most 1 MB at once.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Of so many devices the newest event is remembered; beyond, some are asked once more than needed.
const REMEMBERED_MAX: usize = 200_000;
/// Shorter secrets can be guessed.
pub const SECRET_LEN_MIN: usize = 20;

/// By what a delivery shows that it may be taken: either is enough.
pub struct Admission {
    /// The secret in its address.
    pub secret: Option<Secret>,
    /// A bearer token.
    pub tokens: Option<Tokens>,
}

struct Hook {
    admission: Admission,
    hints: Hints,
    newest: Mutex<Newest>,
}

/// Serves `/hooks/eventgrid` until `stop`.
pub async fn serve(
    listener: TcpListener,
    admission: Admission,
    hints: Hints,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/hooks/eventgrid", options(give_leave).post(deliver))
        .route("/live", get(|| async { "" }))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(Hook { admission, hints, newest: Mutex::default() }));
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: String,
}

/// The handshake of CloudEvents. Leave to send is no leave to be heard: where deliveries bring tokens, the question need not.
async fn give_leave(State(hook): State<Arc<Hook>>, Query(code): Query<Code>, headers: HeaderMap) -> Response {
    if hook.admission.tokens.is_none()
        && let Err(refusal) = hook.admission.admits(&code, &headers).await
    {
        return refusal;
    }
    match headers.get(REQUEST_ORIGIN) {
        Some(origin) => {
            let leave = [(ALLOWED_ORIGIN, origin.clone()), ("webhook-allowed-rate", "*".parse().expect("a header"))];
            (StatusCode::OK, AppendHeaders(leave)).into_response()
        }
        None => problem(StatusCode::BAD_REQUEST, format!("the header {REQUEST_ORIGIN} is missing")),
    }
}

async fn deliver(State(hook): State<Arc<Hook>>, Query(code): Query<Code>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(refusal) = hook.admission.admits(&code, &headers).await {
        return refusal;
    }
    match Delivery::decode(&body) {
        Ok(Delivery::Validation { code }) => Json(json!({"validationResponse": code})).into_response(),
        Ok(Delivery::Events(events)) => {
            let hinted = hook.take(events);
            Json(json!({"hinted": hinted})).into_response()
        }
        Err(invalid) => problem(StatusCode::BAD_REQUEST, invalid.to_string()),
    }
}

impl Admission {
    /// Says why not, to the log and to whoever asks.
    async fn admits(&self, given: &Code, headers: &HeaderMap) -> Result<(), Response> {
        let knows = |secret: &Secret| given.code.as_bytes().ct_eq(secret.expose().as_bytes()).into();
        if self.secret.as_ref().is_some_and(knows) {
            return Ok(());
        }
        let (status, why) = match &self.tokens {
            None => (StatusCode::UNAUTHORIZED, "the address needs ?code= with the secret".to_owned()),
            Some(tokens) => {
                let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                match tokens.check(header, jiff::Timestamp::now()).await {
                    Ok(()) => return Ok(()),
                    Err(refused @ NotTaken::Refused(_)) => (StatusCode::UNAUTHORIZED, refused.to_string()),
                    // Event Grid comes again after a while.
                    Err(unknown @ NotTaken::NoAuthority(_)) => (StatusCode::SERVICE_UNAVAILABLE, unknown.to_string()),
                }
            }
        };
        tracing::warn!(why, "a delivery of events is not taken");
        Err(problem(status, why))
    }
}

impl Hook {
    /// Passes news on; gives how much of it was.
    fn take(&self, events: Vec<DeviceEvent>) -> usize {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let news = events.into_iter().filter(|event| newest.is_news(event));
        news.map(|event| {
            tracing::debug!(device = event.device, kind = event.kind, "an event tells of a device");
            self.hints.give(&MemberId::new(event.device));
        })
        .count()
    }
}

/// The newest event of each device and module.
#[derive(Default)]
struct Newest {
    sequences: HashMap<(String, Option<String>), String>,
}

impl Newest {
    /// What comes again, or after a later one, is none. Events without a number are always news.
    fn is_news(&mut self, event: &DeviceEvent) -> bool {
        let Some(sequence) = &event.sequence else { return true };
        if self.sequences.len() >= REMEMBERED_MAX {
            self.sequences.clear();
        }
        let known = self.sequences.entry((event.device.clone(), event.module.clone())).or_default();
        let is_news = *sequence > *known;
        if is_news {
            known.clone_from(sequence);
        }
        is_news
    }
}

fn problem(status: StatusCode, why: String) -> Response {
    (status, Json(json!({"error": why}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: Option<&str>, module: Option<&str>) -> DeviceEvent {
        DeviceEvent {
            kind: "DeviceConnected".to_owned(),
            device: "edge-a".to_owned(),
            module: module.map(str::to_owned),
            sequence: sequence.map(str::to_owned),
        }
    }

    #[test]
    fn repeated_and_overtaken_events_are_no_news() {
        let mut newest = Newest::default();
        for (sequence, module, news) in [
            (Some("02"), None, true),
            (Some("02"), None, false),
            (Some("01"), None, false),
            (Some("01"), Some("ha-agent"), true),
            (Some("03"), None, true),
            (None, None, true),
            (None, None, true),
        ] {
            assert_eq!(newest.is_news(&event(sequence, module)), news, "{sequence:?} {module:?}");
        }
    }
}
