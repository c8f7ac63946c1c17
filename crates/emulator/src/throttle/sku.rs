//! The sizes a hub comes in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Lane, STEP_BYTES};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A tier and size of Azure IoT Hub. The basic ones have the rates of the standard ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are Azure's")]
pub enum Sku {
    F1,
    B1,
    B2,
    B3,
    S1,
    S2,
    S3,
}

/// How large a hub is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Tier and size of a unit.
    pub sku: Sku,
    /// How many units.
    pub units: u64,
}

impl Default for Size {
    /// The smallest hub that has everything.
    fn default() -> Self {
        Self { sku: Sku::S1, units: 1 }
    }
}

impl Size {
    /// Why there is no such hub.
    pub fn check(self) -> Result<(), String> {
        let most = self.sku.units_max();
        if (1..=most).contains(&self.units) {
            return Ok(());
        }
        let units = if most == 1 { "one unit".into() } else { format!("1 to {most} units") };
        Err(format!("a hub of size {} has {units}", self.sku.name()))
    }

    /// Messages of a day.
    pub fn daily_messages(self) -> u64 {
        self.sku.daily_messages(self.units)
    }
}

/// So many per span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) count: u64,
    pub(super) per: Duration,
}

impl Sku {
    /// Reads `F1`, `B1` to `B3`, `S1` to `S3`, in either case.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|sku| sku.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("'{text}' is none of {}", Self::ALL.map(Self::name).join(", ")))
    }

    /// Every one.
    pub const ALL: [Self; 7] = [Self::F1, Self::B1, Self::B2, Self::B3, Self::S1, Self::S2, Self::S3];

    /// As Azure writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F1 => "F1",
            Self::B1 => "B1",
            Self::B2 => "B2",
            Self::B3 => "B3",
            Self::S1 => "S1",
            Self::S2 => "S2",
            Self::S3 => "S3",
        }
    }

    /// The billing tier.
    pub fn tier(self) -> &'static str {
        match self {
            Self::F1 => "Free",
            Self::B1 | Self::B2 | Self::B3 => "Basic",
            Self::S1 | Self::S2 | Self::S3 => "Standard",
        }
    }

    /// Configurations and deployments of one hub.
    pub fn configurations_max(self) -> usize {
        match self {
            Self::F1 => 10,
            _ => 100,
        }
    }

    /// Jobs that may wait, be scheduled or run at a time.
    pub fn jobs_active_max(self) -> usize {
        match self {
            Self::F1 | Self::B1 | Self::S1 => 1,
            Self::B2 | Self::S2 => 5,
            Self::B3 | Self::S3 => 10,
        }
    }

    /// How many units one hub may have.
    pub fn units_max(self) -> u64 {
        match self {
            Self::F1 => 1,
            Self::B3 | Self::S3 => 10,
            _ => 200,
        }
    }

    /// Messages of a day.
    pub fn daily_messages(self, units: u64) -> u64 {
        let of_one_unit = match self {
            Self::F1 => 8_000,
            Self::B1 | Self::S1 => 400_000,
            Self::B2 | Self::S2 => 6_000_000,
            Self::B3 | Self::S3 => 300_000_000,
        };
        of_one_unit * units
    }

    /// Bytes that one message pays for.
    pub fn step_bytes(self) -> usize {
        match self {
            Self::F1 => 512,
            _ => STEP_BYTES,
        }
    }

    /// What a lane lets through.
    pub(super) fn rate(self, units: u64, lane: Lane) -> Rate {
        let size = match self {
            Self::F1 | Self::B1 | Self::S1 => 0,
            Self::B2 | Self::S2 => 1,
            Self::B3 | Self::S3 => 2,
        };
        let of_each = |counts: [u64; 3], per| Rate { count: counts[size] * units, per };
        let at_least =
            |floors: [u64; 3], counts: [u64; 3]| Rate { count: floors[size].max(counts[size] * units), per: SECOND };
        match lane {
            Lane::Registry | Lane::CloudToDevice | Lane::Jobs => of_each([100, 100, 5_000], MINUTE),
            Lane::Connects | Lane::Telemetry => at_least([100, 0, 0], [12, 120, 6_000]),
            Lane::Queries => of_each([20, 20, 1_000], MINUTE),
            Lane::Methods => of_each([40, 120, 6_000], SECOND),
            Lane::TwinReads => at_least([100, 100, 0], [0, 10, 500]),
            Lane::TwinWrites => at_least([50, 50, 0], [0, 5, 250]),
            Lane::Configurations => of_each([20, 20, 20], MINUTE),
            Lane::JobOperations => at_least([10, 10, 0], [0, 1, 50]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_by_table() {
        for (sku, units, lane, count, per) in [
            (Sku::F1, 1, Lane::Registry, 100, MINUTE),
            (Sku::S1, 2, Lane::Registry, 200, MINUTE),
            (Sku::S3, 1, Lane::Registry, 5_000, MINUTE),
            (Sku::S1, 1, Lane::Telemetry, 100, SECOND),
            (Sku::S1, 10, Lane::Telemetry, 120, SECOND),
            (Sku::B2, 1, Lane::Connects, 120, SECOND),
            (Sku::S3, 2, Lane::Connects, 12_000, SECOND),
            (Sku::B1, 1, Lane::Queries, 20, MINUTE),
            (Sku::S1, 1, Lane::Methods, 40, SECOND),
            (Sku::S1, 50, Lane::TwinReads, 100, SECOND),
            (Sku::S2, 20, Lane::TwinReads, 200, SECOND),
            (Sku::S2, 1, Lane::TwinWrites, 50, SECOND),
            (Sku::S3, 2, Lane::TwinWrites, 500, SECOND),
            (Sku::S3, 1, Lane::Configurations, 20, MINUTE),
            (Sku::S2, 1, Lane::JobOperations, 10, SECOND),
        ] {
            assert_eq!(sku.rate(units, lane), Rate { count, per }, "{sku:?} {units} {lane:?}");
        }
        assert_eq!(Sku::parse("s2"), Ok(Sku::S2));
        assert!(Sku::parse("S4").is_err());
        assert_eq!(Size { sku: Sku::S2, units: 2 }.daily_messages(), 12_000_000);
        let named: Vec<_> = Sku::ALL.map(|sku| serde_json::to_value(sku).expect("a name")).into();
        assert_eq!(named, Sku::ALL.map(Sku::name));
    }
}
