//! MQTT through a WebSocket: frames become a byte stream.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use crate::mqtt;
use crate::shell::Shell;

/// One MQTT packet may come in one message.
pub(super) const MESSAGE_BYTES_MAX: usize = 512 * 1024;
const PIPE_BYTES: usize = 64 * 1024;

/// Serves MQTT on an upgraded connection until either side ends it.
pub(super) async fn serve(shell: Arc<Shell>, socket: WebSocket, caller: mqtt::Caller, stop: CancellationToken) {
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let (mut sink, mut frames) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(ours);
    let inward = async {
        while let Some(Ok(frame)) = frames.next().await {
            let Message::Binary(bytes) = frame else {
                continue;
            };
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
    let session = mqtt::serve(shell, theirs, caller, stop);
    let pipes = async { tokio::join!(inward, outward) };
    // `outward` ends once the session has dropped its end and everything is sent.
    tokio::pin!(pipes);
    tokio::select! {
        () = session => {
            let last = std::time::Duration::from_secs(5);
            let _ = tokio::time::timeout(last, &mut pipes).await;
        }
        _ = &mut pipes => {}
    }
}
