//! From a TLS stream to an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::{Lost, dress, method_refused, refused};
use super::app::App;
use super::call::{Call, discard, is_long, segments};
use super::record::Asked;
use super::{arm, blob, control, device, entra, events, metering, page, service};
use crate::faults::{RestKind, Verdict};
use crate::hub::{Code, Refusal};
use crate::listen::Peer;
use crate::meters::Meter;
use crate::mqtt;
use crate::shell::Shell;

/// A connection may idle for this long between requests: longer than clients keep theirs, so that they close first.
const IDLE: Duration = Duration::from_secs(120);
/// A request must be complete within this once its head has come.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// The longest head of a request, and what is read ahead of a body.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// When the hub stops, answers may take so much longer.
const LAST_ANSWER_WITHIN: Duration = Duration::from_millis(200);
const MQTT_OVER_WEBSOCKET: &str = "/$iothub/websocket";

/// Serves one connection until it ends.
pub(crate) async fn accept<S>(app: App, stream: S, peer: Arc<Peer>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (stop, stranger) = (app.stop.clone(), Arc::clone(&peer));
    let router = Router::new().fallback(any(answer)).with_state(Visit { app, peer });
    let inner = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request| {
        let inner = inner.clone();
        async move {
            let response = hyper::service::Service::call(&inner, request).await.map_err(std::io::Error::other)?;
            if response.extensions().get::<Lost>().is_some() {
                return Err(std::io::Error::other("the answer is lost on purpose"));
            }
            Ok(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let done = tokio::select! {
        () = stop.cancelled() => {
            // An answer that is on its way, such as the one to the call for a restart, still gets out.
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST_ANSWER_WITHIN, connection).await.unwrap_or(Ok(()))
        }
        () = stranger.must_leave() => return,
        done = &mut connection => done,
    };
    if let Err(e) = done {
        tracing::debug!(error = %e, "an HTTPS connection ended badly");
    }
}

/// One connection's share of the listener.
#[derive(Clone)]
struct Visit {
    app: App,
    peer: Arc<Peer>,
}

async fn answer(State(Visit { app, peer }): State<Visit>, request: Request) -> Response {
    let (shell, recorder) = (Arc::clone(&app.shell), app.recorder.clone());
    let mut response = route(app, request, &peer).await;
    let now = shell.clock.now();
    dress(response.headers_mut(), now);
    match (recorder, response.extensions_mut().remove::<Asked>()) {
        (Some(recorder), Some(asked)) => recorder.take_down(now, &asked, response).await,
        _ => response,
    }
}

async fn route(app: App, request: Request, peer: &Arc<Peer>) -> Response {
    let segments = segments(request.uri().path());
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (ours, authority) = (matches!(path[..], ["_emulator", ..]), entra::is_ours(&path));
    if !ours && !authority {
        app.shell.faults.thaw().await;
    }
    if path == ["$iothub", "websocket"] {
        return upgrade(app, request, peer).await;
    }
    if blob::is_ours(request.uri()) {
        let answered = tokio::time::timeout(REQUEST_WITHIN, blob::answer(&app.shell, request)).await;
        let response = answered.unwrap_or_else(|_| too_slow());
        if response.status().is_success() {
            peer.proved();
        }
        return response;
    }
    let uri = request.uri().clone();
    let call = match tokio::time::timeout(REQUEST_WITHIN, read(&app, request, peer)).await {
        Ok(Ok(call)) => call,
        Ok(Err(refused)) => return refused,
        Err(_) => return too_slow(),
    };
    if events::is_validation(&call.path()) {
        return events::validate(&app.shell, &call);
    }
    if authority {
        return entra::answer(&app.shell, &call, &app.control_token);
    }
    if let Some(file) = page::page(call.method.as_str(), &call.path()) {
        return file;
    }
    let response = match ours {
        true => control::control(&app, &call).await,
        false => recorded(&app, uri, call, peer).await,
    };
    if response.status().is_success() {
        // Nothing succeeds here without credentials.
        peer.proved();
    }
    response
}

/// Reads a request. A long body is read only if the credentials that came before it are good.
async fn read(app: &App, request: Request, peer: &Peer) -> Result<Call, Response> {
    let (call, body) = Call::head(request).map_err(|refusal| refused(&refusal))?;
    if is_long(&body)
        && let Some(turned_away) = turn_away(app, &call, peer)
    {
        discard(body).await;
        return Err(turned_away);
    }
    call.with_body(body).await.map_err(|refusal| refused(&refusal))
}

/// What a caller is told who may not call this at all.
fn turn_away(app: &App, call: &Call, peer: &Peer) -> Option<Response> {
    let path = call.path();
    if matches!(path[..], ["_emulator", ..]) {
        return control::turn_away(app, call);
    }
    if arm::is_ours(&path) {
        return arm::turn_away(&app.shell, call);
    }
    match device::errand(call) {
        Some(errand) => device::turn_away(&app.shell, call, &peer.certificates, &errand),
        None => service::admit(&app.shell, call).err().map(|turned_away| *turned_away),
    }
}

/// Has the request go with its answer to whoever takes exchanges down.
async fn recorded(app: &App, uri: Uri, call: Call, peer: &Peer) -> Response {
    let asked = app.recorder.is_some().then(|| Asked::of(uri, &call));
    let mut response = faulty(&app.shell, call, peer).await;
    if let Some(asked) = asked {
        response.extensions_mut().insert(asked);
    }
    response
}

/// Lets a call run through the REST faults.
async fn faulty(shell: &Shell, call: Call, peer: &Peer) -> Response {
    let path = format!("/{}", call.segments.join("/"));
    let verdict = shell.faults.judge(call.method.as_str(), &path);
    if verdict.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(verdict.delay_ms)).await;
    }
    match verdict.kind {
        Some(RestKind::Throttle) => metering::throttled(shell, service::operation_type(&call)),
        Some(RestKind::ServerError | RestKind::Refusal) => broken(shell, &call, &verdict),
        Some(RestKind::LostAnswers) => {
            let mut response = hub(shell, call, peer).await;
            shell.meters.count(Meter::LostAnswers);
            response.extensions_mut().insert(Lost);
            response
        }
        Some(RestKind::Latency) | None => hub(shell, call, peer).await,
    }
}

async fn hub(shell: &Shell, call: Call, peer: &Peer) -> Response {
    if arm::is_ours(&call.path()) {
        return arm::arm(shell, &call);
    }
    match device::errand(&call) {
        Some(errand) => device::carry_out(shell, &call, &peer.certificates, errand).await,
        None => service::service(shell, &call).await,
    }
}

fn too_slow() -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = axum::http::StatusCode::REQUEST_TIMEOUT;
    response
}

fn broken(shell: &Shell, call: &Call, verdict: &Verdict) -> Response {
    let code = verdict.code.unwrap_or(Code::ServerError);
    if code.http_status() >= 500 {
        shell.meters.count(Meter::ServerErrors);
    }
    let refusal = Refusal::new(code, "made by the emulator's fault");
    match call.segments.last().map(String::as_str) {
        Some("methods") => method_refused(&refusal),
        _ => refused(&refusal),
    }
}

async fn upgrade(app: App, request: Request, peer: &Arc<Peer>) -> Response {
    use axum::extract::FromRequestParts as _;
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            tracing::debug!(error = %rejection, path = MQTT_OVER_WEBSOCKET, "no upgrade");
            return rejection.into_response();
        }
    };
    let caller = mqtt::Caller { transport: "websocket", peer: Arc::clone(peer) };
    ha_mqtt::upgrade(upgrade, move |stream| mqtt::serve(app.shell, stream, caller, app.stop))
}
