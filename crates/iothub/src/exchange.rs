//! What every exchange over HTTP has in common: how an answer is read, and what a lost one leaves open.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// A server that asks for more than this is not obeyed to the letter.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// Why a body cannot be had.
pub(crate) enum Unread {
    TooLarge,
    Lost(reqwest::Error),
}

/// The whole body, unless it is larger than `bytes_max`.
pub(crate) async fn read_body(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Unread> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Unread::Lost)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(Unread::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Whether the other side may have got what was sent: only a connection that never came up proves that it did not.
pub(crate) fn may_have_arrived(error: &reqwest::Error) -> bool {
    !error.is_connect() && !error.is_builder()
}

/// Whether there was a connection, and no answer on it in time.
pub(crate) fn is_no_answer(error: &reqwest::Error) -> bool {
    error.is_timeout() && !error.is_connect()
}

/// Seconds only: neither IoT Hub nor Azure Resource Manager sends dates.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
