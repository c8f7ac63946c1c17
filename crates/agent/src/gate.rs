//! The gate: how the workload learns whether it is active.
//!
//! A gate has up to two parts. The *exec* part runs the workload through the keeper. The *notice* part tells
//! others, over HTTP and in a file. The gate is armed until the earliest end that its parts have confirmed, and
//! closed when all of them are.

pub mod combine;
pub mod exec;
pub mod file;
pub mod http;
pub mod notice;
mod work;

use std::path::PathBuf;

use ha_core::ids::Term;
use ha_core::time::{Millis, Time};
use serde::{Deserialize, Serialize};

pub use self::http::Outlet;
pub use self::work::{GateHandle, start};
use crate::keeper::KeeperArgs;

/// What a gate is made of.
#[derive(Clone, Debug)]
pub struct GateSettings {
    /// Run the workload through the keeper.
    pub exec: Option<ExecSettings>,
    /// Tell over HTTP.
    pub http: Option<HttpSettings>,
    /// Tell in this file.
    pub file: Option<PathBuf>,
    /// How long the workload may take to stop.
    pub stop: Millis,
    /// The longest that a reader goes on believing the last notice it read.
    pub settle: Millis,
}

/// How the workload is run.
#[derive(Clone, Debug)]
pub struct ExecSettings {
    /// The keeper's command line.
    pub keeper: KeeperArgs,
    /// The last part of the stop time, in which whatever is left is killed.
    pub kill_margin: Millis,
    /// Added to the workload's environment.
    pub env: Vec<(String, String)>,
    /// Secrets of the agent's own that the workload must not see.
    pub env_remove: Vec<String>,
}

/// Where HTTP is served.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The address; port 0 takes a free one.
    pub listen: std::net::SocketAddr,
    /// Whether messages of the workload are taken.
    pub messages: bool,
}

/// What the agent asks of its gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GateOrder {
    /// Open; the workload has stopped at `until`.
    Open {
        /// The term.
        term: Term,
        /// The lease end.
        until: Time,
    },
    /// Stay open for longer.
    Extend {
        /// The term.
        term: Term,
        /// The lease end.
        until: Time,
    },
    /// Close; the workload has stopped at `by`.
    Close {
        /// The term.
        term: Term,
        /// The latest end.
        by: Time,
    },
}

/// What the gate tells the agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GateFact {
    /// Every part holds this end.
    Armed {
        /// The term.
        term: Term,
        /// The end.
        until: Time,
    },
    /// The workload of that term has stopped.
    Closed {
        /// The term.
        term: Term,
    },
    /// The workload's process was started.
    Started {
        /// The term.
        term: Term,
    },
    /// The workload's process ended by itself.
    Ended {
        /// The term.
        term: Term,
        /// How, in words.
        how: String,
    },
    /// Nothing of an earlier run of this agent is left.
    PredecessorGone,
}

/// What the notice part tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Notice {
    /// Whether the workload is to be active.
    pub active: bool,
    /// The term it is or was active for.
    pub term: Term,
    /// When `active` stops being true by itself, on the boot clock.
    pub until: Time,
}

impl Notice {
    /// Whether the workload is to be active at this instant.
    pub fn active_at(&self, now: Time) -> bool {
        self.active && now < self.until
    }
}
