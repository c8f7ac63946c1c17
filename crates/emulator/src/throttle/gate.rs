//! The size of a running hub: the messages of its day, and its throttles.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Lane, Limits, Quota, Size, Spent, Status, Throttling, Turn};

/// Throttles that may be off, with a clock.
#[derive(Debug)]
pub(crate) struct Gate {
    since: Instant,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    size: Size,
    day: Quota,
    limits: Option<Limits>,
}

impl Gate {
    /// A hub of the usual size that lets everything through.
    pub(crate) fn open() -> Self {
        let size = Size::default();
        let books = Books { size, day: Quota::new(size.daily_messages()), limits: None };
        Self { since: Instant::now(), books: Mutex::new(books) }
    }

    /// Throttles from here on, idle and with a fresh quota; `None` turns them off, and the size stays.
    pub(crate) fn set(&self, throttling: Option<Throttling>) {
        let mut books = self.lock();
        if let Some(throttling) = throttling {
            books.size = throttling.size();
            books.day = Quota::new(books.size.daily_messages());
        }
        books.limits = throttling.map(Limits::new);
    }

    /// A hub of another size, as patient as before; what was used of the day stays used.
    pub(crate) fn resize(&self, size: Size) {
        let mut books = self.lock();
        if books.size == size {
            return;
        }
        books.size = size;
        books.day.set_max(size.daily_messages());
        let Size { sku, units } = size;
        books.limits = books.limits.take().map(|limits| Limits::new(Throttling { sku, units, ..limits.chosen() }));
    }

    pub(crate) fn take(&self, lane: Lane, cost: u64) -> Turn {
        let now = self.since.elapsed();
        self.lock().limits.as_mut().map_or(Turn::Now, |limits| limits.take(lane, now, cost))
    }

    pub(crate) fn book(&self, lane: Lane, cost: u64) -> Turn {
        let now = self.since.elapsed();
        self.lock().limits.as_mut().map_or(Turn::Now, |limits| limits.book(lane, now, cost))
    }

    /// Whether the day has messages left; without throttles it always has.
    pub(crate) fn check_quota(&self, now: Timestamp) -> Result<(), Spent> {
        let mut books = self.lock();
        if books.limits.is_some() { books.day.check(now) } else { Ok(()) }
    }

    /// Books a transfer of so many bytes against the day; answers with the messages it was.
    pub(crate) fn charge(&self, now: Timestamp, bytes: usize) -> u64 {
        let mut books = self.lock();
        let messages = super::messages(bytes, books.size.sku.step_bytes());
        books.day.charge(now, messages);
        messages
    }

    /// The messages of this day.
    pub(crate) fn day(&self, now: Timestamp) -> Quota {
        self.lock().day.clone().at(now)
    }

    pub(crate) fn status(&self, now: Timestamp) -> Option<Status> {
        let elapsed = self.since.elapsed();
        let books = self.lock();
        books.limits.as_ref().map(|limits| limits.status(elapsed, books.day.clone().at(now)))
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
