//! Instants as the hub prints them.

use jiff::Timestamp;

/// "Never", as most answers write it.
pub const NEVER: &str = "0001-01-01T00:00:00Z";
/// "Never", as the answer that creates an identity writes it.
pub const NEVER_FRESH: &str = "0001-01-01T00:00:00";

/// UTC with up to seven fractional digits, trailing zeros dropped.
pub fn print(at: Timestamp) -> String {
    truncated(at).to_string()
}

/// An instant, or "never".
pub fn print_or_never(at: Option<Timestamp>, fresh: bool) -> String {
    match at {
        Some(at) => print(at),
        None if fresh => NEVER_FRESH.to_owned(),
        None => NEVER.to_owned(),
    }
}

/// Ticks of 100 ns since the year 1, as generation ids count them.
pub fn ticks(at: Timestamp) -> i128 {
    const UNIX_EPOCH_TICKS: i128 = 621_355_968_000_000_000;
    UNIX_EPOCH_TICKS + at.as_nanosecond() / 100
}

fn truncated(at: Timestamp) -> Timestamp {
    let nanos = at.as_nanosecond();
    Timestamp::from_nanosecond(nanos - nanos.rem_euclid(100)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_cut_to_ticks_and_trimmed() {
        for (text, printed) in [
            ("2020-09-01T20:58:35.909741Z", "2020-09-01T20:58:35.909741Z"),
            ("2020-09-01T20:58:35.123456789Z", "2020-09-01T20:58:35.1234567Z"),
            ("2020-09-01T20:58:35Z", "2020-09-01T20:58:35Z"),
        ] {
            let at: Timestamp = text.parse().expect("a timestamp");
            assert_eq!(print(at), printed);
        }
        let at: Timestamp = "2020-09-01T20:58:39Z".parse().expect("a timestamp");
        assert_eq!(ticks(at), 637_345_907_190_000_000);
    }
}
