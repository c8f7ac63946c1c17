//! Why what an operator asked for has not come about.

use ha_core::ids::{MemberId, PoolName, Term};
use ha_core::messages::{HolderState, Refusal};
use ha_core::seen::CallFailure;
use serde::Serialize;

use crate::hub::Error;

/// Why a request could not be made, or was not settled.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The hub does not work.
    #[error("the pool's record cannot be used")]
    Hub(#[from] Error),
    /// There is no record.
    #[error("the pool {pool} has no record yet: no controller has run it")]
    NoRecord {
        /// Which pool.
        pool: PoolName,
    },
    /// Others kept writing.
    #[error("the record kept changing: nothing was asked for")]
    Contended,
    /// Nobody settled it in time.
    #[error("no controller has settled the request in time; it stays in the record")]
    TimedOut,
    /// The request was carried out, and yet nobody is active.
    #[error("the request was carried out, but the work has not been taken up in time: {0}")]
    NotActive(NotActive),
}

/// Why nobody is active as asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum NotActive {
    /// The record has not been read yet.
    #[error("the pool's record has not been read yet")]
    Unread,
    /// Nobody holds.
    #[error("nobody holds{}", because(.status.as_ref()))]
    Vacant {
        /// What the controller waits for, if that has lasted.
        status: Option<String>,
    },
    /// The member that was to hand over still holds.
    #[error("{holder} still holds term {term}{}", because(.status.as_ref()))]
    StillHeld {
        /// Who.
        holder: MemberId,
        /// Which term.
        term: Term,
        /// What the controller waits for, if that has lasted.
        status: Option<String>,
    },
    /// The holder does not answer.
    #[error("{holder} holds term {term}, but its agent does not answer: {failure}")]
    Silent {
        /// Who.
        holder: MemberId,
        /// Which term.
        term: Term,
        /// What the calls say.
        failure: CallFailure,
    },
    /// The holder's agent refuses the lease.
    #[error("{holder} holds term {term}, but its agent refuses: {refusal}")]
    Refuses {
        /// Who.
        holder: MemberId,
        /// Which term.
        term: Term,
        /// Why.
        refusal: Refusal,
    },
    /// The workload does not work there.
    #[error("{holder} holds term {term}, but its workload does not work: {said}")]
    WorkloadFails {
        /// Who.
        holder: MemberId,
        /// Which term.
        term: Term,
        /// What the probe says.
        said: String,
    },
    /// The holder has not got there yet.
    #[error("{holder} holds term {term} and is {}", .state.as_str())]
    NotYet {
        /// Who.
        holder: MemberId,
        /// Which term.
        term: Term,
        /// What its agent does.
        state: HolderState,
    },
}

fn because(status: Option<&String>) -> String {
    status.map(|status| format!(": {status}")).unwrap_or_default()
}
