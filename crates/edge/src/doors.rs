//! What modules and leaf devices connect to: MQTT over TLS, and HTTPS with MQTT over WebSocket.

pub(crate) mod control;
mod https;
mod listen;
mod session;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::registry::Registry;
use crate::shell::Hub;
use crate::timings::Timings;

pub(crate) use self::listen::open;

/// What each connection needs.
pub(crate) struct Door {
    pub(crate) hub: Hub,
    pub(crate) registry: Arc<Registry>,
    pub(crate) device: String,
    /// The names for which tokens may be: the cloud's and our own.
    pub(crate) hosts: Vec<String>,
    pub(crate) timings: Timings,
    pub(crate) control: control::Control,
    pub(crate) stop: CancellationToken,
}

/// Serves on both ports until told to stop.
pub(crate) fn serve(
    door: &Arc<Door>,
    mqtt: TcpListener,
    https: TcpListener,
    tls: &Arc<rustls::ServerConfig>,
    tasks: &TaskTracker,
) {
    let at_mqtt = Arc::clone(door);
    tasks.spawn(listen::accept(mqtt, Arc::clone(tls), tasks.clone(), door.stop.clone(), move |stream| {
        session::serve(Arc::clone(&at_mqtt), stream, "tls")
    }));
    let at_https = Arc::clone(door);
    tasks.spawn(listen::accept(https, Arc::clone(tls), tasks.clone(), door.stop.clone(), move |stream| {
        https::serve(Arc::clone(&at_https), stream)
    }));
}
