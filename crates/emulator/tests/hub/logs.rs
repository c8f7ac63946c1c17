//! What the hub writes into its log.

use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use crate::eventually;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Sink {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

/// Starts keeping what is logged, once for all tests.
pub(crate) fn keep() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Sink);
        let _ = subscriber.with_max_level(tracing_subscriber::filter::LevelFilter::INFO).try_init();
    });
}

/// Waits for a line with all of these words. One of them should be something that only this test can have caused.
pub(crate) async fn says(words: &[&str]) {
    let found = || {
        let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&lines).lines().any(|line| words.iter().all(|word| line.contains(word)))
    };
    eventually(&format!("a line with {words:?}"), async || found()).await;
}
