//! Doors: accept, shake hands, hand over.

mod doorstep;
mod handshake;
mod signpost;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use doorstep::Doorstep;
pub(crate) use signpost::Signpost;

use crate::error::Error;
use doorstep::Waiting;

/// The names of the doors.
pub(crate) const HTTPS: &str = "HTTPS";
pub(crate) const MQTT: &str = "MQTT";
/// Open connections of one door.
const CONNECTIONS_MAX: usize = 20_000;

/// A port, and what is behind it.
#[derive(Clone)]
pub(crate) struct Door {
    /// For the log.
    pub(crate) name: &'static str,
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) signpost: Arc<Signpost>,
    pub(crate) doorstep: Doorstep,
    /// For the handshake, and again for what a client logs in with.
    pub(crate) login_within: Duration,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// Whoever is at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Where it calls from.
    pub(crate) address: SocketAddr,
    /// The certificate it showed, and those behind it; it has the key of the first. Nothing else is known of them.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// How long it may take to log in.
    pub(crate) login_within: Duration,
    waiting: Mutex<Option<Waiting>>,
}

impl Peer {
    /// Nobody in particular, for connections that come through no door.
    pub(crate) fn nobody() -> Self {
        let login_within = Duration::from_secs(10);
        Self { address: ([0, 0, 0, 0], 0).into(), certificates: Vec::new(), login_within, waiting: Mutex::new(None) }
    }

    /// It has proved who it is: it no longer counts among the strangers.
    pub(crate) fn proved(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Opens a port.
pub(crate) async fn open(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address: address.to_string(), source })
}

/// Accepts until told to stop; each connection gets a task of its own.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    door: Door,
    serve: impl Fn(TlsStream<TcpStream>, Arc<Peer>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some((stream, address)) = next(&listener, &door.stop).await {
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(door = door.name, limit = CONNECTIONS_MAX, "connection turned away: too many");
            continue;
        };
        let waiting = match door.doorstep.enter(address.ip()) {
            Ok(waiting) => waiting,
            Err(full) => {
                tracing::warn!(door = door.name, %address, reason = %full, "connection turned away");
                continue;
            }
        };
        let (door, serve) = (door.clone(), serve.clone());
        door.tasks.clone().spawn(async move {
            let _permit = permit;
            if let Some((stream, peer)) = welcome(stream, address, waiting, &door).await {
                serve(stream, peer).await;
            }
        });
    }
}

/// The next connection; `None` when it is time to stop.
async fn next(listener: &TcpListener, stop: &CancellationToken) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(e) => {
                // Out of file descriptors, most likely: let some connections end first.
                tracing::warn!(error = %e, "cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Shakes hands, and says clearly why not.
async fn welcome(
    stream: TcpStream,
    address: SocketAddr,
    waiting: Waiting,
    door: &Door,
) -> Option<(TlsStream<TcpStream>, Arc<Peer>)> {
    let _ = stream.set_nodelay(true);
    let shaken = tokio::select! {
        () = door.stop.cancelled() => return None,
        shaken = tokio::time::timeout(door.login_within, handshake::shake(stream, door)) => shaken,
    };
    match shaken {
        Ok(Ok(Some(stream))) => {
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificates = certificates.iter().map(|c| c.clone().into_owned()).collect();
            let (login_within, waiting) = (door.login_within, Mutex::new(Some(waiting)));
            Some((stream, Arc::new(Peer { address, certificates, login_within, waiting })))
        }
        Ok(Ok(None)) => None,
        Ok(Err(reason)) => {
            tracing::warn!(door = door.name, %address, reason, "no connection");
            None
        }
        Err(_) => {
            tracing::debug!(door = door.name, %address, "no TLS handshake, or nothing after it, in time");
            None
        }
    }
}

/// Answers AMQP clients with a line in the log; they get nothing else.
pub(crate) async fn decline_amqp(listener: TcpListener, signpost: Arc<Signpost>, stop: CancellationToken) {
    while let Some((_, address)) = next(&listener, &stop).await {
        tracing::warn!(door = "AMQP", %address, reason = signpost.no_amqp(), "no connection");
    }
}
