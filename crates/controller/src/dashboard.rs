//! A page on all pools, for a browser; the same as JSON.
//!
//! It shows what [`report`](crate::operate::report) finds: the record and the members themselves, no controller's opinion. It only reads. The hub is asked
//! while somebody looks, and at most once in a period however many look.

mod look;
mod page;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use askama::Template as _;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{AppendHeaders, Html, IntoResponse, Json, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::look::Dashboard;
use self::page::Page;

const POLICY: &str =
    "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("../templates/dashboard.css");

/// Serves the page at `/` and its content at `/v1/pools` until `stop`.
pub async fn serve(listener: TcpListener, dashboard: Dashboard, stop: CancellationToken) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let app = Router::new()
        .route("/", get(page))
        .route("/dashboard.css", get(|| async { ([("content-type", "text/css; charset=utf-8")], STYLE) }))
        .route("/v1/pools", get(async |State(dashboard): State<Arc<Dashboard>>| Json(dashboard.look().await)))
        .layer(from_fn_with_state(address, guard))
        .with_state(Arc::new(dashboard));
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn page(State(dashboard): State<Arc<Dashboard>>) -> Response {
    let look = dashboard.look().await;
    match Page::of(&look, dashboard.period()).render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Who listens on this machine alone is not to be read through a name that somebody else points here.
async fn guard(State(address): State<SocketAddr>, request: Request, next: Next) -> Response {
    if address.ip().is_loopback()
        && !names_this_machine(request.headers().get(HOST).and_then(|host| host.to_str().ok()))
    {
        let why = format!("ask for http://{address}/, by that address or as localhost");
        return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
    }
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (AppendHeaders(headers), next.run(request).await).into_response()
}

fn names_this_machine(host: Option<&str>) -> bool {
    let Some(authority) = host.and_then(|host| host.parse::<Uri>().ok()) else { return false };
    let name = authority.host().unwrap_or_default().trim_matches(['[', ']']);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_known() {
        for host in ["localhost", "localhost:8460", "127.0.0.1:8460", "[::1]:8460", "127.1.2.3"] {
            assert!(names_this_machine(Some(host)), "{host}");
        }
        for host in ["evil.example:8460", "localhost.evil.example", "10.0.0.1:8460", "", "a b"] {
            assert!(!names_this_machine(Some(host)), "{host}");
        }
        assert!(!names_this_machine(None));
    }
}
