//! The calls of one module's socket.

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ha_wire::workload::{SignAnswer, TrustBundle, WorkloadError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{API_VERSION, About, Socket};
use crate::authority::{EXPIRATION, Issued};
use crate::error::Error;
use crate::id::Id;

const API_VERSIONS: [&str; 9] = [
    "2018-06-28",
    "2019-01-30",
    "2019-10-22",
    "2019-11-05",
    "2020-07-07",
    "2020-10-10",
    "2021-05-11",
    "2021-12-07",
    API_VERSION,
];

pub(super) fn router(socket: Socket) -> Router {
    Router::new()
        .route("/modules", get(modules))
        .route("/modules/{module}/genid/{generation}/sign", post(sign))
        .route("/modules/{module}/genid/{generation}/encrypt", post(encrypt))
        .route("/modules/{module}/genid/{generation}/decrypt", post(decrypt))
        .route("/modules/{module}/genid/{generation}/certificate/server", post(server_certificate))
        .route("/modules/{module}/certificate/identity", post(identity_certificate))
        .route("/trust-bundle", get(trust_bundle))
        .route("/manifest-trust-bundle", get(trust_bundle))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "the workload API has no such call") })
        .layer(from_fn(check_version))
        .with_state(socket)
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "api-version")]
    api_version: Option<String>,
}

async fn check_version(Query(version): Query<Version>, request: Request, next: Next) -> Response {
    match version.api_version.as_deref() {
        Some(version) if API_VERSIONS.contains(&version) => next.run(request).await,
        Some(_) => problem(StatusCode::BAD_REQUEST, "the api-version is not supported"),
        None => problem(StatusCode::BAD_REQUEST, "the api-version is missing"),
    }
}

/// Who calls, by the path: a module speaks for itself alone.
struct Caller {
    module: String,
    /// Empty where the path has none.
    generation: String,
}

impl FromRequestParts<Socket> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, socket: &Socket) -> Result<Self, Response> {
        #[derive(Deserialize)]
        struct Named {
            module: String,
            #[serde(default)]
            generation: String,
        }
        let named: Result<Path<Named>, PathRejection> = Path::from_request_parts(parts, socket).await;
        let Path(Named { module, generation }) = named.map_err(IntoResponse::into_response)?;
        if *module != *socket.module {
            return Err(problem(StatusCode::FORBIDDEN, "the caller is not this module"));
        }
        Ok(Self { module, generation })
    }
}

/// Bytes, as JSON carries them.
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(|_| serde::de::Error::custom("not base64"))
    }
}

/// The body is read whatever its content type: not all clients name one.
#[expect(clippy::result_large_err, reason = "the error is the answer")]
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Response> {
    serde_json::from_slice(body)
        .map_err(|error| problem(StatusCode::BAD_REQUEST, &format!("the body cannot be read: {error}")))
}

async fn modules(State(socket): State<Socket>) -> Response {
    Json(socket.shared.modules.borrow().clone()).into_response()
}

async fn sign(State(socket): State<Socket>, caller: Caller, body: Bytes) -> Result<Response, Response> {
    #[derive(Deserialize)]
    struct Unsigned {
        data: Base64,
    }
    let Unsigned { data } = read(&body)?;
    let identity = socket.shared.registry.known(&Id::module(&socket.shared.about.device, &caller.module));
    match identity.as_ref().and_then(|identity| identity.keys.first()) {
        Some(key) => Ok(Json(SignAnswer { digest: key.sign(&data.0) }).into_response()),
        None => Err(problem(StatusCode::NOT_FOUND, "the module is not known")),
    }
}

async fn encrypt(State(socket): State<Socket>, caller: Caller, body: Bytes) -> Result<Response, Response> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Plain {
        plaintext: Base64,
        initialization_vector: Base64,
    }
    let Plain { plaintext, initialization_vector } = read(&body)?;
    let sealed = socket.shared.cipher.seal(caller.owner(), &initialization_vector.0, &plaintext.0);
    let sealed = sealed.ok_or_else(|| problem(StatusCode::BAD_REQUEST, "it cannot be encrypted"))?;
    Ok(Json(json!({"ciphertext": STANDARD.encode(sealed)})).into_response())
}

async fn decrypt(State(socket): State<Socket>, caller: Caller, body: Bytes) -> Result<Response, Response> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sealed {
        ciphertext: Base64,
        initialization_vector: Base64,
    }
    let Sealed { ciphertext, initialization_vector } = read(&body)?;
    let opened = socket.shared.cipher.open_sealed(caller.owner(), &initialization_vector.0, &ciphertext.0);
    let opened = opened.ok_or_else(|| {
        problem(StatusCode::BAD_REQUEST, "not encrypted for this module with this vector, or altered")
    })?;
    Ok(Json(json!({"plaintext": STANDARD.encode(opened)})).into_response())
}

impl Caller {
    fn owner(&self) -> (&str, &str) {
        (&self.module, &self.generation)
    }
}

async fn server_certificate(State(socket): State<Socket>, caller: Caller, body: Bytes) -> Result<Response, Response> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Asked {
        common_name: String,
    }
    let Asked { common_name } = read(&body)?;
    issued(socket.shared.authority.server(&[common_name, caller.module]))
}

async fn identity_certificate(State(socket): State<Socket>, caller: Caller) -> Result<Response, Response> {
    let About { hub, device, .. } = &socket.shared.about;
    issued(socket.shared.authority.identity(hub, device, &caller.module))
}

async fn trust_bundle(State(socket): State<Socket>) -> Response {
    Json(TrustBundle { certificate: socket.shared.authority.ca_pem.clone() }).into_response()
}

#[expect(clippy::result_large_err, reason = "the error is the answer")]
fn issued(issued: Result<Issued, Error>) -> Result<Response, Response> {
    let issued = issued.map_err(|error| {
        tracing::warn!(%error, "a certificate cannot be issued");
        problem(StatusCode::BAD_REQUEST, "a certificate for this name cannot be issued")
    })?;
    let body = json!({
        "privateKey": {"type": "key", "bytes": issued.key},
        "certificate": issued.certificate,
        "expiration": EXPIRATION,
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

fn problem(status: StatusCode, message: &str) -> Response {
    (status, Json(WorkloadError { message: message.to_owned() })).into_response()
}
