//! The mass-failure brake: when many pools look dead at once, the hub or we are more likely at fault.

use serde::{Deserialize, Serialize};

/// When to hold failovers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BrakePolicy {
    /// Hold when more than this share of the pools looks dead, in percent.
    pub percent: u8,
    /// But never for so few pools.
    pub at_least: usize,
}

impl Default for BrakePolicy {
    fn default() -> Self {
        Self { percent: 50, at_least: 5 }
    }
}

/// Whether failovers are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Brake {
    /// Failovers go on.
    #[default]
    Off,
    /// An operator has switched off all decisions.
    AllOff,
    /// So many pools look dead at once.
    Held {
        /// How many look dead.
        dead: usize,
        /// Of how many.
        of: usize,
    },
}

/// Whether to hold failovers while `dead` of `of` pools have a holder that does not answer.
pub fn brake(policy: BrakePolicy, dead: usize, of: usize) -> Brake {
    let many = dead >= policy.at_least.max(1);
    if many && dead * 100 > of * usize::from(policy.percent) { Brake::Held { dead, of } } else { Brake::Off }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_at_once_are_held_and_few_are_not() {
        let policy = BrakePolicy { percent: 50, at_least: 5 };
        assert_eq!(brake(policy, 4, 4), Brake::Off);
        assert_eq!(brake(policy, 5, 10), Brake::Off);
        assert_eq!(brake(policy, 6, 10), Brake::Held { dead: 6, of: 10 });
    }
}
