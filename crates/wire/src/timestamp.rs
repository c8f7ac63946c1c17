//! Times as IoT Hub writes them: UTC, up to seven fractional digits, trailing zeros dropped.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;
use crate::invalid::shown;

/// An instant as IoT Hub writes it, in steps of 100 ns.
///
/// "Never" is `0001-01-01T00:00:00`, which the hub writes with a `Z` in most places and without one in the answer to the
/// `PUT` that creates an identity. Both are read, and written back as they came; they compare equal.
#[derive(Clone, Copy)]
pub struct Timestamp {
    at: jiff::Timestamp,
    bare: bool,
}

const TICK_NS: i32 = 100;
/// Seconds from 1970-01-01 back to 0001-01-01.
const NEVER_S: i64 = -62_135_596_800;
const FOUR_DIGIT_YEARS_S: i64 = 253_402_207_200;

impl Timestamp {
    /// The hub's word for "it has never happened".
    pub const NEVER: Timestamp = Timestamp { at: jiff::Timestamp::constant(NEVER_S, 0), bare: false };
    /// [`Timestamp::NEVER`] written without a `Z`, as in the answer to a creating `PUT`.
    pub const NEVER_BARE: Timestamp = Timestamp { at: jiff::Timestamp::constant(NEVER_S, 0), bare: true };

    /// The instant `at`, cut to 100 ns and kept between the years 1 and 9999.
    pub fn new(at: jiff::Timestamp) -> Self {
        let second = at.as_second().clamp(NEVER_S, FOUR_DIGIT_YEARS_S - 1);
        let subsec = if second == at.as_second() { at.subsec_nanosecond() / TICK_NS * TICK_NS } else { 0 };
        Timestamp { at: jiff::Timestamp::new(second, subsec).unwrap_or(at), bare: false }
    }

    /// The instant so many milliseconds after 1970.
    pub fn from_unix_ms(ms: i64) -> Self {
        let ms = ms.clamp(NEVER_S * 1000, FOUR_DIGIT_YEARS_S * 1000 - 1);
        jiff::Timestamp::from_millisecond(ms).map_or(Self::NEVER, Self::new)
    }

    /// Milliseconds since 1970.
    pub fn unix_ms(self) -> i64 {
        self.at.as_millisecond()
    }

    /// Whether this is the "never" sentinel.
    pub fn is_never(self) -> bool {
        self.at == Self::NEVER.at
    }

    /// The instant, or `None` for "never".
    pub fn get(self) -> Option<jiff::Timestamp> {
        (!self.is_never()).then_some(self.at)
    }

    /// Decimal .NET ticks (100 ns since the year 1), the form of a `generationId`.
    pub fn dotnet_ticks(self) -> u64 {
        let seconds = u64::try_from(self.at.as_second() - NEVER_S).unwrap_or(0);
        let subsec = u64::try_from(self.at.subsec_nanosecond() / TICK_NS).unwrap_or(0);
        seconds * 10_000_000 + subsec
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > 64 {
            return Err(Error::Timestamp(shown(text)));
        }
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(Timestamp::new(at));
        }
        // Without an offset the hub means UTC; and jiff's instants end a day before the last one .NET knows.
        let civil: DateTime = text.trim_end_matches('Z').parse().map_err(|_| Error::Timestamp(shown(text)))?;
        let at = TimeZone::UTC.to_timestamp(civil).unwrap_or(jiff::Timestamp::MAX);
        let bare = !text.ends_with('Z');
        Ok(Timestamp { bare, ..Timestamp::new(at) })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = TimeZone::UTC.to_datetime(self.at);
        write!(f, "{:04}-{:02}-{:02}T", civil.year(), civil.month(), civil.day())?;
        write!(f, "{:02}:{:02}:{:02}", civil.hour(), civil.minute(), civil.second())?;
        let ticks = civil.subsec_nanosecond() / TICK_NS;
        if ticks != 0 {
            write!(f, ".{}", format!("{ticks:07}").trim_end_matches('0'))?;
        }
        if self.bare { Ok(()) } else { f.write_str("Z") }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl Hash for Timestamp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.at.hash(state);
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) {
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
    }

    #[test]
    fn survives_a_round_trip() {
        check("2020-09-01T20:58:35.909741Z");
        check("2020-09-01T20:58:36.1071912Z");
        check("2020-09-01T20:58:36Z");
        check("0001-01-01T00:00:00Z");
        check("0001-01-01T00:00:00");
    }

    #[test]
    fn never_with_and_without_z_are_the_same() {
        assert_eq!(Timestamp::NEVER, Timestamp::NEVER_BARE);
        assert!("0001-01-01T00:00:00".parse::<Timestamp>().unwrap().is_never());
        assert_eq!(Timestamp::NEVER.get(), None);
        assert_eq!(Timestamp::NEVER_BARE.to_string(), "0001-01-01T00:00:00");
    }

    #[test]
    fn bad_times_are_refused_and_extremes_are_cut() {
        for bad in ["", "yesterday", "2020-13-01T00:00:00Z", "Z", "ZZZ"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad:?}");
        }
        assert!("9999-12-31T23:59:59.9999999Z".parse::<Timestamp>().is_ok());
        assert_eq!(Timestamp::from_unix_ms(i64::MIN), Timestamp::NEVER);
        assert!(Timestamp::from_unix_ms(i64::MAX).to_string().starts_with("9999-12-30"));
    }

    #[test]
    fn counts_dotnet_ticks() {
        let at: Timestamp = "2020-09-01T20:58:39.1622222Z".parse().unwrap();
        assert_eq!(at.dotnet_ticks(), 637_345_907_191_622_222);
        assert_eq!(Timestamp::from_unix_ms(1_598_993_919_162).unix_ms(), 1_598_993_919_162);
    }
}
