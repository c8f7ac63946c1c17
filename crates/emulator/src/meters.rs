//! How often each kind of operation happened, so that tests can count calls.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// `GET` of device or module identities.
    RegistryReads,
    /// `PUT`, `DELETE` and bulk entries of identities.
    RegistryWrites,
    /// `GET` of statistics.
    Statistics,
    /// `GET` of twins by a back end.
    TwinReads,
    /// `PATCH` and `PUT` of twins by a back end.
    TwinWrites,
    /// Queries, one per page.
    Queries,
    /// Direct methods asked for.
    Methods,
    /// Calls on configurations.
    Configurations,
    /// Requests turned away for their credentials.
    Unauthorized,
    /// Answers 429 made by a fault.
    Throttled,
    /// Answers 5xx made by a fault.
    ServerErrors,
    /// Answers withheld by a fault.
    LostAnswers,
    /// MQTT connections accepted.
    Connects,
    /// MQTT connections refused.
    ConnectsRefused,
    /// MQTT connections ended, for whatever reason.
    Disconnects,
    /// Of these, ended by a newer connection of the same identity.
    TakeOvers,
    /// Of these, ended by silence.
    KeepAliveExpiries,
    /// Twins fetched by devices.
    DeviceTwinReads,
    /// Reported patches by devices.
    DeviceReports,
    /// Changes of desired properties sent to devices.
    DesiredNotices,
    /// Direct methods sent to devices.
    MethodsDelivered,
    /// Answers to direct methods from devices.
    MethodsAnswered,
    /// Device-to-cloud messages.
    Telemetry,
    /// Packets dropped by a fault.
    Dropped,
}

/// All counts since the start or the last reset.
#[derive(Debug, Default)]
pub struct Meters(Mutex<BTreeMap<Meter, u64>>);

impl Meters {
    /// One more.
    pub fn count(&self, meter: Meter) {
        self.add(meter, 1);
    }

    /// So many more.
    pub fn add(&self, meter: Meter, amount: u64) {
        *self.lock().entry(meter).or_default() += amount;
    }

    /// How many so far.
    pub fn read(&self, meter: Meter) -> u64 {
        self.lock().get(&meter).copied().unwrap_or(0)
    }

    /// All that are not zero.
    pub fn all(&self) -> BTreeMap<Meter, u64> {
        self.lock().clone()
    }

    /// Back to zero.
    pub fn reset(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Meter, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
