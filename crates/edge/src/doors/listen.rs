//! Doors: accept, shake hands, hand over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::Error;

/// Open connections of one door.
const CONNECTIONS_MAX: usize = 1_000;
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Opens a port; answers which it is.
pub(crate) async fn open(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { address: address.to_string(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(|source| Error::Listen { address: address.to_string(), source })?;
    Ok((listener, bound))
}

/// Accepts until told to stop; each connection gets a task of its own.
pub(super) async fn accept<F>(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    tasks: TaskTracker,
    stop: CancellationToken,
    serve: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(config);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) => {
                // Out of file descriptors, most likely: let some connections end first.
                tracing::warn!(error = %e, "cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(limit = CONNECTIONS_MAX, "connection turned away: too many");
            continue;
        };
        let (acceptor, serve, stop) = (acceptor.clone(), serve.clone(), stop.clone());
        tasks.spawn(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            let handshake = tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream));
            let shaken = tokio::select! {
                () = stop.cancelled() => return,
                shaken = handshake => shaken,
            };
            match shaken {
                Ok(Ok(stream)) => serve(stream).await,
                Ok(Err(e)) => tracing::info!(error = %e, "TLS handshake failed"),
                Err(_) => tracing::debug!("no TLS handshake in time"),
            }
        });
    }
}
