//! Names and numbers that must not be mistaken for one another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Millis;

// Every decision is made from a copy of all that is known, so a copy of a name must cost next to nothing.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the name as it is.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into().into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
    };
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number that follows.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

name!(
    /// One device of a pool, by its device id in IoT Hub.
    MemberId
);
name!(
    /// One run of an agent process: changes with every start, so that an answer tells whether the agent remembers.
    BootId
);
name!(
    /// One of those who grant leases: the controller today, voters on site later.
    GrantorId
);
name!(
    /// One controller process, by its configured name and a part made anew at each start.
    ControllerId
);
name!(
    /// The control record under which a set of pools is run, by its device id in IoT Hub.
    ControlId
);
name!(
    /// One operator's request.
    RequestId
);
name!(
    /// Something that is done after each change of holder, such as telling a hook.
    FollowerId
);

number!(
    /// Which reign it is: grows at each change of holder and never falls. Also the fencing token.
    Term
);
number!(
    /// Which charge it is: grows with every controller that takes over the control lease.
    Epoch
);
number!(
    /// One request to an agent, within one process.
    CallId
);

/// The largest term, epoch or similar number that a twin can carry (IoT Hub limits integers to 52 bits).
pub const NUMBER_MAX: u64 = 4_503_599_627_370_495;

/// The least by which terms leap over what a hub that failed over may have forgotten.
const LEAP: u64 = 1_000;
/// No pool changes its holder more often: each change takes a write and two calls.
const TERMS_PER_S_MAX: u64 = 10;

impl Term {
    /// The next term after this one, the newest that is known; far above it unless the record that says so has proven to be what was written last.
    /// Nobody can have been given a term before the first.
    pub(crate) fn above(self, proven: bool, recorded_for: Millis) -> Self {
        if proven || self == Self(0) { self.next() } else { self.leapt(recorded_for) }
    }

    /// Above every term that can have been given since this one was recorded, and forgotten: in small steps, or by such a leap, which was shorter then.
    pub(crate) fn leapt(self, recorded_for: Millis) -> Self {
        Self(self.0.saturating_add(LEAP).saturating_add(recorded_for.0.saturating_mul(TERMS_PER_S_MAX) / 1_000))
    }
}

impl GrantorId {
    /// The grantor of pools with a single one.
    pub fn controller() -> Self {
        Self::new("controller")
    }
}

/// A pool's name: `[a-z][a-z0-9_]*`, at most 64 characters.
///
/// No dash: in route queries and target conditions a dash is a minus.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PoolName(String);

impl PoolName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<PoolName> for String {
    fn from(name: PoolName) -> Self {
        name.0
    }
}

impl TryFrom<String> for PoolName {
    type Error = BadPoolName;

    fn try_from(name: String) -> Result<Self, BadPoolName> {
        let first_ok = name.chars().next().is_some_and(|c| c.is_ascii_lowercase());
        let rest_ok = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if first_ok && rest_ok && name.len() <= 64 { Ok(Self(name)) } else { Err(BadPoolName { name }) }
    }
}

impl FromStr for PoolName {
    type Err = BadPoolName;

    fn from_str(name: &str) -> Result<Self, BadPoolName> {
        name.to_owned().try_into()
    }
}

/// A text that is no pool name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name:?} is no pool name: a lower-case letter, then lower-case letters, digits or '_', at most 64 in all")]
pub struct BadPoolName {
    name: String,
}

/// A value that an agent makes once and never again: it proves that a grant answers something the agent said lately.
///
/// Forged grants are kept out by the message's HMAC, so a nonce must be unique, not secret: the
/// random part is drawn once per agent process, the count grows with each nonce.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Nonce {
    /// Drawn at random when the agent process starts.
    pub run: u128,
    /// Counts the nonces of that process.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_names_survive_route_queries() {
        for good in ["a", "press_1", "p9"] {
            assert!(good.parse::<PoolName>().is_ok(), "{good}");
        }
        for bad in ["", "1a", "press-1", "Press", "a b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<PoolName>().is_err(), "{bad}");
        }
    }
}
