//! What can be wrong with what others wrote.

use std::fmt;

use ha_core::ids::{NUMBER_MAX, PoolName};

/// Why something could not be decoded or encoded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A document does not have the shape it should have: everything that is wrong with it.
    #[error("{}", Listed(.0))]
    Malformed(Vec<Problem>),
    /// A text is no member key.
    #[error("not a member key: expected 32 bytes in base64")]
    BadKey,
    /// A request was not made with this member's key, or was changed on its way.
    #[error("the request was not made with this member's key for this pool; let the controller install the key anew")]
    BadAuth,
    /// A request is meant for a member of another pool.
    #[error("this agent serves the pool {ours}; check which module the controller calls")]
    OtherPool {
        /// The pool of the agent that was asked.
        ours: PoolName,
    },
    /// There is no such method.
    #[error("no method of this agent; update it to the controller's version")]
    UnknownMethod,
    /// The agent has no key yet.
    #[error("no key has reached this agent yet; it comes with the module twin, try again in a moment")]
    NoKey,
    /// An agent refused to read a request.
    #[error("the agent answered with status {status}: {said}")]
    Status {
        /// The status of the direct method.
        status: i64,
        /// The error in its answer, shortened.
        said: String,
    },
    /// A document would be larger than the hub takes.
    #[error("{what} would take {size} of at most {max} bytes in the hub: use fewer or shorter entries")]
    TooLarge {
        /// Which document.
        what: &'static str,
        /// Its size as the hub counts it.
        size: usize,
        /// The most it may have.
        max: usize,
    },
    /// A list in a document is full.
    #[error("{what} would have {count} of at most {max} entries; let the controller settle some, or take some back")]
    TooMany {
        /// Which list.
        what: &'static str,
        /// How many entries it would have.
        count: usize,
        /// The most it may have.
        max: usize,
    },
    /// A request's id cannot be a key in a twin.
    #[error("{id:?} is no request id: 1 to 32 lower-case letters and digits")]
    BadRequestId {
        /// The id, shortened.
        id: String,
    },
    /// A number has outgrown what a twin can carry. Writing a smaller one would give it out twice.
    #[error(
        "{path}: {value} is above {NUMBER_MAX}, the most that a twin carries; use a new pool name or control device"
    )]
    NumberTooBig {
        /// Which number.
        path: &'static str,
        /// The number.
        value: u64,
    },
}

impl Error {
    /// Whether the same thing may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NoKey | Self::Status { status: 503, .. })
    }

    /// What is wrong with a malformed document; empty for every other error.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Malformed(problems) => problems,
            _ => &[],
        }
    }

    pub(crate) fn check_number(path: &'static str, value: u64) -> Result<(), Self> {
        if value > NUMBER_MAX { Err(Self::NumberTooBig { path, value }) } else { Ok(()) }
    }
}

/// One thing that is wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: expected {expected}, found {found}; {hint}")]
pub struct Problem {
    /// Where, as in `ha.history[2].term`.
    pub path: String,
    /// What should be there.
    pub expected: String,
    /// What is there, shortened; of secrets only their length.
    pub found: String,
    /// What to try.
    pub hint: &'static str,
}

struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
