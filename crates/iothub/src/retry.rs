use std::time::Duration;

/// When to try again: exponential with full jitter, so that many clients refused together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Ceiling of the first wait.
    pub base: Duration,
    /// Ceiling of the first wait after a 429, which names no time itself (its text says ten seconds).
    pub throttled_base: Duration,
    /// No wait has a higher ceiling.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff {
            base: Duration::from_millis(250),
            throttled_base: Duration::from_secs(10),
            cap: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The wait before attempt number `next` (the first retry is 1). `jitter` is uniform in 0 to 1. A `Retry-After` is a
    /// floor, and the jitter comes on top of it.
    pub fn wait(&self, next: u32, throttled: bool, retry_after: Option<Duration>, jitter: f64) -> Duration {
        let base = if throttled && retry_after.is_none() { self.throttled_base } else { self.base };
        let doubled = base.saturating_mul(2_u32.saturating_pow(next.saturating_sub(1).min(16)));
        let jittered = doubled.min(self.cap).mul_f64(jitter.clamp(0.0, 1.0));
        retry_after.unwrap_or_default().saturating_add(jittered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn doubles_up_to_the_cap() {
        let backoff = Backoff::default();
        let ceilings: Vec<_> = (1..=10).map(|next| backoff.wait(next, false, None, 1.0)).collect();
        assert_eq!(ceilings[..4], [ms(250), ms(500), ms(1000), ms(2000)]);
        assert_eq!(ceilings[9], ms(60_000));
        assert_eq!(backoff.wait(u32::MAX, true, None, 1.0), ms(60_000));
        assert_eq!(backoff.wait(0, false, None, 0.5), ms(125));
    }

    #[test]
    fn a_refused_client_waits_longer_unless_told() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(1, true, None, 1.0), ms(10_000));
        assert_eq!(backoff.wait(1, true, Some(ms(3000)), 0.0), ms(3000));
        assert_eq!(backoff.wait(1, true, Some(ms(3000)), 1.0), ms(3250));
    }
}
