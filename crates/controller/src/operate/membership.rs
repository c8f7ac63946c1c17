//! Makes devices members of a pool, and takes membership from them, at the hub.
//!
//! The plan is made first from what is there, and holds only what is missing: a second run finishes a first that was broken off,
//! and one after that does nothing. The pool's record is founded by the controller alone, once every member has said that nothing
//! runs there; here only its place is kept free.

mod leaving;
mod releases;
mod step;
mod survey;
mod twin;

use ha_core::ids::MemberId;
use serde::Serialize;

pub use self::leaving::{Leftovers, forget, leftovers, until_dropped, withdraw};
pub use self::step::{Step, carry_out};
pub use self::survey::plan_join;

/// What is to be done at the hub for devices to be members.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JoinPlan {
    /// What is missing, in the order in which it is made.
    pub steps: Vec<Step>,
    /// What is in the way; nothing should be made while there is any.
    pub problems: Vec<Problem>,
}

/// Why a device cannot be a member as it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[error("{subject}: {reason}")]
pub struct Problem {
    /// The device.
    pub subject: MemberId,
    /// What is wrong with it.
    pub reason: String,
    /// What to try.
    pub hint: String,
}
