use serde::{Deserialize, Serialize};

use crate::ids::Term;
use crate::time::{Millis, Time};

/// Why a gate closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No grant came in time.
    LeaseEnding,
    /// A controller took the term back.
    Revoked,
    /// The flag in the twin says inactive.
    Flag,
    /// The machine was frozen or restored.
    ClockJumped,
    /// The agent is being stopped.
    Leaving,
    /// The same member was granted a newer term, which the workload must be started with.
    NewTerm,
}

impl Cause {
    /// The words for it in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeaseEnding => "no grant came in time",
            Self::Revoked => "the controller took the term back",
            Self::Flag => "the flag in the twin says inactive",
            Self::ClockJumped => "wall clock and boot clock moved apart",
            Self::Leaving => "the agent is being stopped",
            Self::NewTerm => "a newer term was granted",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Gate {
    Closed,
    /// Asked to open until `asked`, not yet confirmed.
    Opening {
        term: Term,
        asked: Time,
    },
    /// Confirmed until `until`; asked to go on until `asked`.
    Open {
        term: Term,
        until: Time,
        asked: Time,
    },
    Closing {
        term: Term,
        by: Time,
    },
}

impl Gate {
    pub(super) fn armed(&mut self, armed_term: Term, armed_until: Time) {
        match self {
            Self::Opening { term, asked } if *term == armed_term => {
                *self = Self::Open { term: armed_term, until: armed_until.min(*asked), asked: *asked };
            }
            Self::Open { term, until, asked } if *term == armed_term => {
                *until = armed_until.max(*until).min(*asked);
            }
            _ => {}
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    pub(super) fn term(&self) -> Option<Term> {
        match self {
            Self::Closed => None,
            Self::Opening { term, .. } | Self::Open { term, .. } | Self::Closing { term, .. } => Some(*term),
        }
    }

    pub(super) fn armed_until(&self) -> Option<Time> {
        match self {
            Self::Open { until, .. } => Some(*until),
            Self::Closing { by, .. } => Some(*by),
            Self::Closed | Self::Opening { .. } => None,
        }
    }

    /// When stopping has to begin. An end that is not confirmed does not count.
    pub(super) fn stop_from(&self, stop: Millis) -> Option<Time> {
        match self {
            Self::Opening { asked, .. } => Some(*asked - stop),
            Self::Open { until, .. } => Some(*until - stop),
            Self::Closed | Self::Closing { .. } => None,
        }
    }
}
