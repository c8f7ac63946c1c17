//! Bytes on their way, possibly late.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

/// Bytes in order, each with the instant before which it may not go on.
#[derive(Debug, Default)]
pub(super) struct Flow {
    queue: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    unflushed: bool,
}

impl Flow {
    pub(super) fn push(&mut self, bytes: Bytes, delay: Duration) {
        if bytes.is_empty() {
            return;
        }
        let due = Instant::now() + delay;
        // Order holds even where the delay has just become shorter.
        let due = self.queue.back().map_or(due, |(last, _)| due.max(*last));
        self.bytes += bytes.len();
        self.queue.push_back((due, bytes));
    }

    /// Puts back what was popped and could not be used yet.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.queue.push_front((Instant::now(), bytes));
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.front().map(|(due, _)| *due)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.unflushed || self.next_due().is_some_and(|due| due <= now)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Bytes> {
        if self.next_due()? > now {
            return None;
        }
        let (_, bytes) = self.queue.pop_front()?;
        self.bytes -= bytes.len();
        Some(bytes)
    }

    /// Writes some of what is due, or flushes. Safe to give up half-way: nothing is lost or sent twice.
    pub(super) async fn write_some(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        let now = Instant::now();
        match self.queue.front_mut() {
            Some((due, front)) if *due <= now => {
                let written = writer.write(front).await?;
                if written == 0 {
                    return Err(std::io::ErrorKind::WriteZero.into());
                }
                self.unflushed = true;
                self.bytes -= written;
                front.advance(written);
                if front.is_empty() {
                    self.queue.pop_front();
                }
                Ok(())
            }
            _ => {
                writer.flush().await?;
                self.unflushed = false;
                Ok(())
            }
        }
    }

    /// Writes everything, waiting for what is late.
    pub(super) async fn drain(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        while let Some(due) = self.next_due() {
            tokio::time::sleep_until(due).await;
            self.write_some(writer).await?;
        }
        writer.flush().await
    }
}
