//! How often each kind of operation happened, and what it is billed as, so that tests can count calls and costs.

mod text;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::hub::Id;

pub(crate) use text::{CONTENT_TYPE, Gauges, open_metrics};

/// Devices that are counted one by one; the rest go together.
const DEVICES_MAX: usize = 10_000;
const OTHER_DEVICES: &str = "(other devices)";

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
    /// Calls on jobs.
    Jobs,
    /// Requests turned away for their credentials.
    Unauthorized,
    /// Answers 429, made by a throttle or by a fault.
    Throttled,
    /// Operations that a throttle made wait.
    Queued,
    /// Operations refused because the day's messages are spent.
    QuotaExceeded,
    /// Answers 5xx made by a fault.
    ServerErrors,
    /// Answers withheld by a fault.
    LostAnswers,
    /// MQTT connections accepted.
    Connects,
    /// MQTT connections refused.
    ConnectsRefused,
    /// MQTT connections refused because their identity connects too often.
    ConnectsThrottled,
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
    /// Cloud-to-device messages taken in.
    CloudMessages,
    /// Cloud-to-device messages sent to devices, repetitions included.
    CloudMessagesDelivered,
    /// Cloud-to-device messages that devices are done with.
    CloudMessagesCompleted,
    /// Cloud-to-device messages dropped: too old, rejected, or delivered too often.
    CloudMessagesLost,
    /// Calls for, or about, feedback on cloud-to-device messages.
    Feedback,
    /// Packets dropped by a fault.
    Dropped,
}

/// What messages are billed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bill {
    /// Device-to-cloud messages.
    Telemetry,
    /// Cloud-to-device messages.
    CloudToDevice,
    /// Twins read, from either side.
    TwinReads,
    /// Twins written, from either side.
    TwinWrites,
    /// Changes of desired properties sent to devices.
    DesiredNotices,
    /// Direct methods: the request, and the response if there is one.
    Methods,
    /// Pages of query results.
    Queries,
    /// `applyConfigurationContent`.
    AppliedContent,
}

/// Billed messages since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Billed {
    /// All of them.
    pub total: u64,
    /// By what they were for.
    pub by_kind: BTreeMap<Bill, u64>,
    /// By device, its modules included; queries belong to none.
    pub by_device: BTreeMap<String, u64>,
}

/// All counts since the start or the last reset.
#[derive(Debug, Default)]
pub struct Meters(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    counts: BTreeMap<Meter, u64>,
    by_device: BTreeMap<String, BTreeMap<Meter, u64>>,
    billed: Billed,
}

impl Meters {
    /// One more.
    pub fn count(&self, meter: Meter) {
        self.add(meter, 1);
    }

    /// One more, of this device or one of its modules.
    pub fn count_for(&self, meter: Meter, id: &Id) {
        let mut books = self.lock();
        *books.counts.entry(meter).or_default() += 1;
        let device = itemised(&books.by_device, &id.device);
        *books.by_device.entry(device).or_default().entry(meter).or_default() += 1;
    }

    /// So many more.
    pub fn add(&self, meter: Meter, amount: u64) {
        *self.lock().counts.entry(meter).or_default() += amount;
    }

    /// How many so far.
    pub fn read(&self, meter: Meter) -> u64 {
        self.lock().counts.get(&meter).copied().unwrap_or(0)
    }

    /// All that are not zero.
    pub fn all(&self) -> BTreeMap<Meter, u64> {
        self.lock().counts.clone()
    }

    /// What is known of single devices, their modules included.
    pub fn by_device(&self) -> BTreeMap<String, BTreeMap<Meter, u64>> {
        self.lock().by_device.clone()
    }

    /// Messages that a real hub would have billed.
    pub fn billed(&self) -> Billed {
        self.lock().billed.clone()
    }

    /// Back to zero.
    pub fn reset(&self) {
        *self.lock() = Books::default();
    }

    pub(crate) fn bill(&self, bill: Bill, device: Option<&str>, messages: u64) {
        let mut books = self.lock();
        let billed = &mut books.billed;
        billed.total += messages;
        *billed.by_kind.entry(bill).or_default() += messages;
        if let Some(device) = device {
            let device = itemised(&billed.by_device, device);
            *billed.by_device.entry(device).or_default() += messages;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stranger who makes up names must not fill the memory.
fn itemised<T>(known: &BTreeMap<String, T>, device: &str) -> String {
    let fits = known.len() < DEVICES_MAX || known.contains_key(device);
    if fits { device.to_owned() } else { OTHER_DEVICES.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_do_not_fill_the_memory() {
        let meters = Meters::default();
        for n in 0..DEVICES_MAX + 10 {
            meters.count_for(Meter::Telemetry, &Id::device(n.to_string()));
            meters.bill(Bill::Telemetry, Some(&n.to_string()), 2);
        }
        let by_device = meters.by_device();
        assert_eq!(by_device.len(), DEVICES_MAX + 1);
        assert_eq!(by_device[OTHER_DEVICES][&Meter::Telemetry], 10);
        assert_eq!(meters.billed().by_device[OTHER_DEVICES], 20);
        assert_eq!(meters.billed().total, 2 * (DEVICES_MAX as u64 + 10));
    }
}
