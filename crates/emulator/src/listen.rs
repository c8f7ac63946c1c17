//! Doors: accept, shake hands, hand over.

mod doorstep;
mod handshake;
mod signpost;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    leave: CancellationToken,
}

impl Peer {
    fn new(
        address: SocketAddr,
        certificates: Vec<CertificateDer<'static>>,
        login_within: Duration,
        waiting: Waiting,
    ) -> Self {
        let leave = waiting.leave();
        Self { address, certificates, login_within, waiting: Mutex::new(Some(waiting)), leave }
    }

    /// Nobody in particular, for connections that come through no door.
    pub(crate) fn nobody() -> Self {
        let login_within = Duration::from_secs(10);
        Self {
            address: ([0, 0, 0, 0], 0).into(),
            certificates: Vec::new(),
            login_within,
            waiting: Mutex::new(None),
            leave: CancellationToken::new(),
        }
    }

    /// It has proved who it is: it no longer counts among the strangers.
    pub(crate) fn proved(&self) {
        self.lock().take();
    }

    /// Ends when a stranger is to make room for another; never for somebody who has proved who it is.
    pub(crate) async fn must_leave(&self) {
        self.leave.cancelled().await;
        if self.lock().is_none() {
            std::future::pending::<()>().await;
        }
        tracing::debug!(address = %self.address, "connection ended: it has not logged in, and others wait to");
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
    let leave = waiting.leave();
    let shaken = tokio::select! {
        () = door.stop.cancelled() => return None,
        () = leave.cancelled() => {
            tracing::debug!(door = door.name, %address, "connection ended: it has not shaken hands, and others wait to");
            return None;
        }
        shaken = tokio::time::timeout(door.login_within, handshake::shake(stream, door)) => shaken,
    };
    match shaken {
        Ok(Ok(Some(stream))) => {
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificates = certificates.iter().map(|c| c.clone().into_owned()).collect();
            Some((stream, Arc::new(Peer::new(address, certificates, door.login_within, waiting))))
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

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::pki_types::pem::PemObject as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn say(address: SocketAddr, ca_pem: &str, word: &[u8]) -> Vec<u8> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("PEM")).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect(address).await.expect("open");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS");
        stream.write_all(word).await.expect("written");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn a_panic_in_one_connection_leaves_the_door_open() {
        let bind = std::net::IpAddr::from([127, 0, 0, 1]);
        let identity = crate::tls::identity(None, bind, &[]).expect("made");
        let listener = open(SocketAddr::new(bind, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let signpost = Signpost { names: Vec::new(), authority: String::new(), https_port: 0, mqtt_port: 0 };
        let door = Door {
            name: MQTT,
            config: identity.config,
            signpost: Arc::new(signpost),
            // One place, so that whoever leaves it in a panic must give it back.
            doorstep: Doorstep::new(1, 1),
            login_within: Duration::from_secs(10),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let stop = door.stop.clone();
        let echo = |mut stream: TlsStream<TcpStream>, peer: Arc<Peer>| async move {
            let _peer = peer;
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.expect("four bytes");
            assert_ne!(&word, b"boom");
            stream.write_all(&word).await.expect("written");
            let _ = stream.shutdown().await;
        };
        let accepting = tokio::spawn(accept(listener, door, echo));
        for _ in 0..3 {
            assert_eq!(say(address, &identity.ca_pem, b"boom").await, b"");
        }
        assert_eq!(say(address, &identity.ca_pem, b"here").await, b"here");
        stop.cancel();
        accepting.await.expect("it stops");
    }
}
