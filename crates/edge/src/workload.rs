//! The workload API: one Unix socket for each module, on which it can sign as itself and as nobody else.
//!
//! The daemon knows its callers by their process; here the socket is the proof.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path as UrlPath, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ha_wire::workload::{ModuleList, SignAnswer, SignRequest, TrustBundle, WorkloadError};
use serde::Deserialize;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authority::{Authority, EXPIRATION, Issued};
use crate::error::Error;
use crate::id::Id;
use crate::registry::Registry;

/// What modules are told about the device.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) hub: String,
    pub(crate) device: String,
    pub(crate) host_name: String,
}

/// The sockets of one device.
pub(crate) struct Workload {
    shared: Arc<Shared>,
    folder: PathBuf,
    open: Mutex<BTreeMap<String, PathBuf>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Shared {
    about: About,
    authority: Arc<Authority>,
    registry: Arc<Registry>,
    modules: watch::Receiver<ModuleList>,
}

/// What one socket serves.
#[derive(Clone)]
struct Socket {
    shared: Arc<Shared>,
    module: Arc<str>,
}

/// The newest version of the API that the daemon's clients use.
const API_VERSION: &str = "2022-08-03";
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
/// A longer path does not fit into the address of a Unix socket.
const SOCKET_PATH_BYTES_MAX: usize = 107;

impl Workload {
    /// No socket yet; they will lie in `folder`.
    pub(crate) fn open(
        folder: PathBuf,
        about: About,
        authority: Arc<Authority>,
        registry: Arc<Registry>,
        modules: watch::Receiver<ModuleList>,
        (stop, tasks): (CancellationToken, TaskTracker),
    ) -> Result<Self, Error> {
        let folder = std::path::absolute(&folder).map_err(Error::file(&folder))?;
        std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        let shared = Arc::new(Shared { about, authority, registry, modules });
        Ok(Self { shared, folder, open: Mutex::default(), stop, tasks })
    }

    /// The environment that a module of this name gets; its socket is open when this returns.
    pub(crate) fn environment(&self, module: &str) -> Result<Vec<(String, String)>, Error> {
        let about = &self.shared.about;
        let id = Id::module(&about.device, module);
        let identity = self.shared.registry.known(&id);
        let identity =
            identity.ok_or_else(|| Error::Option(format!("device {} has no module {module}", about.device)))?;
        let socket = self.socket(module)?;
        Ok([
            ("IOTEDGE_WORKLOADURI", format!("unix://{}", socket.display())),
            ("IOTEDGE_AUTHSCHEME", "sasToken".to_owned()),
            ("IOTEDGE_MODULEGENERATIONID", identity.generation),
            ("IOTEDGE_IOTHUBHOSTNAME", about.hub.clone()),
            ("IOTEDGE_GATEWAYHOSTNAME", about.host_name.clone()),
            ("IOTEDGE_DEVICEID", about.device.clone()),
            ("IOTEDGE_MODULEID", module.to_owned()),
            ("IOTEDGE_APIVERSION", API_VERSION.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into())
    }

    fn socket(&self, module: &str) -> Result<PathBuf, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = open.get(module) {
            return Ok(path.clone());
        }
        let path = self.folder.join(format!("{module}.sock"));
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX || module.contains('/') {
            return Err(Error::Option(format!(
                "{} is too long for a socket; take a shorter state folder",
                path.display()
            )));
        }
        let listener = bind(&path).map_err(Error::file(&path))?;
        let socket = Socket { shared: Arc::clone(&self.shared), module: module.into() };
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let serving = axum::serve(listener, router(socket));
            tokio::select! {
                () = stop.cancelled() => {}
                served = serving => if let Err(error) = served {
                    tracing::warn!(%error, "a workload socket broke");
                }
            }
        });
        open.insert(module.to_owned(), path.clone());
        Ok(path)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let open = std::mem::take(self.open.get_mut().unwrap_or_else(PoisonError::into_inner));
        for path in open.into_values() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A socket that any user on the machine may use, like the daemon's; one that an earlier life left is in the way.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

fn router(socket: Socket) -> Router {
    Router::new()
        .route("/modules", get(modules))
        .route("/modules/{module}/genid/{generation}/sign", post(sign))
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

async fn modules(State(socket): State<Socket>) -> Response {
    Json(socket.shared.modules.borrow().clone()).into_response()
}

/// The body is read whatever its content type: not all clients name one.
async fn sign(
    State(socket): State<Socket>,
    UrlPath((module, _)): UrlPath<(String, String)>,
    body: axum::body::Bytes,
) -> Response {
    if let Err(refusal) = socket.check(&module) {
        return refusal;
    }
    #[derive(Deserialize)]
    struct DataOnly {
        data: String,
    }
    let Ok(DataOnly { data }) = serde_json::from_slice(&body) else {
        return problem(StatusCode::BAD_REQUEST, "the body is not {\"data\": …}");
    };
    let Some(data) = (SignRequest { key_id: String::new(), algo: String::new(), data }).decoded() else {
        return problem(StatusCode::BAD_REQUEST, "data is not base64");
    };
    let identity = socket.shared.registry.known(&Id::module(&socket.shared.about.device, &module));
    match identity.as_ref().and_then(|identity| identity.keys.first()) {
        Some(key) => Json(SignAnswer { digest: key.sign(&data) }).into_response(),
        None => problem(StatusCode::NOT_FOUND, "the module is not known"),
    }
}

async fn server_certificate(
    State(socket): State<Socket>,
    UrlPath((module, _)): UrlPath<(String, String)>,
    body: axum::body::Bytes,
) -> Response {
    if let Err(refusal) = socket.check(&module) {
        return refusal;
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct CommonName {
        common_name: String,
    }
    let Ok(CommonName { common_name }) = serde_json::from_slice(&body) else {
        return problem(StatusCode::BAD_REQUEST, "the body is not {\"commonName\": …}");
    };
    issued(socket.shared.authority.server(&[common_name, module]))
}

async fn identity_certificate(State(socket): State<Socket>, UrlPath(module): UrlPath<String>) -> Response {
    if let Err(refusal) = socket.check(&module) {
        return refusal;
    }
    let About { hub, device, .. } = &socket.shared.about;
    issued(socket.shared.authority.identity(hub, device, &module))
}

async fn trust_bundle(State(socket): State<Socket>) -> Response {
    Json(TrustBundle { certificate: socket.shared.authority.ca_pem.clone() }).into_response()
}

impl Socket {
    /// A module speaks for itself alone.
    #[expect(clippy::result_large_err, reason = "the error is the answer")]
    fn check(&self, module: &str) -> Result<(), Response> {
        if *module == *self.module {
            return Ok(());
        }
        Err(problem(StatusCode::FORBIDDEN, "the caller is not this module"))
    }
}

fn issued(issued: Result<Issued, Error>) -> Response {
    match issued {
        Ok(issued) => {
            let body = json!({
                "privateKey": {"type": "key", "bytes": issued.key},
                "certificate": issued.certificate,
                "expiration": EXPIRATION,
            });
            (StatusCode::CREATED, Json(body)).into_response()
        }
        Err(error) => {
            tracing::warn!(%error, "a certificate cannot be issued");
            problem(StatusCode::BAD_REQUEST, "a certificate for this name cannot be issued")
        }
    }
}

fn problem(status: StatusCode, message: &str) -> Response {
    (status, Json(WorkloadError { message: message.to_owned() })).into_response()
}
