//! MQTT through a WebSocket: frames become a byte stream.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::{SinkExt as _, StreamExt as _};
use ha_wire::topics::WEBSOCKET_PROTOCOL;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// One MQTT packet may come in one message.
const MESSAGE_BYTES_MAX: usize = 512 * 1024;
const PIPE_BYTES: usize = 64 * 1024;
/// How long the last bytes may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Answers the upgrade of an MQTT client. `session` gets the byte stream, as it would get a socket, and the connection
/// lasts until either side ends it.
pub fn upgrade<F, S>(upgrade: WebSocketUpgrade, session: F) -> Response
where
    F: FnOnce(DuplexStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    upgrade
        .protocols([WEBSOCKET_PROTOCOL])
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| serve(socket, session))
}

async fn serve<F, S>(socket: WebSocket, session: F)
where
    F: FnOnce(DuplexStream) -> S,
    S: Future<Output = ()>,
{
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let (mut sink, mut frames) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(ours);
    let inward = async {
        while let Some(Ok(frame)) = frames.next().await {
            let Message::Binary(bytes) = frame else { continue };
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // The session sees the end of the stream, as it would on a socket.
        let _ = writer.shutdown().await;
    };
    let outward = async {
        let mut chunk = vec![0; 16 * 1024];
        while let Ok(read) = reader.read(&mut chunk).await {
            let bytes = Bytes::copy_from_slice(&chunk[..read]);
            if read == 0 || sink.send(Message::Binary(bytes)).await.is_err() {
                break;
            }
        }
        let _ = sink.close().await;
    };
    let pipes = async { tokio::join!(inward, outward) };
    tokio::pin!(pipes);
    tokio::select! {
        // What the session said last is still in the pipe; `outward` ends once that is sent.
        () = session(theirs) => {
            let _ = tokio::time::timeout(FAREWELL, &mut pipes).await;
        }
        _ = &mut pipes => {}
    }
}
