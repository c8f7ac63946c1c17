//! What the controller does at the hub, in core's words.
//!
//! [`Hub`] is the seam: [`iot::IotHub`] is the one in production; tests run the daemon against another
//! in memory. What IoT Hub says is turned into core's types behind it and nowhere else.

pub mod iot;

use std::future::Future;

use ha_core::anchor::Anchor;
use ha_core::charge::{ControlRecord, Version};
use ha_core::ids::{ControlId, MemberId, PoolName};
use ha_core::messages::{Answer, Request};
use ha_core::pool::Mirror;
use ha_core::seen::{CallFailure, Deployed, Registry, RuntimeStatus};
use ha_core::time::Millis;
use ha_deployment::Ignore;
use ha_iothub::management::Route;
use serde::Serialize;

use crate::config::{FlagConfig, PoolConfig};

/// One member of one pool, and the modules that matter there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seat {
    /// The pool.
    pub pool: PoolName,
    /// The member.
    pub member: MemberId,
    /// Its agent's module id.
    pub agent_module: String,
    /// The module that does the work, if it is a module.
    pub workload_module: Option<String>,
    /// How members without an agent are told, if there are any in this pool.
    pub flag: Option<Box<SeatFlag>>,
    /// In which settings members are meant to differ.
    pub ignore: Ignore,
}

/// The flags of a pool in which not every member has an agent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeatFlag {
    /// Where they are.
    pub config: FlagConfig,
    /// Who else is told by one.
    pub others: Vec<MemberId>,
}

impl Seat {
    /// The seat of `member` in a pool; `met` are all who have or had to do with it.
    pub fn new<'a>(config: &PoolConfig, member: &MemberId, met: impl IntoIterator<Item = &'a MemberId>) -> Self {
        let flag = config.flag.as_ref().map(|flag| {
            let others = met.into_iter().filter(|other| *other != member && flag.tells(other)).cloned().collect();
            Box::new(SeatFlag { config: flag.clone(), others })
        });
        Self {
            pool: config.name.clone(),
            member: member.clone(),
            agent_module: config.agent_module.clone(),
            workload_module: config.workload_module.clone(),
            flag,
            ignore: config.ignore.clone(),
        }
    }

    /// Where this member's flag is, if it has no agent.
    pub fn told_by_flag(&self) -> Option<&FlagConfig> {
        self.flag.as_ref().map(|flag| &flag.config).filter(|config| config.tells(&self.member))
    }
}

/// What we write into a twin, and no deployment may.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnKey {
    /// Whose twin; `None`: the device's own.
    pub module: Option<String>,
    /// The keys below `properties.desired`.
    pub path: Vec<String>,
}

impl OwnKey {
    /// What a pool's controller writes.
    pub fn of(config: &PoolConfig) -> Vec<Self> {
        let agent = Self { module: Some(config.agent_module.clone()), path: vec![ha_protocol::HA.to_owned()] };
        match &config.flag {
            None => vec![agent],
            Some(flag) => {
                let own = Self { module: flag.module.clone(), path: flag.path.clone() };
                if flag.agents.is_empty() { vec![own] } else { vec![own, agent] }
            }
        }
    }
}

impl std::fmt::Display for OwnKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let twin = self.module.as_deref().unwrap_or("the device");
        write!(f, "{} of {twin}", self.path.join("."))
    }
}

/// Second opinions, as gathered; what could not be asked is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Opinions {
    /// The registry's; `None` inside: there is no such device.
    pub registry: Option<Option<Registry>>,
    /// `$edgeAgent`'s answer to a ping.
    pub edge_agent_ping: Option<Result<(), CallFailure>>,
    /// The connection state of `$edgeHub`; `None` inside: there is no such module.
    pub edge_hub: Option<Option<String>>,
    /// What `$edgeAgent` reports of the workload module; `None` inside: nothing.
    pub runtime: Option<Option<RuntimeStatus>>,
    /// What the member is told to run, and whether it does; `None` inside: nothing is told to it.
    pub deployed: Option<Option<Deployed>>,
}

/// A device's place among gateways.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Placed {
    /// What makes other devices its children; `None`: it is no IoT Edge device.
    pub scope: Option<String>,
    /// The scopes of its parents.
    pub parents: Vec<String>,
}

/// A deployment that would overwrite what we write into an agent module's twin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Reassertion {
    /// The deployment.
    pub deployment: String,
    /// Whom it is for.
    pub target_condition: Option<String>,
    /// What it sets.
    pub key: String,
}

/// Routes that name a pool's holder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The pool.
    pub pool: PoolName,
    /// Who holds.
    pub holder: MemberId,
    /// The routes as they have to be.
    pub routes: Vec<Route>,
}

/// Routes that are in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steered {
    /// Whether anything had to be written for that.
    pub written: bool,
}

/// Why routes are not in force.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub struct NotSteered {
    /// Why, and what to try.
    pub why: String,
    /// Until somebody mends something.
    pub lasting: bool,
}

