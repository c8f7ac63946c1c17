use ha_core::time::Time;
use serde::{Deserialize, Serialize};

/// An instant of the world, in microseconds. Nobody inside the world can read it.
pub type Instant = u64;

pub const MS: Instant = 1_000;
pub const S: Instant = 1_000_000;

/// Somebody's clock: where its zero lies in the world's time, and how much faster than the world it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Clock {
    pub zero: i64,
    /// In parts per thousand million.
    pub fast_ppb: i64,
}

const BILLION: i128 = 1_000_000_000;

impl Clock {
    pub const TRUE: Self = Self { zero: 0, fast_ppb: 0 };

    pub fn at(&self, now: Instant) -> Time {
        let passed = i128::from(now) - i128::from(self.zero);
        let shown = passed * (BILLION + i128::from(self.fast_ppb)) / BILLION;
        Time::from_ms(u64::try_from(shown / 1_000).unwrap_or(0))
    }

    /// The first instant at which the clock shows `shown` or more.
    pub fn when(&self, shown: Time) -> Instant {
        let passed = i128::from(shown.as_ms()) * 1_000 * BILLION / (BILLION + i128::from(self.fast_ppb));
        let near = (passed + i128::from(self.zero)).clamp(0, i128::from(u64::MAX / 2));
        let mut instant = u64::try_from(near).unwrap_or(0).saturating_sub(3);
        while self.at(instant) < shown && instant < u64::MAX / 2 {
            instant += 1;
        }
        instant
    }
}

#[test]
fn a_clock_can_be_read_backwards() {
    for fast_ppb in [-500_000, -1, 0, 333, 500_000] {
        let clock = Clock { zero: -123_456_789, fast_ppb };
        for shown in [124_000, 130_001, 900_000_007].map(Time::from_ms) {
            let when = clock.when(shown);
            assert!(clock.at(when) >= shown && clock.at(when - 1) < shown, "{clock:?} {shown:?}");
        }
    }
}
