//! The throttles of a running hub.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Lane, Limits, STEP_BYTES, Spent, Status, Throttling, Turn};

/// Throttles that may be off, with a clock.
#[derive(Debug)]
pub(crate) struct Gate {
    since: Instant,
    limits: Mutex<Option<Limits>>,
}

impl Gate {
    /// `None` lets everything through.
    pub(crate) fn new(throttling: Option<Throttling>) -> Self {
        Self { since: Instant::now(), limits: Mutex::new(throttling.map(Limits::new)) }
    }

    /// Another size from here on, with idle throttles and a fresh quota; `None` turns them off.
    pub(crate) fn set(&self, throttling: Option<Throttling>) {
        *self.lock() = throttling.map(Limits::new);
    }

    pub(crate) fn take(&self, lane: Lane, cost: u64) -> Turn {
        let now = self.since.elapsed();
        self.lock().as_mut().map_or(Turn::Now, |limits| limits.take(lane, now, cost))
    }

    pub(crate) fn book(&self, lane: Lane, cost: u64) -> Turn {
        let now = self.since.elapsed();
        self.lock().as_mut().map_or(Turn::Now, |limits| limits.book(lane, now, cost))
    }

    pub(crate) fn check_quota(&self, now: Timestamp) -> Result<(), Spent> {
        self.lock().as_mut().map_or(Ok(()), |limits| limits.check_quota(now))
    }

    /// Books a transfer of so many bytes against the day; answers with the messages it was.
    pub(crate) fn charge(&self, now: Timestamp, bytes: usize) -> u64 {
        let mut limits = self.lock();
        let step_bytes = limits.as_ref().map_or(STEP_BYTES, Limits::step_bytes);
        let messages = super::messages(bytes, step_bytes);
        if let Some(limits) = limits.as_mut() {
            limits.charge(now, messages);
        }
        messages
    }

    pub(crate) fn status(&self) -> Option<Status> {
        let now = self.since.elapsed();
        self.lock().as_ref().map(|limits| limits.status(now))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Limits>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
