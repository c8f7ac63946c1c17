use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Bytes on their way out.
#[derive(Debug, Default)]
pub(crate) struct Outflow {
    bytes: BytesMut,
    unflushed: bool,
}

impl Outflow {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether [`Outflow::write_some`] has something to do.
    pub(crate) fn is_busy(&self) -> bool {
        self.unflushed || !self.bytes.is_empty()
    }

    /// Writes some, or flushes. Safe to give up half-way: nothing is lost or sent twice.
    pub(crate) async fn write_some(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        if self.bytes.is_empty() {
            writer.flush().await?;
            self.unflushed = false;
            return Ok(());
        }
        let written = writer.write(&self.bytes).await?;
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        self.unflushed = true;
        self.bytes.advance(written);
        Ok(())
    }

    /// Writes everything.
    pub(crate) async fn drain(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        while self.is_busy() {
            self.write_some(writer).await?;
        }
        Ok(())
    }
}
