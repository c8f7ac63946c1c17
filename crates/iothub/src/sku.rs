use std::fmt;
use std::str::FromStr;

/// What a hub of this tier allows (Microsoft docs: IoT Hub quotas and throttling).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sku {
    /// Free: the limits of S1 with 8000 messages a day, one unit only.
    Free,
    /// Basic 1.
    B1,
    /// Basic 2.
    B2,
    /// Basic 3.
    B3,
    /// Standard 1.
    S1,
    /// Standard 2.
    S2,
    /// Standard 3.
    S3,
}

/// The kinds of operation that the hub throttles apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Identities: read, write, list. Each item of a bulk counts.
    Registry,
    /// Reading a device or module twin.
    TwinRead,
    /// Writing tags or properties.
    TwinUpdate,
    /// A page of a query.
    Query,
    /// Direct methods, in steps of 4 KiB of request.
    Method,
    /// Configurations and deployments.
    Configuration,
}

impl Operation {
    /// Every kind.
    pub const ALL: [Operation; 6] = [
        Operation::Registry,
        Operation::TwinRead,
        Operation::TwinUpdate,
        Operation::Query,
        Operation::Method,
        Operation::Configuration,
    ];

    /// Its name in words.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Registry => "identity registry operations",
            Operation::TwinRead => "twin reads",
            Operation::TwinUpdate => "twin updates",
            Operation::Query => "queries",
            Operation::Method => "direct methods",
            Operation::Configuration => "configuration operations",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The step in which methods are throttled and paid messages are counted.
const METERED_BYTES: u64 = 4096;
const METERED_BYTES_FREE: u64 = 512;

impl Sku {
    /// How often a second the hub serves this kind of operation.
    pub fn per_second(self, operation: Operation, units: u32) -> f64 {
        let units = f64::from(self.units(units));
        let per_minute_per_unit = |low: f64, high: f64| if self.is_large() { high } else { low } * units / 60.0;
        match operation {
            Operation::Registry => per_minute_per_unit(100.0, 5000.0),
            Operation::Query => per_minute_per_unit(20.0, 1000.0),
            Operation::Configuration => 20.0 * units / 60.0,
            Operation::TwinRead => match self {
                Sku::B3 | Sku::S3 => 500.0 * units,
                Sku::B2 | Sku::S2 => (10.0 * units).max(100.0),
                _ => 100.0,
            },
            Operation::TwinUpdate => match self {
                Sku::B3 | Sku::S3 => 250.0 * units,
                Sku::B2 | Sku::S2 => (5.0 * units).max(50.0),
                _ => 50.0,
            },
            Operation::Method => match self {
                Sku::B3 | Sku::S3 => 6000.0 * units,
                Sku::B2 | Sku::S2 => 120.0 * units,
                _ => 40.0 * units,
            },
        }
    }

    /// Messages a day, counted as [`Sku::messages`] counts.
    pub fn messages_per_day(self, units: u32) -> u64 {
        let per_unit = match self {
            Sku::Free => 8_000,
            Sku::B1 | Sku::S1 => 400_000,
            Sku::B2 | Sku::S2 => 6_000_000,
            Sku::B3 | Sku::S3 => 300_000_000,
        };
        per_unit * u64::from(self.units(units))
    }

    /// How many messages `bytes` are counted as: every started 4 KiB (0.5 KiB on the free tier), at least one.
    pub fn messages(self, bytes: u64) -> u64 {
        bytes.div_ceil(if self == Sku::Free { METERED_BYTES_FREE } else { METERED_BYTES }).max(1)
    }

    /// Whether the tier has twins, direct methods and IoT Edge at all; the basic ones have not.
    pub fn supports_edge(self) -> bool {
        !matches!(self, Sku::B1 | Sku::B2 | Sku::B3)
    }

    /// The rates of every kind of operation.
    pub fn limits(self, units: u32) -> Limits {
        Limits { per_second: Operation::ALL.map(|operation| self.per_second(operation, units)) }
    }

    fn is_large(self) -> bool {
        matches!(self, Sku::B3 | Sku::S3)
    }

    fn units(self, units: u32) -> u32 {
        if self == Sku::Free { 1 } else { units.max(1) }
    }
}

impl FromStr for Sku {
    type Err = UnknownSku;

    fn from_str(text: &str) -> Result<Self, UnknownSku> {
        Ok(match text.to_ascii_uppercase().as_str() {
            "F1" | "FREE" => Sku::Free,
            "B1" => Sku::B1,
            "B2" => Sku::B2,
            "B3" => Sku::B3,
            "S1" => Sku::S1,
            "S2" => Sku::S2,
            "S3" => Sku::S3,
            _ => return Err(UnknownSku),
        })
    }
}

/// A text that names no tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a tier of IoT Hub; want one of F1, B1, B2, B3, S1, S2, S3")]
pub struct UnknownSku;

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sku::Free => "F1",
            Sku::B1 => "B1",
            Sku::B2 => "B2",
            Sku::B3 => "B3",
            Sku::S1 => "S1",
            Sku::S2 => "S2",
            Sku::S3 => "S3",
        })
    }
}

/// How often a second this client may do each kind of operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    per_second: [f64; 6],
}

impl Limits {
    /// No limits: for an emulator.
    pub fn unlimited() -> Self {
        Limits { per_second: [f64::INFINITY; 6] }
    }

    /// The same scaled by `share` (0 to 1), for a client that is not alone on its hub.
    pub fn share(self, share: f64) -> Self {
        let share = if share.is_nan() { 1.0 } else { share.clamp(0.001, 1.0) };
        Limits { per_second: self.per_second.map(|rate| rate * share) }
    }

    /// The rate of one kind of operation.
    pub fn per_second(&self, operation: Operation) -> f64 {
        self.per_second[operation as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sku: Sku, units: u32, expected: [f64; 6]) {
        let limits = sku.limits(units);
        let rates = Operation::ALL.map(|operation| (limits.per_second(operation) * 100.0).round() / 100.0);
        assert_eq!(rates, expected, "{sku} x {units}");
    }

    #[test]
    fn the_table_of_the_documentation() {
        check(Sku::Free, 9, [1.67, 100.0, 50.0, 0.33, 40.0, 0.33]);
        check(Sku::S1, 1, [1.67, 100.0, 50.0, 0.33, 40.0, 0.33]);
        check(Sku::S1, 3, [5.0, 100.0, 50.0, 1.0, 120.0, 1.0]);
        check(Sku::S2, 20, [33.33, 200.0, 100.0, 6.67, 2400.0, 6.67]);
        check(Sku::S3, 1, [83.33, 500.0, 250.0, 16.67, 6000.0, 0.33]);
        assert_eq!(Sku::S1.messages_per_day(2), 800_000);
        assert_eq!((Sku::Free.messages_per_day(5), Sku::Free.messages(513)), (8000, 2));
        assert_eq!((Sku::S1.messages(0), Sku::S1.messages(4096), Sku::S1.messages(4097)), (1, 1, 2));
    }

    #[test]
    fn names_survive() {
        for sku in [Sku::Free, Sku::B1, Sku::B2, Sku::B3, Sku::S1, Sku::S2, Sku::S3] {
            assert_eq!(sku.to_string().parse(), Ok(sku));
        }
        assert_eq!("s4".parse::<Sku>(), Err(UnknownSku));
    }

    #[test]
    fn a_share_is_kept_in_bounds() {
        let whole = Sku::S1.limits(1);
        assert_eq!(whole.share(0.5).per_second(Operation::Method), 20.0);
        assert_eq!(whole.share(7.0), whole);
        assert_eq!(whole.share(f64::NAN), whole);
    }
}
