//! The hub moves to another region: it is gone for a while, and comes back without its last writes.

use ha_core::anchor::Anchor;
use ha_core::charge::{ControlRecord, Version};
use ha_core::time::Millis;
use serde::{Deserialize, Serialize};

use super::clock::{Instant, MS, S};
use super::event::{Cut, Event, Fault};
use super::stories::{fair, with};
use super::trace::Trace;
use super::world::{Setup, World};

/// How a hub moves. Its documents are copied to the other region each by itself, so each loses another stretch of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Move {
    pub down: Instant,
    /// What the pool's record loses.
    pub anchor: Instant,
    /// What the control record loses.
    pub control: Instant,
}

/// The records as they have been, newest last.
#[derive(Debug, Default)]
pub struct Past {
    anchor: Vec<(Instant, Option<(Anchor, Version)>)>,
    control: Vec<(Instant, Option<(ControlRecord, Version)>)>,
}

fn as_of<T: Clone>(past: &[(Instant, Option<T>)], then: Instant) -> Option<T> {
    past.iter().rev().find(|(at, _)| *at <= then).and_then(|(_, record)| record.clone())
}

impl World {
    /// Keeps the records as they are, to go back to.
    pub fn remember_records(&mut self) {
        self.past.anchor.push((self.now, self.hub.anchor.clone()));
        self.past.control.push((self.now, self.hub.control.clone()));
    }

    pub fn hub_moves(&mut self, how: Move) {
        if self.hub.down.is_none() {
            self.hub.down = Some((self.now, how));
            self.after(how.down, Event::Fault(Fault::HubIsBack));
        }
    }

    pub fn hub_is_back(&mut self) {
        let Some((moved, how)) = self.hub.down.take() else { return };
        self.hub.anchor = as_of(&self.past.anchor, moved.saturating_sub(how.anchor));
        self.hub.control = as_of(&self.past.control, moved.saturating_sub(how.control));
        self.hub.count_versions_again();
        self.past = Past::default();
        self.remember_records();
        if let Some((anchor, _)) = &self.hub.anchor {
            let held = anchor.held();
            self.note(|_| match held {
                Some((holder, term)) => format!("the hub is back, and says: {holder} holds term {term}"),
                None => "the hub is back, and says: nobody holds".to_owned(),
            });
        }
    }
}

/// A lease that outlasts the absence of the hub.
const TTL: Millis = Millis(9_000);

/// Everybody is well, `a` holds; then it is cut off, `b` takes over, and the hub moves and has forgotten that.
fn forgetful(lost: [Instant; 2], more: &[Fault]) -> Setup {
    let mut setup = fair(3, 2);
    setup.ttls = vec![TTL];
    let (cut, moves) = (10 * S, 12 * S + TTL.0 * MS);
    let [anchor, control] = lost;
    let how = Move { down: 2_400 * MS, anchor, control };
    let mut faults = vec![
        (cut, Fault::CutAgent { agent: 0, cut: Cut::BOTH }),
        (moves, Fault::HubMoves(how)),
        (moves, Fault::CutAgent { agent: 0, cut: Cut::NONE }),
    ];
    faults.extend(more.iter().map(|fault| (moves, fault.clone())));
    with(setup, faults)
}

/// Whoever of `b` and the two controllers is left knows of the lost term, or nobody does.
#[test]
fn a_term_that_the_hub_has_forgotten_is_not_given_again() {
    let silent = Fault::CutAgent { agent: 1, cut: Cut::BOTH };
    let frozen = Fault::FreezeAgent(1);
    let killed = [Fault::KillController(0), Fault::KillController(1), Fault::StartController(1)];
    let alone = [Fault::KillController(0)];
    for lost in [[4 * S, 4 * S], [4 * S, 0], [0, 4 * S], [8 * S, 8 * S]] {
        for whom in [&killed[..], &alone[..], &[]] {
            for b in [&[], std::slice::from_ref(&silent), std::slice::from_ref(&frozen)] {
                let faults = [whom, b].concat();
                let mut world = World::new(forgetful(lost, &faults), Trace::last(60));
                if let Err(broken) = world.run_until(45 * S) {
                    panic!("{lost:?} {faults:?}: {broken:?}\n{}", world.trace.render());
                }
                assert!(world.active().is_some(), "{lost:?} {faults:?}\n{}", world.trace.render());
            }
        }
    }
}
