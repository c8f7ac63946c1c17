//! What was seen of the members, and how long ago. Unknown is not absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::messages::Answer;
use crate::time::{Millis, Time, WallTime};

/// Something that was seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen<T> {
    /// What.
    pub value: T,
    /// When.
    pub at: Time,
}

impl<T> Seen<T> {
    /// How old it is.
    pub fn age(&self, now: Time) -> Millis {
        now.since(self.at)
    }
}

/// Everything seen of one member.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MemberSeen {
    /// The agent's last answer.
    pub answer: Option<Seen<Answer>>,
    /// Calls have failed since: the latest failure, and since when they fail.
    pub trouble: Option<Trouble>,
    /// Since when the member has been fit without a break.
    pub fit_since: Option<Time>,
    /// Second opinions.
    pub evidence: Evidence,
}

/// Calls that fail.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Trouble {
    /// The latest failure.
    pub failure: CallFailure,
    /// The first failure since the last answer.
    pub since: Time,
}

/// Why a call to an agent brought no answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CallFailure {
    /// IoT Hub says that the module is not connected.
    #[error("not connected to IoT Hub")]
    Offline,
    /// The device or the agent module does not exist.
    #[error("no such device or agent module in IoT Hub")]
    NotFound,
    /// Nothing came back in time.
    #[error("no answer in time")]
    TimedOut,
    /// IoT Hub is throttling.
    #[error("throttled by IoT Hub")]
    Throttled,
    /// IoT Hub does not let us.
    #[error("not allowed by IoT Hub")]
    Unauthorised,
    /// IoT Hub cannot be reached.
    #[error("IoT Hub cannot be reached")]
    HubUnreachable,
    /// The agent rejected the request itself.
    #[error("the agent rejected the request: {0}")]
    Rejected(String),
    /// The answer made no sense.
    #[error("the agent's answer made no sense: {0}")]
    BadAnswer(String),
}

impl CallFailure {
    /// Whether it says something about the member, rather than about the hub or ourselves.
    pub fn is_about_member(&self) -> bool {
        !matches!(self, Self::Throttled | Self::Unauthorised | Self::HubUnreachable)
    }
}

/// Second opinions on a member. Shown and weighed, never proof that it is not running.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The identity's seven fields in IoT Hub's registry; `None` inside: there is no such device.
    pub registry: Option<Seen<Option<Registry>>>,
    /// Whether `$edgeAgent` answered a ping.
    pub edge_agent_ping: Option<Seen<Result<(), CallFailure>>>,
    /// The connection state of `$edgeHub`.
    pub edge_hub: Option<Seen<Option<String>>>,
    /// What `$edgeAgent` reports of the workload module.
    pub runtime: Option<Seen<Option<RuntimeStatus>>>,
    /// What the member is told to run, and whether it does; `None` inside: nothing is told to it.
    #[serde(default)]
    pub deployed: Option<Seen<Option<Deployed>>>,
}

/// The registry's answer on a device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registry {
    /// `enabled` or `disabled`.
    pub status: String,
    /// Why, if somebody said.
    pub status_reason: Option<String>,
    /// When the status last changed; `None`: never.
    pub status_updated: Option<WallTime>,
    /// `Connected` or `Disconnected`; always `Disconnected` for an Edge device.
    pub connection_state: String,
    /// When that last changed; `None`: never.
    pub connection_state_updated: Option<WallTime>,
    /// When the device was last active; `None`: never.
    pub last_activity: Option<WallTime>,
    /// The identity's etag.
    pub etag: String,
}

impl Registry {
    /// Whether the device is disabled.
    pub fn is_disabled(&self) -> bool {
        self.status.eq_ignore_ascii_case("disabled")
    }
}

/// What a member is told to run, and whether it does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Deployed {
    /// A digest of what it is told: equal for members that are told the same.
    pub told: String,
    /// Digests of settings that some members are to have each for itself, by place; of those members they are not there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apart: BTreeMap<String, String>,
    /// The pool's own deployments among what it is told; `None`: it is told by others.
    pub release: Option<String>,
    /// In what it reports to run something else; `None`: it runs what it is told.
    pub astray: Option<String>,
}

/// What `$edgeAgent` reports of a module.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RuntimeStatus {
    /// `running`, `backoff`, `stopped`, …
    pub status: String,
    /// How often it was restarted.
    pub restart_count: u64,
}
