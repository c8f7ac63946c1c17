//! The notice over HTTP.

mod messages;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use ha_core::ids::Term;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

pub use self::messages::Outlet;
use super::Notice;
use crate::clock::boot_now;

/// Serves until dropped.
pub(super) async fn serve(
    listener: TcpListener,
    notice: watch::Receiver<Notice>,
    state: watch::Receiver<serde_json::Value>,
    acks: mpsc::UnboundedSender<Term>,
    outlet: Option<Outlet>,
) {
    let shared = Shared { notice, state, acks, outlet, watchers: Arc::new(Semaphore::new(WATCHERS_MAX)) };
    if let Err(error) = axum::serve(listener, router(shared)).await {
        tracing::error!(%error, "the gate's HTTP server ended");
    }
}

const WATCHERS_MAX: usize = 32;
const BODY_BYTES_MAX: usize = 4_096;

#[derive(Clone)]
struct Shared {
    notice: watch::Receiver<Notice>,
    state: watch::Receiver<serde_json::Value>,
    acks: mpsc::UnboundedSender<Term>,
    outlet: Option<Outlet>,
    watchers: Arc<Semaphore>,
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/active", get(active))
        .route("/v1/state", get(state))
        .route("/v1/watch", get(watch_changes))
        .route("/v1/stopped", post(stopped))
        .route("/v1/messages", post(messages::post).layer(DefaultBodyLimit::max(messages::MESSAGE_BYTES_MAX)))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

/// What a reader is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Active {
    active: bool,
    term: Term,
    /// How long this stays true without another word from the agent.
    lease_ms_left: u64,
}

impl Active {
    fn at_present(notice: Notice) -> Self {
        let now = boot_now();
        let active = notice.active_at(now);
        let lease_ms_left = if active { now.until(notice.until).0 } else { 0 };
        Self { active, term: notice.term, lease_ms_left }
    }
}

async fn active(State(shared): State<Shared>) -> Response {
    let active = Active::at_present(*shared.notice.borrow());
    let status = if active.active { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(active)).into_response()
}

async fn state(State(shared): State<Shared>) -> Response {
    let state = shared.state.borrow().clone();
    ([(header::CACHE_CONTROL, "no-store")], Json(state)).into_response()
}

#[derive(Deserialize)]
struct Stopped {
    term: Term,
}

async fn stopped(State(shared): State<Shared>, body: Result<Json<Stopped>, JsonRejection>) -> Response {
    match body {
        Ok(Json(Stopped { term })) => {
            let _ = shared.acks.send(term);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(rejection) => {
            let error =
                serde_json::json!({ "error": "the body must be like {\"term\": 7}", "detail": rejection.body_text() });
            (rejection.status(), Json(error)).into_response()
        }
    }
}

/// One line, or one server-sent event, at once and at each change and renewal.
async fn watch_changes(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let Ok(permit) = shared.watchers.try_acquire_owned() else {
        let error = serde_json::json!({ "error": format!("there are {WATCHERS_MAX} watchers already") });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(error)).into_response();
    };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let events = accept.contains("text/event-stream");
    let mut notice = shared.notice;
    notice.mark_changed();
    let watcher = Watcher { notice, events, _permit: permit };
    let body = Body::from_stream(stream::unfold(watcher, Watcher::next));
    let kind = if events { "text/event-stream" } else { "application/jsonl" };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

struct Watcher {
    notice: watch::Receiver<Notice>,
    events: bool,
    _permit: OwnedSemaphorePermit,
}

impl Watcher {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        self.notice.changed().await.ok()?;
        let active = Active::at_present(*self.notice.borrow_and_update());
        let line = serde_json::to_string(&active).ok()?;
        let text = if self.events { format!("data: {line}\n\n") } else { format!("{line}\n") };
        Some((Ok(text.into()), self))
    }
}
