//! How often an identity may connect: two clients with one name kick each other out as fast as they can.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::hub::Id;
use crate::options::ConnectRate;

/// Buckets that may be kept before full ones, which say nothing, are thrown away.
const BUCKETS_MAX: usize = 1024;

/// A token bucket for each identity. Only log-ins that were proved take from it: a stranger cannot lock anyone out.
#[derive(Debug, Default)]
pub(crate) struct StormGuard {
    rate: Option<ConnectRate>,
    buckets: Mutex<HashMap<Id, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl StormGuard {
    pub(crate) fn new(rate: Option<ConnectRate>) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Whether it may connect now.
    pub(super) fn admits(&self, id: &Id, now: Instant) -> bool {
        let Some(rate) = self.rate else {
            return true;
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| bucket.filled(rate, now) < f64::from(rate.burst));
        }
        let bucket = buckets.entry(id.clone()).or_insert(Bucket { tokens: f64::from(rate.burst), at: now });
        bucket.tokens = bucket.filled(rate, now);
        bucket.at = now;
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }
}

impl Bucket {
    fn filled(&self, rate: ConnectRate, now: Instant) -> f64 {
        let rested: Duration = now.saturating_duration_since(self.at);
        (self.tokens + rested.as_secs_f64() * rate.per_s).min(f64::from(rate.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_identity_is_slowed_and_others_are_not() {
        let guard = StormGuard::new(Some(ConnectRate { burst: 3, per_s: 2.0 }));
        let (a, b) = (Id::device("a"), Id::module("a", "m"));
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let admitted = |id: &Id, ms, times: u32| (0..times).filter(|_| guard.admits(id, at(ms))).count();
        assert_eq!(admitted(&a, 0, 10), 3);
        assert_eq!(admitted(&b, 0, 10), 3);
        assert_eq!(admitted(&a, 499, 10), 0);
        assert_eq!(admitted(&a, 500, 10), 1);
        assert_eq!(admitted(&a, 60_000, 10), 3);
        assert!((0..1000).all(|_| StormGuard::default().admits(&a, start)));
    }

    #[test]
    fn rested_identities_are_forgotten() {
        let guard = StormGuard::new(Some(ConnectRate { burst: 1, per_s: 1.0 }));
        let start = Instant::now();
        for n in 0..5_000u64 {
            guard.admits(&Id::device(n.to_string()), start + Duration::from_secs(n));
        }
        assert!(guard.buckets.lock().expect("whole").len() <= BUCKETS_MAX);
    }
}
