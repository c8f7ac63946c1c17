//! Messages per day.

use jiff::Timestamp;
use serde::Serialize;

const DAY_S: i64 = 24 * 3600;

/// The messages of a day, counted from midnight to midnight in UTC.
#[derive(Debug, Clone, Serialize)]
pub struct Quota {
    max: u64,
    used: u64,
    #[serde(skip)]
    day: i64,
}

/// The day's messages are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "Total number of messages on IotHub exceeded the allocated quota. Max allowed message count: '{max}', \
     current message count: '{used}'."
)]
pub struct Spent {
    /// How many a day has.
    pub max: u64,
    /// How many there were.
    pub used: u64,
}

impl Quota {
    /// A day has so many messages.
    pub fn new(max: u64) -> Self {
        Self { max, used: 0, day: 0 }
    }

    /// Another size of the day; what was used stays used.
    pub fn set_max(&mut self, max: u64) {
        self.max = max;
    }

    /// How many a day has.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// How many of the day are used.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// The same as it is now: a new day has used nothing.
    pub fn at(mut self, now: Timestamp) -> Self {
        self.turn_page(now);
        self
    }

    /// Whether another message is let in. The one that crosses the line still was.
    pub fn check(&mut self, now: Timestamp) -> Result<(), Spent> {
        self.turn_page(now);
        if self.used >= self.max {
            return Err(Spent { max: self.max, used: self.used });
        }
        Ok(())
    }

    /// Books messages that were let in.
    pub fn charge(&mut self, now: Timestamp, messages: u64) {
        self.turn_page(now);
        self.used = self.used.saturating_add(messages);
    }

    fn turn_page(&mut self, now: Timestamp) {
        let day = now.as_second().div_euclid(DAY_S);
        if day != self.day {
            self.day = day;
            self.used = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_spent_day_ends_at_midnight_in_utc() {
        let mut quota = Quota::new(10);
        let noon = at("2024-05-01T12:00:00Z");
        quota.charge(noon, 9);
        assert_eq!(quota.check(noon), Ok(()));
        quota.charge(noon, 3);
        assert_eq!(quota.check(at("2024-05-01T23:59:59.999Z")), Err(Spent { max: 10, used: 12 }));
        assert_eq!(quota.check(at("2024-05-02T00:00:00Z")), Ok(()));
    }
}
