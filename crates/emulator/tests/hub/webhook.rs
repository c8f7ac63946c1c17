//! A webhook on loopback that records what it is sent, and answers as it is told.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::device::PATIENCE;

/// What a webhook was sent.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Agrees to handshakes, and takes events.
    Willing,
    /// Takes the question and does not answer it.
    Mute,
    /// Answers handshakes with 202.
    Vague,
}

#[derive(Clone)]
struct Inner {
    manner: Manner,
    /// Answers to deliveries; when they run out, 200.
    statuses: Arc<Mutex<Vec<u16>>>,
    seen: mpsc::UnboundedSender<Seen>,
}

pub(crate) struct Webhook {
    pub(crate) url: String,
    seen: mpsc::UnboundedReceiver<Seen>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Webhook {
    pub(crate) async fn open(manner: Manner) -> Self {
        Self::with_statuses(manner, &[]).await
    }

    /// The first deliveries are answered with these.
    pub(crate) async fn with_statuses(manner: Manner, statuses: &[u16]) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let statuses = Arc::new(Mutex::new(statuses.iter().rev().copied().collect()));
        let router = Router::new().fallback(any(answer)).with_state(Inner { manner, statuses, seen: sender });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { url, seen, server }
    }

    /// The next request, handshakes included.
    pub(crate) async fn next(&mut self) -> Seen {
        let seen = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
        seen.expect("in time").expect("a request")
    }

    /// The next event of this type; others are passed over.
    pub(crate) async fn event(&mut self, kind: &str) -> Seen {
        loop {
            let seen = self.next().await;
            let event = if seen.body.is_array() { &seen.body[0] } else { &seen.body };
            if [&event["eventType"], &event["type"]].contains(&&json!(format!("Microsoft.Devices.{kind}"))) {
                return seen;
            }
        }
    }
}

async fn answer(State(inner): State<Inner>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let seen = Seen { method, headers, body };
    let handshake = seen.method == Method::OPTIONS || seen.header("aeg-event-type") == "SubscriptionValidation";
    let code = seen.body[0]["data"]["validationCode"].clone();
    let origin = seen.header("webhook-request-origin").to_owned();
    let response = match (handshake, inner.manner) {
        (true, Manner::Vague) => StatusCode::ACCEPTED.into_response(),
        (true, Manner::Mute) => StatusCode::OK.into_response(),
        (true, Manner::Willing) => {
            let body = json!({"validationResponse": code}).to_string();
            ([("webhook-allowed-origin", origin), ("webhook-allowed-rate", "*".to_owned())], body).into_response()
        }
        (false, _) => {
            let status = inner.statuses.lock().expect("unpoisoned").pop().unwrap_or(200);
            StatusCode::from_u16(status).expect("a status").into_response()
        }
    };
    let _ = inner.seen.send(seen);
    response
}
