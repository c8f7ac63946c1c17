//! All throttles of one hub together.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Bucket, Quota, Size, Sku};

/// A kind of operation that is throttled by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Identities; each entry of a bulk call counts.
    Registry,
    /// New device connections.
    Connects,
    /// Device-to-cloud messages.
    Telemetry,
    /// Cloud-to-device messages.
    CloudToDevice,
    /// Queries.
    Queries,
    /// Direct methods, by started 4 KB of their requests.
    Methods,
    /// Twins read by devices and back ends.
    TwinReads,
    /// Twins written by devices and back ends.
    TwinWrites,
    /// Configurations and deployments.
    Configurations,
    /// Jobs made, listed and read.
    Jobs,
    /// What jobs do to single devices.
    JobOperations,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 11] = [
        Self::Registry,
        Self::Connects,
        Self::Telemetry,
        Self::CloudToDevice,
        Self::Queries,
        Self::Methods,
        Self::TwinReads,
        Self::TwinWrites,
        Self::Configurations,
        Self::Jobs,
        Self::JobOperations,
    ];
}

/// How large a hub to imitate, and how patiently.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttling {
    /// Tier and size.
    pub sku: Sku,
    /// How many units of it.
    #[serde(default = "one_unit")]
    pub units: u64,
    /// So many seconds' worth of the rate pass at once. Microsoft speaks of "a minute or two" at twice the rate.
    #[serde(default = "burst_s_default")]
    pub burst_s: u32,
    /// How long a call may wait in the queue; whoever would have to wait longer is refused.
    #[serde(default = "queue_s_default")]
    pub queue_s: u32,
}

fn one_unit() -> u64 {
    1
}

fn burst_s_default() -> u32 {
    120
}

fn queue_s_default() -> u32 {
    10
}

impl Throttling {
    /// A hub of this size with the usual patience.
    pub fn new(sku: Sku, units: u64) -> Self {
        Self { sku, units, burst_s: burst_s_default(), queue_s: queue_s_default() }
    }

    /// The hub that is imitated.
    pub fn size(&self) -> Size {
        Size { sku: self.sku, units: self.units }
    }

    /// Why there is no such hub.
    pub fn check(&self) -> Result<(), String> {
        self.size().check()?;
        if self.burst_s > 3600 || self.queue_s > 3600 {
            return Err("burst_s and queue_s are at most 3600".into());
        }
        Ok(())
    }
}

/// When an operation is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// At once.
    Now,
    /// After waiting so long.
    After(Duration),
    /// Not at all: the queue is full.
    Refused,
}

/// The throttles of one hub.
#[derive(Debug, Clone)]
pub struct Limits {
    chosen: Throttling,
    lanes: BTreeMap<Lane, Metered>,
}

#[derive(Debug, Clone)]
struct Metered {
    bucket: Bucket,
    queued: u64,
    refused: u64,
}

/// What one lane is doing.
#[derive(Debug, Clone, Serialize)]
pub struct LaneStatus {
    /// So many ...
    pub count: u64,
    /// ... in so many seconds.
    pub per_s: u64,
    /// How long a call that comes now would wait.
    pub wait_ms: u64,
    /// Calls that had to wait.
    pub queued: u64,
    /// Calls that were refused.
    pub refused: u64,
}

/// What all lanes and the quota are doing.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The hub that is imitated.
    #[serde(flatten)]
    pub chosen: Throttling,
    /// Messages of the day.
    pub quota: Quota,
    /// Lane by lane.
    pub lanes: BTreeMap<Lane, LaneStatus>,
}

impl Limits {
    /// Everything idle.
    pub fn new(chosen: Throttling) -> Self {
        let span = |seconds: u32| Duration::from_secs(seconds.into());
        let lane = |lane: Lane| {
            let rate = chosen.sku.rate(chosen.units, lane);
            let bucket = Bucket::new(rate.count, rate.per, span(chosen.burst_s), span(chosen.queue_s));
            (lane, Metered { bucket, queued: 0, refused: 0 })
        };
        Self { chosen, lanes: Lane::ALL.into_iter().map(lane).collect() }
    }

    /// When an operation that may be refused is served.
    pub fn take(&mut self, lane: Lane, now: Duration, cost: u64) -> Turn {
        let Some(metered) = self.lanes.get_mut(&lane) else {
            return Turn::Now;
        };
        let wait = metered.bucket.take(now, cost);
        metered.note(wait)
    }

    /// When an operation is served that can only be held up.
    pub fn book(&mut self, lane: Lane, now: Duration, cost: u64) -> Turn {
        let Some(metered) = self.lanes.get_mut(&lane) else {
            return Turn::Now;
        };
        let wait = metered.bucket.book(now, cost);
        metered.note(Some(wait))
    }

    /// The hub that is imitated.
    pub fn chosen(&self) -> Throttling {
        self.chosen
    }

    /// What is going on, beside what is left of the day.
    pub fn status(&self, now: Duration, quota: Quota) -> Status {
        let lane = |(lane, metered): (&Lane, &Metered)| {
            let rate = self.chosen.sku.rate(self.chosen.units, *lane);
            let wait_ms = u64::try_from(metered.bucket.wait(now).as_millis()).unwrap_or(u64::MAX);
            let status = LaneStatus {
                count: rate.count,
                per_s: rate.per.as_secs(),
                wait_ms,
                queued: metered.queued,
                refused: metered.refused,
            };
            (*lane, status)
        };
        Status { chosen: self.chosen, quota, lanes: self.lanes.iter().map(lane).collect() }
    }
}

impl Metered {
    fn note(&mut self, wait: Option<Duration>) -> Turn {
        match wait {
            Some(Duration::ZERO) => Turn::Now,
            Some(wait) => {
                self.queued += 1;
                Turn::After(wait)
            }
            None => {
                self.refused += 1;
                Turn::Refused
            }
        }
    }
}
