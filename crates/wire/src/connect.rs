//! The first packet of an MQTT connection: bounded before anyone has proved anything.

/// A CONNECT with a long SAS and a will fits many times over.
pub const CONNECT_BYTES_MAX: usize = 16 * 1024;

/// Why these bytes are no CONNECT that is worth waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotConnect {
    /// Another packet, or no MQTT at all.
    #[error("the first packet is not CONNECT")]
    Other,
    /// Longer than [`CONNECT_BYTES_MAX`], or with a length that cannot be.
    #[error("CONNECT is too long")]
    TooLong,
}

/// The whole length of the CONNECT that starts here; `None` until its header is there.
///
/// # Errors
/// As soon as it is certain that no acceptable CONNECT comes.
pub fn connect_length(seen: &[u8]) -> Result<Option<usize>, NotConnect> {
    let Some((first, rest)) = seen.split_first() else {
        return Ok(None);
    };
    if *first != 0x10 {
        return Err(NotConnect::Other);
    }
    let mut length = 0;
    for (index, byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let whole = length + index + 2;
            return if whole > CONNECT_BYTES_MAX { Err(NotConnect::TooLong) } else { Ok(Some(whole)) };
        }
    }
    if rest.len() >= 4 { Err(NotConnect::TooLong) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(bytes: &[u8]) -> String {
        match connect_length(bytes) {
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
