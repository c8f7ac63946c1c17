//! How a member's key is changed while its lease goes on.
//!
//! Three writes to the agent's twin, each under the condition that nobody else wrote meanwhile:
//!
//! | write | `key` | `next_key` | `previous_key` | only once |
//! |---|---|---|---|---|
//! | [`announce`] | old | new | – | |
//! | [`promote`] | new | – | old | the agent has answered a request made with the next key |
//! | [`retire`] | new | – | – | |
//!
//! The agent takes every key that it has read. Whoever makes requests reads `key` alone, keeps it, and reads it again
//! when a request is refused. So at each instant each key that the twin ever shows to a controller is one that the agent
//! takes, however late either of them hears of a write; and the writes can be taken up by another process after a crash.

use ha_core::ids::PoolName;
use serde_json::{Value, json};

use crate::key::{KeyRing, MemberKey};
use crate::{HA, VERSION};

/// Where a change of key stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// No key is being changed.
    Settled,
    /// The next key is there, and has not been used.
    Announced,
    /// The next key has become the current one, and the previous one is still taken.
    Promoted,
}

impl Stage {
    /// What the keys in a twin say.
    pub const fn of(keys: &KeyRing) -> Self {
        match keys {
            KeyRing { next: Some(_), .. } => Self::Announced,
            KeyRing { previous: Some(_), .. } => Self::Promoted,
            _ => Self::Settled,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Announced => "announced",
            Self::Promoted => "promoted",
        }
    }
}

/// Begins a change: the patch of the desired section that lets the agent take `next` as well.
pub fn announce(pool: &PoolName, next: &MemberKey) -> Value {
    json!({ HA: { "v": VERSION, "pool": pool.as_str(), "next_key": next.to_base64() } })
}

/// Makes the next key the current one. Only once the agent has answered a request made with it. `None`: there is no next key.
pub fn promote(keys: &KeyRing) -> Option<Value> {
    let next = keys.next.as_ref()?.to_base64();
    let previous = keys.current.as_ref().map(MemberKey::to_base64);
    Some(json!({ HA: { "key": next, "next_key": null, "previous_key": previous } }))
}

/// Ends a change: the previous key is taken no more.
pub fn retire() -> Value {
    json!({ HA: { "previous_key": null } })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merge::merged;
    use crate::twin::{decode_desired, install_patch};

    /// What may happen next, whoever does it.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// The one who changes keys goes one step on, if he may.
        Step,
        /// The agent hears of so many writes at once.
        Deliver(usize),
        /// A controller that knows no key reads it.
        Read(usize),
        /// A controller begins anew.
        Restart(usize),
        /// A controller calls the agent.
        Call(usize),
    }

    const CONTROLLERS: usize = 3;

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Step),
            3 => (1..4_usize).prop_map(Event::Deliver),
            1 => (0..CONTROLLERS).prop_map(Event::Read),
            1 => (0..CONTROLLERS).prop_map(Event::Restart),
            3 => (0..CONTROLLERS).prop_map(Event::Call),
        ]
    }

    /// A twin, an agent that hears of writes late, and controllers that keep what they have read.
    struct World {
        writes: Vec<Value>,
        heard: usize,
        cached: [Option<MemberKey>; CONTROLLERS],
        keys_made: u8,
    }

    impl World {
        fn new() -> Self {
            let key = MemberKey::from_bytes([0; 32]);
            let twin = install_patch(&Value::Null, &pool(), &key, &serde_json::Map::new()).expect("it fits");
            Self { writes: vec![twin], heard: 0, cached: [const { None }; CONTROLLERS], keys_made: 0 }
        }

        fn twin(&self) -> KeyRing {
            decode_desired(self.writes.last().expect("one write at least")).keys
        }

        fn takes(&self, key: &MemberKey) -> bool {
            decode_desired(&self.writes[self.heard]).keys.taken().any(|taken| taken == key)
        }

        fn step(&mut self) {
            let keys = self.twin();
            let patch = match Stage::of(&keys) {
                Stage::Settled => {
                    self.keys_made += 1;
                    announce(&pool(), &MemberKey::from_bytes([self.keys_made; 32]))
                }
                Stage::Announced if !self.takes(keys.next.as_ref().expect("announced")) => return,
                Stage::Announced => promote(&keys).expect("announced"),
                Stage::Promoted => retire(),
            };
            self.writes.push(merged(self.writes.last().expect("one write at least"), &patch));
        }

        fn read(&mut self, controller: usize) -> MemberKey {
            let read = self.twin().current.expect("there is always a key");
            self.cached[controller].get_or_insert(read).clone()
        }

        /// As a controller does it: a refusal makes it read the key again, once.
        fn call(&mut self, controller: usize) -> bool {
            let key = self.read(controller);
            if self.takes(&key) {
                return true;
            }
            self.cached[controller] = None;
            let key = self.read(controller);
            self.takes(&key)
        }
    }

    fn pool() -> PoolName {
        "press_1".parse().expect("a pool name")
    }

    proptest! {
        /// Invariant: no controller's call is refused, whenever each of them hears of a write.
        #[test]
        fn no_call_is_refused_while_keys_change(events in proptest::collection::vec(event(), 1..200)) {
            let mut world = World::new();
            for event in events {
                match event {
                    Event::Step => world.step(),
                    Event::Deliver(count) => world.heard = (world.heard + count).min(world.writes.len() - 1),
                    Event::Read(controller) => drop(world.read(controller)),
                    Event::Restart(controller) => world.cached[controller] = None,
                    Event::Call(controller) => prop_assert!(world.call(controller), "{controller} was refused"),
                }
            }
        }
    }

    #[test]
    fn a_change_ends_with_the_next_key_alone() {
        let mut world = World::new();
        let mut stages = Vec::new();
        for _ in 0..3 {
            world.step();
            world.heard = world.writes.len() - 1;
            stages.push(Stage::of(&world.twin()));
        }
        assert_eq!(stages, [Stage::Announced, Stage::Promoted, Stage::Settled]);
        assert_eq!(world.twin(), KeyRing::of(MemberKey::from_bytes([1; 32])));
    }

    #[test]
    fn nothing_is_promoted_before_the_agent_takes_it() {
        let mut world = World::new();
        world.step();
        world.step();
        assert_eq!(Stage::of(&world.twin()), Stage::Announced);
    }
}
