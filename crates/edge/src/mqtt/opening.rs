//! The first packet: bounded in time and size before anyone has proved anything.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A CONNECT with a long SAS and a will fits many times over.
const FIRST_PACKET_BYTES_MAX: usize = 16 * 1024;

/// Why there is no first packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the connection ended before CONNECT")]
    Ended,
    #[error("the first packet is not CONNECT")]
    NotConnect,
    #[error("CONNECT is too long")]
    TooLong,
    #[error("reading failed")]
    Read(#[source] std::io::Error),
}

/// Reads until CONNECT is complete; what came after it is returned as well.
pub(crate) async fn read_first(reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Failure> {
    let mut seen = Vec::with_capacity(512);
    loop {
        if let Some(length) = packet_length(&seen)?
            && seen.len() >= length
        {
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

/// The whole length of the packet that starts here, once its header is there.
fn packet_length(seen: &[u8]) -> Result<Option<usize>, Failure> {
    let Some((first, rest)) = seen.split_first() else {
        return Ok(None);
    };
    if *first != 0x10 {
        return Err(Failure::NotConnect);
    }
    let mut length = 0;
    for (index, byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let whole = length + index + 2;
            return if whole > FIRST_PACKET_BYTES_MAX { Err(Failure::TooLong) } else { Ok(Some(whole)) };
        }
    }
    if rest.len() >= 4 {
        return Err(Failure::TooLong);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(bytes: &[u8]) -> String {
        match packet_length(bytes) {
            Ok(length) => format!("{length:?}"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn lengths_by_table() {
        assert_eq!(verdict(&[]), "None");
        assert_eq!(verdict(&[0x10]), "None");
        assert_eq!(verdict(&[0x10, 0x80]), "None");
        assert_eq!(verdict(&[0x10, 5]), "Some(7)");
        assert_eq!(verdict(&[0x10, 0x80, 1]), "Some(131)");
        assert_eq!(verdict(b"GET / HTTP/1.1"), "the first packet is not CONNECT");
        assert_eq!(verdict(&[0x10, 0xff, 0xff, 0x7f]), "CONNECT is too long");
        assert_eq!(verdict(&[0x10, 0xff, 0xff, 0xff, 0xff]), "CONNECT is too long");
    }
}