/// What the daemon and the operator's verbs need of a hub.
pub trait Hub: Send + Sync + 'static {
    /// Reads a pool's record.
    fn read_anchor(&self, pool: &PoolName) -> impl Future<Output = Read<Anchor>> + Send;

    /// Writes a pool's record if it still has version `basis`; `None`: if there is none.
    fn write_anchor(&self, anchor: &Anchor, basis: Option<&Version>) -> impl Future<Output = Written> + Send;

    /// Reads a control record.
    fn read_control(&self, control: &ControlId) -> impl Future<Output = Read<ControlRecord>> + Send;

    /// Writes a control record if it still has version `basis`; `None`: if there is none.
    fn write_control(
        &self,
        control: &ControlId,
        record: &ControlRecord,
        basis: Option<&Version>,
    ) -> impl Future<Output = Written> + Send;

    /// Calls an agent; gives up after `timeout`.
    fn call(
        &self,
        seat: &Seat,
        request: &Request,
        hold: Millis,
        timeout: Millis,
    ) -> impl Future<Output = Result<Answer, CallFailure>> + Send;

    /// Gathers second opinions on a member.
    fn gather(&self, seat: &Seat) -> impl Future<Output = Opinions> + Send;

    /// Writes flag and tags of a member.
    fn mirror(&self, seat: &Seat, mirror: &Mirror) -> impl Future<Output = Result<(), Error>> + Send;

    /// Brings routes that name the holder into force, which takes minutes. Stopping in the middle does no harm.
    fn steer(&self, rule: Rule) -> impl Future<Output = Result<Steered, NotSteered>> + Send;

    /// The devices that a query condition finds. The answer may lag behind by half an hour.
    fn select(&self, condition: &str) -> impl Future<Output = Result<Vec<MemberId>, Error>> + Send;

    /// Whether a device may fit a query condition: not if it does not exist, nor if its own twin says that it does not. Never lags.
    fn may_fit(&self, member: &MemberId, condition: &str) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Reads a device's place among gateways, and if `may` says so of it, makes the gateway of that scope its only parent.
    /// Gives the place as it was before; `None`: there is no such device.
    fn adopt(
        &self,
        child: &str,
        scope: &str,
        may: impl Fn(&Placed) -> bool + Send + Sync,
    ) -> impl Future<Output = Result<Option<Placed>, Error>> + Send;

    /// The devices whose parent is the gateway of that scope. The answer may lag behind by half an hour.
    fn children_of(&self, scope: &str) -> impl Future<Output = Result<Vec<String>, Error>> + Send;

    /// Has a gateway's edgeHub ask the hub at once for these devices.
    fn tell_of_children(
        &self,
        gateway: &MemberId,
        children: &[String],
    ) -> impl Future<Output = Result<(), CallFailure>> + Send;

    /// The deployments that would overwrite what we write.
    fn reassertions(&self, own: &[OwnKey]) -> impl Future<Output = Result<Vec<Reassertion>, Error>> + Send;
}

/// A record and its version, or that there is none.
pub type Read<T> = Result<Option<(T, Version)>, Error>;

/// The version after a write.
pub type Written = Result<Version, NotWritten>;

/// Why a write cannot be relied on.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// Somebody else wrote first; nothing of ours was written.
    #[error("somebody else wrote first")]
    Conflict,
    /// Nothing was written.
    #[error("nothing was written")]
    Failed(#[source] Error),
    /// It may or may not have been written.
    #[error("it may or may not have been written")]
    Unsure(#[source] Error),
}

/// Why something at the hub did not work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The hub does not take the credentials.
    #[error("IoT Hub does not accept the credentials or grants them too little: {0}")]
    Unauthorised(String),
    /// The hub cannot be reached.
    #[error("IoT Hub cannot be reached: {0}")]
    Unreachable(String),
    /// The hub is throttling, or the day's quota is used up.
    #[error("IoT Hub is throttling: {0}")]
    Throttled(String),
    /// The thing is not there.
    #[error("{0} does not exist in IoT Hub")]
    NotFound(String),
    /// A document in the hub makes no sense.
    #[error("{what} makes no sense: {why}")]
    Malformed {
        /// Which document.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The hub refuses, or is out of order.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// Whether the same may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Throttled(_))
    }

    /// As a reason why a call brought no answer.
    pub fn as_call_failure(&self) -> CallFailure {
        match self {
            Self::Unauthorised(_) => CallFailure::Unauthorised,
            Self::Unreachable(_) => CallFailure::HubUnreachable,
            Self::Throttled(_) => CallFailure::Throttled,
            Self::NotFound(_) => CallFailure::NotFound,
            Self::Malformed { .. } => CallFailure::BadAnswer(self.to_string()),
            Self::Refused(said) => CallFailure::Rejected(said.clone()),
        }
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}
