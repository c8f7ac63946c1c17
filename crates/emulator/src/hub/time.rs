//! Instants as the hub prints them.

use ha_wire::Timestamp as Wire;
use jiff::Timestamp;

/// "Never", as most answers write it.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// UTC with up to seven fractional digits, trailing zeros dropped.
pub(crate) fn print(at: Timestamp) -> String {
    Wire::new(at).to_string()
}

/// An instant, or "never", which the answer that creates an identity writes without a `Z`.
pub(crate) fn print_or_never(at: Option<Timestamp>, fresh: bool) -> String {
    match at {
        Some(at) => Wire::new(at),
        None if fresh => Wire::NEVER_BARE,
        None => Wire::NEVER,
    }
    .to_string()
}

/// Ticks of 100 ns since the year 1, as generation ids count them.
pub(crate) fn ticks(at: Timestamp) -> u64 {
    Wire::new(at).dotnet_ticks()
}
