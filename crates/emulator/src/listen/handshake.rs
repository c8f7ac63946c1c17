//! From a TCP connection to a TLS stream whose first bytes are of the right protocol.

use std::io;

use rustls::AlertDescription;
use rustls::server::Acceptor;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::Door;
use super::signpost::{Signpost, Stranger};

/// Shakes hands and waits for the first bytes; the error is a sentence for the log. `None` is a client that only looked.
pub(super) async fn shake(stream: TcpStream, door: &Door) -> Result<Option<TlsStream<TcpStream>>, String> {
    let mut first = [0; 8];
    let peeked = stream.peek(&mut first).await.map_err(|e| format!("reading failed: {e}"))?;
    if peeked == 0 {
        return Ok(None);
    }
    if let Some(stranger) = Stranger::recognise(&first[..peeked]) {
        return Err(door.signpost.without_tls(stranger));
    }
    let mut stream = shake_tls(stream, door).await?;
    check_first(&mut stream, door).await?;
    Ok(Some(stream))
}

async fn shake_tls<S>(stream: S, door: &Door) -> Result<TlsStream<S>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let explain = |error: &io::Error, asked: Option<&str>| explain(error, asked, &door.signpost);
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(|e| explain(&e, None))?;
    let asked = hello.client_hello().server_name().map(str::to_owned);
    let config = door.config.clone();
    hello.into_stream(config).await.map_err(|e| explain(&e, asked.as_deref()))
}

/// A protocol at the wrong door is named; anything else is the door's own business.
async fn check_first<S>(stream: &mut TlsStream<S>, door: &Door) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let asked = stream.get_ref().1.server_name().map(str::to_owned);
    let first = stream.fill_buf().await.map_err(|e| match e.get_ref() {
        Some(cause) if cause.is::<rustls::Error>() => explain(&e, asked.as_deref(), &door.signpost),
        _ => door.signpost.left_at_once(asked.as_deref()),
    })?;
    if first.is_empty() {
        return Err(door.signpost.left_at_once(asked.as_deref()));
    }
    match Stranger::recognise(first) {
        Some(Stranger::Http) if door.name == super::HTTPS => Ok(()),
        Some(Stranger::Mqtt) if door.name == super::MQTT => Ok(()),
        Some(stranger) => Err(door.signpost.wrong_door(stranger)),
        None => Ok(()),
    }
}

fn explain(error: &io::Error, asked: Option<&str>, signpost: &Signpost) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::AlertReceived(AlertDescription::CloseNotify)) | None => {
            format!(
                "the client left during the TLS handshake ({error}); some do so when they do not trust the \
                 authority: give them {}",
                signpost.authority
            )
        }
        Some(rustls::Error::AlertReceived(alert)) => signpost.alert(*alert, asked),
        Some(rustls::Error::InvalidCertificate(reason)) => {
            // OpenSSL makes version 1 unless extensions are asked for; webpki reads version 3 only.
            let hint = if format!("{reason:?}").contains("UnsupportedCertVersion") {
                "; it is of X.509 version 1: make one with extensions (openssl: -addext, -extfile)"
            } else {
                ""
            };
            format!("the client's certificate cannot be read: {reason}{hint}")
        }
        Some(rustls::Error::InvalidMessage(_)) => "these bytes are no TLS".into(),
        Some(other) => format!("TLS handshake failed: {other}"),
    }
}
