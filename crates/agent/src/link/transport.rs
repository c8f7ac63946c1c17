//! The byte stream below MQTT: TLS, or a WebSocket over TLS.

use std::io;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// How MQTT is carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Carrier {
    /// MQTT over TLS.
    Tls,
    /// MQTT over a WebSocket, for networks that let only HTTPS out.
    Websocket,
}

/// Where to connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The host name, which the certificate must be for.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How.
    pub carrier: Carrier,
}

pub(super) enum Transport {
    Tls { stream: Box<TlsStream<TcpStream>>, buffer: Vec<u8> },
    Websocket(Box<WebSocketStream<TlsStream<TcpStream>>>),
}

const READ_BYTES: usize = 16 * 1_024;
/// The hub's own limit on packets is 256 KiB.
const MESSAGE_BYTES_MAX: usize = 512 * 1_024;

impl Transport {
    pub(super) async fn connect(endpoint: &Endpoint, tls: &Arc<rustls::ClientConfig>) -> io::Result<Self> {
        let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await?;
        match endpoint.carrier {
            Carrier::Tls => Ok(Self::Tls { stream: Box::new(stream), buffer: vec![0; READ_BYTES] }),
            Carrier::Websocket => {
                let url = format!("wss://{}:{}/$iothub/websocket", endpoint.host, endpoint.port);
                let mut request = url.into_client_request().map_err(io::Error::other)?;
                request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
                let config = WebSocketConfig::default()
                    .max_message_size(Some(MESSAGE_BYTES_MAX))
                    .max_frame_size(Some(MESSAGE_BYTES_MAX));
                let (socket, _) =
                    client_async_with_config(request, stream, Some(config)).await.map_err(io::Error::other)?;
                Ok(Self::Websocket(Box::new(socket)))
            }
        }
    }

    /// What has come; an error at the end of the stream. May be dropped half-way without loss.
    pub(super) async fn read(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Tls { stream, buffer } => match stream.read(buffer).await? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                n => Ok(Bytes::copy_from_slice(&buffer[..n])),
            },
            Self::Websocket(socket) => loop {
                match socket.next().await.transpose().map_err(io::Error::other)? {
                    Some(Message::Binary(bytes)) => return Ok(bytes),
                    Some(Message::Ping(_) | Message::Pong(_)) => {}
                    Some(Message::Text(_) | Message::Frame(_)) => return Err(io::ErrorKind::InvalidData.into()),
                    Some(Message::Close(_)) | None => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            },
        }
    }

    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Tls { stream, .. } => {
                stream.write_all(&bytes).await?;
                stream.flush().await
            }
            Self::Websocket(socket) => socket.send(Message::Binary(bytes.into())).await.map_err(io::Error::other),
        }
    }
}
