//! Instants and spans of handed-in clocks.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// An instant on one process's own monotonic clock, in milliseconds.
///
/// Instants of different processes cannot be compared. On a device this is the boot clock, which
/// counts suspend.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(u64);

impl Time {
    /// The instant `ms` milliseconds after the clock's own zero.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the clock's own zero.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }

    /// How far ahead `later` is; zero if it has passed.
    pub const fn until(self, later: Self) -> Millis {
        later.since(self)
    }
}

impl Add<Millis> for Time {
    type Output = Self;

    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Millis> for Time {
    type Output = Self;

    fn sub(self, span: Millis) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}ms", self.0)
    }
}

/// A span in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `self` times `n`.
    #[must_use]
    pub const fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// `self` less `other`, at least zero.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Millis {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms @ 0..1_000 => write!(f, "{ms} ms"),
            ms @ 1_000..120_000 => write!(f, "{}.{} s", ms / 1_000, ms % 1_000 / 100),
            ms @ 120_000..7_200_000 => write!(f, "{} min", ms / 60_000),
            ms => write!(f, "{} h", ms / 3_600_000),
        }
    }
}

/// A wall-clock instant, in milliseconds since 1970-01-01 UTC.
///
/// Only for records that people read and for counting past failovers. No lease depends on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub i64);

/// The present, as its process knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Now {
    /// The monotonic clock: everything is decided by this one.
    pub mono: Time,
    /// The wall clock: goes into records.
    pub wall: WallTime,
}

/// The most by which the rates of two clocks of the system differ, in parts per million.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RateBound(pub u32);

impl RateBound {
    /// A span measured on another clock, at its longest on ours.
    ///
    /// One millisecond is added because both clocks are read in whole milliseconds.
    #[must_use]
    pub const fn stretch(self, span: Millis) -> Millis {
        let extra = (span.0 as u128 * self.0 as u128).div_ceil(1_000_000) as u64;
        Millis(span.0.saturating_add(extra).saturating_add(1))
    }

    /// A span promised by another clock, at its shortest on ours.
    #[must_use]
    pub const fn shrink(self, span: Millis) -> Millis {
        let extra = (span.0 as u128 * self.0 as u128).div_ceil(1_000_000) as u64;
        Millis(span.0.saturating_sub(extra).saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretched_span_is_never_shorter_and_a_shrunk_one_never_longer() {
        let bound = RateBound(1_000);
        assert_eq!(bound.stretch(Millis(10_000)), Millis(10_011));
        assert_eq!(bound.shrink(Millis(10_000)), Millis(9_989));
        assert_eq!(bound.stretch(Millis(u64::MAX)), Millis(u64::MAX));
        assert_eq!(bound.shrink(Millis(0)), Millis(0));
    }

    #[test]
    fn spans_read_well() {
        let shown = [5, 1_500, 180_000, 10_800_000].map(|ms| Millis(ms).to_string());
        assert_eq!(shown, ["5 ms", "1.5 s", "3 min", "3 h"]);
    }
}
