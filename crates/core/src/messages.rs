//! What grantors ask of an agent, and what it answers.

use serde::{Deserialize, Serialize};

use crate::ids::{BootId, Epoch, GrantorId, Nonce, Term};
use crate::time::Millis;

/// A request to an agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// How are you?
    Hello(Hello),
    /// You may run.
    Grant(Grant),
    /// Stop, and say when you have.
    Revoke(Revoke),
}

/// Asks for the agent's state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Who asks.
    pub grantor: GrantorId,
    /// The charge under which it asks.
    pub epoch: Epoch,
    /// Whether the asker wants a nonce. A mere onlooker leaves the agent's few nonces alone.
    pub wants_nonce: bool,
}

/// Lets the agent run until the echoed nonce is `ttl` old.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Who grants.
    pub grantor: GrantorId,
    /// The charge under which it grants.
    pub epoch: Epoch,
    /// The term granted.
    pub term: Term,
    /// The agent's own nonce, echoed.
    pub nonce: Nonce,
    /// How long after that nonce was made the lease ends.
    pub ttl: Millis,
}

/// Takes a term, and all below it, back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Revoke {
    /// Who revokes.
    pub grantor: GrantorId,
    /// The charge under which it revokes.
    pub epoch: Epoch,
    /// The term revoked.
    pub term: Term,
}

impl Request {
    /// Who sent it.
    pub fn grantor(&self) -> &GrantorId {
        match self {
            Self::Hello(m) => &m.grantor,
            Self::Grant(m) => &m.grantor,
            Self::Revoke(m) => &m.grantor,
        }
    }

    /// Under which charge.
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Hello(m) => m.epoch,
            Self::Grant(m) => m.epoch,
            Self::Revoke(m) => m.epoch,
        }
    }
}

/// An agent's answer to any request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The agent process that answers.
    pub boot: BootId,
    /// What the agent does.
    pub state: HolderState,
    /// The term it runs or last ran; zero if none since its start.
    pub term: Term,
    /// How long its lease lasts, if it has one.
    pub lease_left: Option<Millis>,
    /// How the workload is.
    pub workload: Workload,
    /// The agent was asked to stop and waits to be relieved.
    pub leaving: bool,
    /// Why the request was not granted.
    pub refused: Option<Refusal>,
    /// In answer to a revoke alone: this term and all below it have stopped for good.
    pub released: Option<Term>,
    /// A fresh nonce, for whoever wanted one.
    pub nonce: Option<Nonce>,
}

impl Answer {
    /// Whether the agent had a lease for `term` when it answered.
    pub fn runs(&self, term: Term) -> bool {
        matches!(self.state, HolderState::Opening | HolderState::Active) && self.term == term
    }
}

/// What an agent does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderState {
    /// Just started; an earlier run of the agent may have left a workload behind.
    Starting,
    /// Gate closed, workload not running.
    Standby,
    /// Has a lease; the gate is about to open.
    Opening,
    /// Gate open.
    Active,
    /// Gate closing, workload stopping.
    Stopping,
}

impl HolderState {
    /// Whether the workload may be running.
    pub const fn may_run(self) -> bool {
        !matches!(self, Self::Standby)
    }

    /// The word for it in logs and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Standby => "standby",
            Self::Opening => "opening",
            Self::Active => "active",
            Self::Stopping => "stopping",
        }
    }
}

/// How the workload is, by the agent's probes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "health", content = "reason")]
pub enum Workload {
    /// No probe has said anything yet.
    Unknown,
    /// Not running; could be started.
    Ready,
    /// Running, and its probes pass.
    Running,
    /// Not running, and could not be started: why.
    Unready(String),
    /// Should run but does not work: why.
    Failing(String),
}

/// Why an agent did not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The grantor is none of this agent's.
    #[error("the grantor is unknown here")]
    UnknownGrantor,
    /// A newer charge has been heard of.
    #[error("a controller of epoch {seen} has spoken since")]
    StaleEpoch {
        /// The newest epoch heard of.
        seen: Epoch,
    },
    /// A newer term has been heard of.
    #[error("term {seen} has been seen since")]
    StaleTerm {
        /// The newest term heard of.
        seen: Term,
    },
    /// The term was given back.
    #[error("terms up to {through} were released here")]
    Released {
        /// The highest term released.
        through: Term,
    },
    /// The nonce is not one of the agent's latest.
    #[error("the nonce is not one of the latest made here")]
    UnknownNonce,
    /// The grant came too late to be of use.
    #[error("the lease would end before the workload could run and stop")]
    TooLate,
    /// The ttl is out of range.
    #[error("the ttl is above {max}")]
    TtlTooLong {
        /// The longest ttl taken.
        max: Millis,
    },
    /// The agent is being stopped.
    #[error("the agent is being stopped")]
    Leaving,
    /// The flag in the twin says inactive.
    #[error("the flag in the twin says inactive for term {term}")]
    FlagInactive {
        /// The term in the flag.
        term: Term,
    },
    /// An earlier run's workload may still be there.
    #[error("an earlier workload may still be running here")]
    Starting,
}

impl Refusal {
    /// Whether the next request, with a fresh nonce, may well be taken.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::UnknownNonce | Self::TooLate | Self::Leaving)
    }
}
