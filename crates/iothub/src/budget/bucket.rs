use std::time::Duration;

use super::Urgency;

/// A token bucket, written against time handed in (any clock that does not go back, as a duration since its start).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled_at: Duration,
}

/// A bucket holds one second of its rate. Slow ones hold more, up to ten seconds or twenty operations, since the hub
/// meters those by the minute and a start-up asks for a handful at once.
const BURST_S: f64 = 10.0;
const BURST_SLOW_MAX: f64 = 20.0;
/// The part of a bucket that only renewals may take.
const RESERVE: f64 = 0.25;

impl Bucket {
    /// A full bucket. An infinite rate never waits.
    pub fn new(per_second: f64) -> Self {
        let burst = per_second.max((per_second * BURST_S).min(BURST_SLOW_MAX)).max(1.0);
        Bucket { per_second, burst, tokens: burst, filled_at: Duration::ZERO }
    }

    /// Whether it never waits.
    pub fn is_unlimited(&self) -> bool {
        self.per_second.is_infinite()
    }

    /// Takes `cost` tokens, or says how long to wait before asking again. A cost above the bucket is taken as a whole
    /// bucket; the debt is paid before the next one.
    pub fn take(&mut self, now: Duration, cost: f64, urgency: Urgency) -> Result<(), Duration> {
        if self.is_unlimited() {
            return Ok(());
        }
        self.fill(now);
        let reserve = if urgency == Urgency::Routine { (self.burst * RESERVE).floor() } else { 0.0 };
        let needed = cost.min(self.burst - reserve) + reserve;
        if self.tokens + f64::EPSILON >= needed {
            self.tokens -= cost;
            return Ok(());
        }
        let wait_s = ((needed - self.tokens) / self.per_second).clamp(0.001, 86_400.0);
        Err(Duration::from_secs_f64(wait_s))
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at);
        self.filled_at = self.filled_at.max(now);
        self.tokens = self.per_second.mul_add(passed.as_secs_f64(), self.tokens).min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn taken(bucket: &mut Bucket, now: Duration, urgency: Urgency) -> usize {
        std::iter::from_fn(|| bucket.take(now, 1.0, urgency).ok()).count()
    }

    #[test]
    fn routine_work_leaves_a_reserve() {
        let mut bucket = Bucket::new(40.0);
        assert_eq!(taken(&mut bucket, s(0.0), Urgency::Routine), 30);
        assert_eq!(taken(&mut bucket, s(0.0), Urgency::Renewal), 10);
        assert_eq!(taken(&mut bucket, s(0.5), Urgency::Renewal), 20);
        assert_eq!(taken(&mut bucket, s(100.0), Urgency::Renewal), 40);
    }

    #[test]
    fn says_exactly_how_long_to_wait() {
        let mut bucket = Bucket::new(0.5);
        assert_eq!(taken(&mut bucket, s(0.0), Urgency::Renewal), 5);
        assert_eq!(bucket.take(s(0.0), 1.0, Urgency::Renewal), Err(s(2.0)));
        assert_eq!(bucket.take(s(2.0), 1.0, Urgency::Renewal), Ok(()));
        assert_eq!(bucket.take(s(1.0), 1.0, Urgency::Renewal), Err(s(2.0)), "time that goes back gives nothing");
    }

    #[test]
    fn a_cost_above_the_bucket_is_paid_in_debt() {
        let mut bucket = Bucket::new(10.0);
        assert_eq!(bucket.take(s(0.0), 100.0, Urgency::Routine), Ok(()));
        assert_eq!(bucket.take(s(0.0), 1.0, Urgency::Renewal), Err(s(8.1)));
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut bucket = Bucket::new(f64::INFINITY);
        assert_eq!((0..10_000).filter(|_| bucket.take(s(0.0), 9e9, Urgency::Routine).is_err()).count(), 0);
    }
}
