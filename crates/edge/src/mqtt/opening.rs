//! The first packet: bounded in time and size before anyone has proved anything.

use ha_wire::connect::{NotConnect, connect_length};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Why there is no first packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the connection ended before CONNECT")]
    Ended,
    #[error(transparent)]
    NotConnect(#[from] NotConnect),
    #[error("reading failed")]
    Read(#[source] std::io::Error),
}

/// Reads until CONNECT is complete; what came after it is returned as well.
pub(crate) async fn read_first(reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Failure> {
    let mut seen = Vec::with_capacity(512);
    loop {
        if connect_length(&seen)?.is_some_and(|length| seen.len() >= length) {
            return Ok(seen);
        }
        let mut chunk = [0; 1024];
        let read = reader.read(&mut chunk).await.map_err(Failure::Read)?;
        if read == 0 {
            return Err(Failure::Ended);
        }
        seen.extend_from_slice(&chunk[..read]);
    }
}
