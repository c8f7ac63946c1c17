//! The workload API: one Unix socket for each module, on which it can sign as itself and as nobody else.
//!
//! The daemon knows its callers by their process; here the socket is the proof.

mod api;
mod cipher;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ha_wire::workload::ModuleList;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::api::router;
pub(crate) use self::cipher::Cipher;
use crate::authority::Authority;
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
    cipher: Cipher,
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
/// A longer path does not fit into the address of a Unix socket.
const SOCKET_PATH_BYTES_MAX: usize = 107;

impl Workload {
    /// No socket yet; they will lie in `folder`.
    pub(crate) fn open(
        folder: PathBuf,
        about: About,
        (authority, cipher): (Arc<Authority>, Cipher),
        registry: Arc<Registry>,
        modules: watch::Receiver<ModuleList>,
        (stop, tasks): (CancellationToken, TaskTracker),
    ) -> Result<Self, Error> {
        let folder = std::path::absolute(&folder).map_err(Error::file(&folder))?;
        std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        let shared = Arc::new(Shared { about, authority, cipher, registry, modules });
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
