//! The first packet: bounded in size before anyone has proved anything.

use ha_wire::connect::{NotConnect, connect_length};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Why there is no first packet.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The other side hung up.
    #[error("the connection ended before CONNECT")]
    Ended,
    /// It began with something else.
    #[error(transparent)]
    NotConnect(#[from] NotConnect),
    /// The stream broke.
    #[error("reading failed")]
    Read(#[source] std::io::Error),
}

/// Reads until CONNECT is complete; what came after it is returned as well. How long that may take is the caller's to
/// say.
///
/// # Errors
/// When the stream ends or breaks, or does not begin with a CONNECT of bearable length.
pub async fn read_first(reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";

    #[tokio::test(flavor = "current_thread")]
    async fn what_follows_connect_comes_along_and_what_is_no_connect_is_named() {
        let all = [CONNECT, b"\xc0\x00"].concat();
        assert_eq!(read_first(&mut all.as_slice()).await.expect("a CONNECT"), all);
        let cut = read_first(&mut &CONNECT[..7]).await.expect_err("cut off");
        assert!(matches!(cut, Failure::Ended), "{cut}");
        let other = read_first(&mut b"GET / HTTP/1.1\r\n".as_slice()).await.expect_err("no MQTT");
        assert!(matches!(other, Failure::NotConnect(_)), "{other}");
    }
}
