//! A page for people: what is in the hub and what it is doing. It asks the control API, with the control token.

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

/// Nothing but our own files, and nobody may frame them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// What the hub's own port says to a person who comes by; the service has nothing there.
const SIGN: &str =
    "This is an IoT Hub emulator. A page for people is at /_emulator/, the control API at /_emulator/v1/.\n";

/// The file of the page that a path names; none of them holds anything secret.
pub(super) fn page(method: &str, path: &[&str]) -> Option<Response> {
    let (kind, text) = match (method, path) {
        ("GET", [""]) => ("text/plain; charset=utf-8", SIGN),
        ("GET", ["_emulator"]) => ("text/html; charset=utf-8", include_str!("page/index.html")),
        ("GET", ["_emulator", "page.js"]) => ("text/javascript; charset=utf-8", include_str!("page/page.js")),
        ("GET", ["_emulator", "traffic.js"]) => ("text/javascript; charset=utf-8", include_str!("page/traffic.js")),
        ("GET", ["_emulator", "page.css"]) => ("text/css; charset=utf-8", include_str!("page/page.css")),
        _ => return None,
    };
    let mut response = Response::new(Body::from(text));
    let headers: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}
