//! What is asked for: timings and rules of a pool.

use serde::{Deserialize, Serialize};

use crate::time::{Millis, RateBound};

/// The longest ttl that anybody may grant; also what a pool without a record waits before its first term.
pub const TTL_MAX: Millis = Millis(300_000);

/// The shortest ttl that can be kept over a network.
pub const TTL_MIN: Millis = Millis(1_000);

/// How long to wait for a lease whose ttl a record gives as `ttl`. One that nobody can have granted was written by hand
/// and says nothing: then the longest there is.
pub fn ttl_waited_for(ttl: Millis, least: Millis) -> Millis {
    if (least..=TTL_MAX).contains(&ttl) { ttl } else { TTL_MAX }
}

/// The rules of one pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// The clockwork.
    pub timings: Timings,
    /// Whether to return to a member of higher priority.
    pub failback: Failback,
    /// How many unplanned changes are borne before a person is asked for.
    pub flap_guard: FlapGuard,
    /// Whether a failing workload moves the active role.
    pub on_workload_failure: OnWorkloadFailure,
    /// Whether somebody is asked before a planned change.
    #[serde(default)]
    pub consults: bool,
    /// Whether a member that would run something else than the holder may follow it.
    #[serde(default)]
    pub on_drift: OnDrift,
}

/// The clockwork of one pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Timings {
    /// How long after its nonce a lease ends.
    pub ttl: Millis,
    /// How often the holder's lease is renewed: how long it keeps its answers back.
    pub renew: Millis,
    /// How long a call may take beyond what the agent may keep it back.
    pub call_timeout: Millis,
    /// How long to wait after a failed call.
    pub retry: Millis,
    /// How long the workload may take to stop.
    pub stop: Millis,
    /// How long a standby may keep its answers back.
    pub standby_hold: Millis,
    /// How often the anchor is read for operators' requests.
    pub anchor_read: Millis,
    /// How often second opinions are gathered.
    pub evidence: Millis,
    /// The most by which clock rates differ.
    pub rate: RateBound,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            ttl: Millis(15_000),
            renew: Millis(4_000),
            call_timeout: Millis(3_000),
            retry: Millis(1_000),
            stop: Millis(3_000),
            standby_hold: Millis(30_000),
            anchor_read: Millis(5_000),
            evidence: Millis(60_000),
            rate: RateBound(1_000),
        }
    }
}

impl Timings {
    /// After how much silence a standby no longer counts as answering.
    pub fn silent_after(&self) -> Millis {
        self.standby_hold + self.call_timeout.times(2)
    }

    /// How old an answer may be for its member to be appointed.
    pub fn fresh(&self) -> Millis {
        self.call_timeout.times(2)
    }

    /// How long a holder whose lease has lapsed is waited for that nobody could ask of late: one pause and one call.
    pub fn patience(&self) -> Millis {
        self.retry + self.call_timeout
    }

    /// Why these timings cannot keep a lease alive, or cannot be proven; empty if they can.
    pub fn check(&self) -> Vec<BadTiming> {
        let mut bad = Vec::new();
        if self.ttl < TTL_MIN || self.ttl > TTL_MAX {
            bad.push(BadTiming::TtlOutOfRange { ttl: self.ttl });
        }
        let needed = self.ttl_needed();
        if self.ttl < needed {
            bad.push(BadTiming::TtlTooShort { ttl: self.ttl, needed });
        }
        for (name, value, least) in [
            ("renew_ms", self.renew, Millis(100)),
            ("call_timeout_ms", self.call_timeout, Millis(100)),
            ("retry_ms", self.retry, Millis(50)),
            ("stop_ms", self.stop, Millis(50)),
            ("standby_hold_ms", self.standby_hold, Millis(100)),
            ("anchor_read_ms", self.anchor_read, Millis(200)),
            ("evidence_ms", self.evidence, Millis(1_000)),
        ] {
            if value < least {
                bad.push(BadTiming::TooShort { name, value, least });
            }
        }
        if self.standby_hold > Millis(240_000) {
            bad.push(BadTiming::HoldTooLong { value: self.standby_hold });
        }
        if self.rate.0 == 0 || self.rate.0 > 100_000 {
            bad.push(BadTiming::RateOutOfRange { ppm: self.rate.0 });
        }
        bad
    }

    /// The shortest ttl that survives a slow renewal: held answer, two slow calls, and the stop.
    pub fn ttl_needed(&self) -> Millis {
        self.renew + self.call_timeout.times(2) + self.stop
    }
}

/// Timings that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum BadTiming {
    /// The ttl is out of range.
    #[error("ttl_ms = {} is outside {}..={}", ttl.0, TTL_MIN.0, TTL_MAX.0)]
    TtlOutOfRange {
        /// What was given.
        ttl: Millis,
    },
    /// A healthy holder would lose its lease.
    #[error("ttl_ms = {} is below renew_ms + 2 × call_timeout_ms + stop_ms = {}: a healthy holder would lose its lease", ttl.0, needed.0)]
    TtlTooShort {
        /// What was given.
        ttl: Millis,
        /// The least that works.
        needed: Millis,
    },
    /// A span is too short to be kept.
    #[error("{name} = {} is below {}", value.0, least.0)]
    TooShort {
        /// Which.
        #[serde(skip)]
        name: &'static str,
        /// What was given.
        value: Millis,
        /// The least.
        least: Millis,
    },
    /// IoT Hub ends a direct method after 300 s.
    #[error("standby_hold_ms = {} is above 240000: IoT Hub ends a direct method after 300 s", value.0)]
    HoldTooLong {
        /// What was given.
        value: Millis,
    },
    /// The clock-rate bound is out of range.
    #[error("clock_rate_ppm = {ppm} is outside 1..=100000")]
    RateOutOfRange {
        /// What was given.
        ppm: u32,
    },
}

/// Whether to return to a member of higher priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failback {
    /// Only when asked.
    Manual,
    /// Once it has been fit for that long.
    Automatic {
        /// How long.
        after: Millis,
    },
}

/// At most `max` unplanned changes of holder within `window`; then the pool stays where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FlapGuard {
    /// How many; at most [`FLAPS_MAX`], the anchor remembers no more.
    pub max: u32,
    /// Within which time.
    pub window: Millis,
}

/// The most that a flap guard can count.
pub const FLAPS_MAX: u32 = 12;

/// Whether a failing workload moves the active role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnWorkloadFailure {
    /// Switch over to a fit standby.
    Switch,
    /// Stay, and say so.
    Stay,
}

/// Whether a member that would run something else than the holder may follow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDrift {
    /// Only if an operator names it in a failover.
    Block,
    /// Yes, but it is said all the time.
    #[default]
    Warn,
    /// Yes, and nothing is said.
    Ignore,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timings: Timings::default(),
            failback: Failback::Manual,
            flap_guard: FlapGuard { max: 5, window: Millis(3_600_000) },
            on_workload_failure: OnWorkloadFailure::Switch,
            consults: false,
            on_drift: OnDrift::Warn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_usable() {
        assert_eq!(Timings::default().check(), []);
    }

    #[test]
    fn a_ttl_that_a_healthy_holder_would_lose_is_refused() {
        let timings = Timings { ttl: Millis(9_000), ..Timings::default() };
        let said: Vec<String> = timings.check().iter().map(ToString::to_string).collect();
        expect_test::expect![[r#"
            [
                "ttl_ms = 9000 is below renew_ms + 2 × call_timeout_ms + stop_ms = 13000: a healthy holder would lose its lease",
            ]
        "#]]
        .assert_debug_eq(&said);
    }
}
