//! The controller as the custom handler of an Azure Function app.
//!
//! The host starts the program, sends each invocation as `POST /NAME` and takes the answer for the function's. What an
//! invocation is about is told by its binding, not by its name: `timer`, `event` (Event Grid) or `req` (HTTP).
//!
//! Nothing is kept between invocations that another instance would miss: who may act is the control lease's to say, as
//! among any controllers. A timer's pass *holds*: it renews for minutes, since no lease could wait for the next timer to
//! be renewed. An event makes one pass if none is under way here.

mod http;
mod invocation;
mod passes;
mod timing;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::invocation::{Invocation, Reply, Trigger};
use self::passes::Passes;
pub use self::timing::{Function, Timing, hold_needed, short_hold};
use crate::hub::iot::IotHub;
use crate::run::Setup;

/// The variable in which the host names the port to listen at, and its older name.
pub const PORT_ENV: [&str; 2] = ["FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"];

/// Far above an event (1 MB at most) with what the host wraps around it.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

struct Shared {
    setup: Setup<IotHub>,
    passes: Passes,
}

/// Serves invocations until `stop`, then ends the pass under way and gives the control lease back.
pub async fn serve(
    listener: TcpListener,
    setup: Setup<IotHub>,
    hold: Duration,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let shared = Arc::new(Shared { setup, passes: Passes::new(hold, stop.clone()) });
    let app = Router::new()
        .route("/", get(|| async { "ready" }))
        .route("/{function}", post(invoke))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared);
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// A request that cannot be read, or work that failed, fails the invocation: the host shows it and, for events, tries again.
async fn invoke(State(shared): State<Arc<Shared>>, Path(function): Path<String>, body: Bytes) -> Response {
    let invocation = match Invocation::read(&body) {
        Ok(invocation) => invocation,
        Err(reason) => {
            tracing::warn!(function, reason, "an invocation is not understood");
            return (StatusCode::BAD_REQUEST, Json(Reply::says(reason))).into_response();
        }
    };
    // In a task of its own: a host that hangs up does not stop a pass half way.
    let work = tokio::spawn(async move { shared.work(invocation).await });
    match work.await {
        Ok(Ok(reply)) => Json(reply).into_response(),
        Ok(Err(reason)) => {
            tracing::warn!(function, reason, "an invocation failed");
            (StatusCode::INTERNAL_SERVER_ERROR, Json(Reply::says(reason))).into_response()
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Json(Reply::says("the invocation was cut off"))).into_response(),
    }
}

impl Shared {
    async fn work(&self, invocation: Invocation) -> Result<Reply, String> {
        match invocation.trigger {
            Trigger::Timer { is_past_due } => {
                tracing::debug!(is_past_due, "the timer is due");
                self.passes.hold(&self.setup).await.map(Reply::says)
            }
            Trigger::Event(event) => self.passes.after_event(&self.setup, &event).await.map(Reply::says),
            Trigger::Http(request) => Ok(http::answer(&self.setup, &request).await),
        }
    }
}
