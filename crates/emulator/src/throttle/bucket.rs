//! A token bucket with a bounded queue.

use std::time::Duration;

/// Serves a burst at once, then queues, then refuses: the shape of the hub's throttles.
///
/// Time is the caller's, as the span since a fixed instant, and must not go back. What was let through and not yet
/// paid for at the bucket's rate is its debt, itself a span of time.
#[derive(Debug, Clone)]
pub struct Bucket {
    price: Duration,
    burst: Duration,
    queue: Duration,
    paid_at: Duration,
}

impl Bucket {
    /// Lets `count` through per `per`. A debt up to `burst` makes nobody wait; nobody waits longer than `queue`.
    pub fn new(count: u64, per: Duration, burst: Duration, queue: Duration) -> Self {
        let price_ns = per.as_nanos() / u128::from(count.max(1));
        let price = Duration::from_nanos(u64::try_from(price_ns).unwrap_or(u64::MAX));
        Self { price, burst, queue, paid_at: Duration::ZERO }
    }

    /// How long the next one waits before it is served; `None` when the queue is full.
    ///
    /// Whoever is let in is served however much it costs; those behind it wait for the debt that it leaves.
    pub fn take(&mut self, now: Duration, cost: u64) -> Option<Duration> {
        let wait = self.wait(now);
        if wait > self.queue {
            return None;
        }
        self.owe(now, cost);
        Some(wait)
    }

    /// The same for those who cannot be refused, only held up.
    pub fn book(&mut self, now: Duration, cost: u64) -> Duration {
        let wait = self.wait(now);
        self.owe(now, cost);
        wait
    }

    /// How long one that came now would wait.
    pub fn wait(&self, now: Duration) -> Duration {
        self.paid_at.saturating_sub(now).saturating_sub(self.burst)
    }

    fn owe(&mut self, now: Duration, cost: u64) {
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        self.paid_at = self.paid_at.max(now).saturating_add(self.price.saturating_mul(cost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    /// The plain idea, step by step: a debt that shrinks by one each millisecond.
    struct Model {
        price: u64,
        burst: u64,
        queue: u64,
        debt: u64,
        clock: u64,
    }

    impl Model {
        fn take(&mut self, now: u64, cost: u64) -> Option<u64> {
            while self.clock < now {
                self.clock += 1;
                self.debt = self.debt.saturating_sub(1);
            }
            let mut ahead = self.debt;
            let mut waited = 0;
            while ahead > self.burst {
                ahead -= 1;
                waited += 1;
            }
            if waited > self.queue {
                return None;
            }
            self.debt += self.price * cost;
            Some(waited)
        }
    }

    fn arrivals() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0..60u64, 1..5u64), 1..120).prop_map(|steps| {
            let mut at = 0;
            let place = |(gap, cost)| {
                at += gap;
                (at, cost)
            };
            steps.into_iter().map(place).collect()
        })
    }

    proptest! {
        #[test]
        fn it_does_as_the_plain_model(
            price in 1..30u64, burst in 0..200u64, queue in 0..200u64, arrivals in arrivals(),
        ) {
            let mut bucket = Bucket::new(1, MS * u32::try_from(price)?, MS * u32::try_from(burst)?, MS * u32::try_from(queue)?);
            let mut model = Model { price, burst, queue, debt: 0, clock: 0 };
            for (at, cost) in arrivals {
                let waited = bucket.take(Duration::from_millis(at), cost);
                prop_assert_eq!(waited, model.take(at, cost).map(Duration::from_millis));
            }
        }

        #[test]
        fn service_is_in_order_never_late_and_within_the_rate(
            price in 1..30u64, burst in 0..200u64, queue in 0..200u64, arrivals in arrivals(),
        ) {
            let ms = Duration::from_millis;
            let mut bucket = Bucket::new(1, ms(price), ms(burst), ms(queue));
            let mut served: Vec<(Duration, u64)> = Vec::new();
            for (at, cost) in arrivals {
                if let Some(wait) = bucket.take(ms(at), cost) {
                    prop_assert!(wait <= ms(queue));
                    let start = ms(at) + wait;
                    prop_assert!(served.last().is_none_or(|(last, _)| *last <= start), "out of order");
                    served.push((start, cost));
                }
            }
            for (first, (from, _)) in served.iter().enumerate() {
                let mut paid = Duration::ZERO;
                for (to, cost) in &served[first..] {
                    // What was served before this one fits into the span and the burst.
                    prop_assert!(paid <= *to - *from + ms(burst), "more than the rate allows");
                    paid += ms(price * cost);
                }
            }
        }
    }

    #[test]
    fn first_served_then_queued_then_refused_then_served_again() {
        let second = Duration::from_secs(1);
        let mut bucket = Bucket::new(10, second, second, second * 2);
        let mut waits: Vec<Option<Duration>> = (0..40).map(|_| bucket.take(Duration::ZERO, 1)).collect();
        let refused = waits.split_off(31);
        assert_eq!(waits.iter().filter(|wait| **wait == Some(Duration::ZERO)).count(), 11);
        assert_eq!(waits.last(), Some(&Some(second * 2)));
        assert!(refused.iter().all(Option::is_none));
        assert_eq!(bucket.book(Duration::ZERO, 1), Duration::from_millis(2100));
        assert_eq!(bucket.take(second * 60, 1), Some(Duration::ZERO));
    }
}
