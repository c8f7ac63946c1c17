//! MQTT through a WebSocket: frames become a byte stream.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Door, session};

/// One MQTT packet may come in one message.
pub(super) const MESSAGE_BYTES_MAX: usize = 512 * 1024;
const PIPE_BYTES: usize = 64 * 1024;
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves MQTT on an upgraded connection until either side ends it.
pub(super) async fn serve(door: Arc<Door>, socket: WebSocket) {
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
    let session = session::serve(door, theirs, "websocket");
    let pipes = async { tokio::join!(inward, outward) };
    tokio::pin!(pipes);
    tokio::select! {
        // What the session said last is still in the pipe.
        () = session => {
            let _ = tokio::time::timeout(FAREWELL, &mut pipes).await;
        }
        _ = &mut pipes => {}
    }
}
