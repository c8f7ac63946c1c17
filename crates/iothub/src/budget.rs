//! Rate budgets: one token bucket per kind of operation, renewals before everything routine.
//!
//! A hub slows down and then refuses whoever exceeds its rates, renewals of leases like anything else. So the client
//! keeps under them by itself, and keeps a part of each bucket back for what is urgent.

mod bucket;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use bucket::Bucket;
use tokio::time::Instant;

use crate::{Limits, Operation};

/// How urgent a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Urgency {
    /// Keeps a lease alive or ends one: goes first.
    Renewal,
    /// Everything else.
    Routine,
}

/// The budgets of one client at one hub.
#[derive(Debug)]
pub struct Budget {
    start: Instant,
    lanes: [Lane; 6],
}

/// How soon a routine caller looks again while a renewal is waiting.
const YIELD: Duration = Duration::from_millis(20);

impl Budget {
    /// Budgets with full buckets.
    pub fn new(limits: &Limits) -> Self {
        let lanes = Operation::ALL.map(|operation| Lane::new(Bucket::new(limits.per_second(operation))));
        Budget { start: Instant::now(), lanes }
    }

    /// Waits until `cost` operations may be done, or gives up at `deadline` without having taken anything.
    ///
    /// Callers of one urgency are served in the order in which they came. Dropping the future is safe.
    pub async fn acquire(
        &self,
        operation: Operation,
        cost: u32,
        urgency: Urgency,
        deadline: Instant,
    ) -> Result<(), OutOfTime> {
        let lane = &self.lanes[operation as usize];
        let taking = lane.take(self.start, f64::from(cost.max(1)), urgency);
        tokio::time::timeout_at(deadline, taking).await.map_err(|_| OutOfTime)
    }
}

/// The deadline came before the rate limit let the call through. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the rate limit left no room before the deadline")]
pub struct OutOfTime;

#[derive(Debug)]
struct Lane {
    bucket: Mutex<Bucket>,
    renewals_waiting: AtomicUsize,
    renewal_turn: tokio::sync::Mutex<()>,
    routine_turn: tokio::sync::Mutex<()>,
}

impl Lane {
    fn new(bucket: Bucket) -> Self {
        let turn = || tokio::sync::Mutex::new(());
        Lane {
            bucket: Mutex::new(bucket),
            renewals_waiting: AtomicUsize::new(0),
            renewal_turn: turn(),
            routine_turn: turn(),
        }
    }

    /// Whoever has its urgency's turn is the only one to look at the bucket; the rest queue behind, in order.
    async fn take(&self, start: Instant, cost: f64, urgency: Urgency) {
        let _waiting = (urgency == Urgency::Renewal).then(|| Waiting::new(&self.renewals_waiting));
        let turn = if urgency == Urgency::Renewal { &self.renewal_turn } else { &self.routine_turn };
        let _turn = turn.lock().await;
        while let Err(wait) = self.try_take(start.elapsed(), cost, urgency) {
            tokio::time::sleep(wait).await;
        }
    }

    fn try_take(&self, now: Duration, cost: f64, urgency: Urgency) -> Result<(), Duration> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if urgency == Urgency::Routine && self.renewals_waiting.load(Ordering::Acquire) > 0 && !bucket.is_unlimited() {
            return Err(YIELD);
        }
        bucket.take(now, cost, urgency)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sku;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn renewals_overtake_routine_work() {
        let budget = Arc::new(Budget::new(&Sku::S1.limits(1)));
        let deadline = Instant::now() + Duration::from_secs(3600);
        while budget.acquire(Operation::Query, 1, Urgency::Renewal, Instant::now()).await.is_ok() {}
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (name, urgency) in [("a", Urgency::Routine), ("b", Urgency::Routine), ("r", Urgency::Renewal)] {
            let (budget, order) = (Arc::clone(&budget), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                budget.acquire(Operation::Query, 1, urgency, deadline).await.unwrap();
                order.lock().unwrap().push(name);
            }));
            tokio::task::yield_now().await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), ["r", "a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_at_the_deadline_and_takes_nothing() {
        let budget = Budget::new(&Sku::S1.limits(1));
        let soon = || Instant::now() + Duration::from_millis(10);
        while budget.acquire(Operation::Query, 1, Urgency::Renewal, Instant::now()).await.is_ok() {}
        assert_eq!(budget.acquire(Operation::Query, 1, Urgency::Renewal, soon()).await, Err(OutOfTime));
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(budget.acquire(Operation::Query, 1, Urgency::Renewal, soon()).await, Ok(()));
        assert_eq!(budget.acquire(Operation::TwinRead, 1, Urgency::Routine, soon()).await, Ok(()));
    }
}
