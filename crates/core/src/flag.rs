//! Pools without agents: a boolean in each member's twin says who is active.
//!
//! A flag cannot fence: a device that is cut off goes on with the flag it read last. What can be done is done: the others' flags are cleared before
//! one is set, and a cleared flag is waited for, until the device confirms it or `fence_delay` has passed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{MemberId, Term};
use crate::time::{Millis, Time};

/// What is known of the flags of one pool.
///
/// A flag counts as cleared for a term only by a write of our own that says so. That it reads as cleared is not enough: a write of a
/// predecessor may be under way still, and only a newer write makes the hub refuse it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flags {
    fence_delay: Millis,
    known: BTreeMap<MemberId, Flag>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Flag {
    /// It is set, or a write that sets it may have succeeded.
    MaybeSet,
    /// We have cleared it for `term` and all before it.
    Cleared { term: Term, at: Time, confirmed: bool },
}

/// What a read of a member's twin says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FlagRead {
    /// The flag.
    pub set: bool,
    /// The device has reported since the flag was last written that it is not active.
    pub confirmed: bool,
}

/// What must happen before a member's flag may be set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlagStep {
    /// These must be cleared by a write first.
    Clear(Vec<MemberId>),
    /// This one was cleared, but its device may not have heard of it.
    Wait {
        /// Who.
        member: MemberId,
        /// Until when at most.
        until: Time,
    },
    /// Nobody else is active, as far as a flag can tell.
    Done,
}

impl Flags {
    /// Nothing is known yet.
    pub fn new(fence_delay: Millis) -> Self {
        Self { fence_delay, known: BTreeMap::new() }
    }

    /// Takes in what the member's twin says.
    pub fn read(&mut self, member: &MemberId, read: FlagRead) {
        match self.known.get_mut(member) {
            _ if read.set => drop(self.known.insert(member.clone(), Flag::MaybeSet)),
            Some(Flag::Cleared { confirmed, .. }) => *confirmed |= read.confirmed,
            Some(Flag::MaybeSet) | None => {}
        }
    }

    /// Our write has cleared the member's flag; also when the member does not exist any more, which is `confirmed` by that.
    pub fn cleared(&mut self, now: Time, member: &MemberId, term: Term, confirmed: bool) {
        // Whoever was out of the way stays so: writing the same again tells its device nothing new.
        let (at, before) = match self.known.get(member) {
            Some(Flag::Cleared { at, confirmed, .. }) => (*at, *confirmed),
            _ => (now, false),
        };
        self.known.insert(member.clone(), Flag::Cleared { term, at, confirmed: confirmed || before });
    }

    /// A write that sets the member's flag is about to be sent: from now on it may be set, whatever becomes of the write.
    pub fn setting(&mut self, member: &MemberId) {
        self.known.insert(member.clone(), Flag::MaybeSet);
    }

    /// What must happen before nobody of `members` is active any more in `term` or before.
    pub fn next(&self, now: Time, members: &[MemberId], term: Term) -> FlagStep {
        let is_cleared = |member: &&MemberId| match self.known.get(*member) {
            Some(Flag::Cleared { term: cleared, .. }) => *cleared >= term,
            Some(Flag::MaybeSet) | None => false,
        };
        let open: Vec<MemberId> = members.iter().filter(|member| !is_cleared(member)).cloned().collect();
        if !open.is_empty() {
            return FlagStep::Clear(open);
        }
        let latest = members.iter().filter_map(|member| Some((self.quiet_at(member)?, member))).max();
        match latest {
            Some((until, member)) if until > now => FlagStep::Wait { member: member.clone(), until },
            _ => FlagStep::Done,
        }
    }

    /// When a cleared flag has surely been heard of, as far as `fence_delay` says; `None`: the device has confirmed it.
    fn quiet_at(&self, member: &MemberId) -> Option<Time> {
        match self.known.get(member) {
            Some(Flag::Cleared { at, confirmed: false, .. }) => Some(*at + self.fence_delay),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_ms(ms)
    }

    fn members() -> Vec<MemberId> {
        ["a", "b"].map(MemberId::new).to_vec()
    }

    #[test]
    fn the_others_are_cleared_then_waited_for() {
        let (mut flags, others) = (Flags::new(Millis(1_000)), members());
        assert_eq!(flags.next(at(0), &others, Term(2)), FlagStep::Clear(others.clone()));
        flags.cleared(at(10), &others[0], Term(2), false);
        assert_eq!(flags.next(at(10), &others, Term(2)), FlagStep::Clear(vec![others[1].clone()]));
        flags.cleared(at(30), &others[1], Term(2), true);
        let until = at(1_010);
        assert_eq!(flags.next(at(40), &others, Term(2)), FlagStep::Wait { member: others[0].clone(), until });
        assert_eq!(flags.next(until, &others, Term(2)), FlagStep::Done);
    }

    #[test]
    fn a_confirmation_ends_the_wait() {
        let (mut flags, others) = (Flags::new(Millis(1_000)), vec![MemberId::new("a")]);
        flags.cleared(at(0), &others[0], Term(2), false);
        flags.read(&others[0], FlagRead { set: false, confirmed: false });
        assert!(matches!(flags.next(at(1), &others, Term(2)), FlagStep::Wait { .. }));
        flags.read(&others[0], FlagRead { set: false, confirmed: true });
        assert_eq!(flags.next(at(1), &others, Term(2)), FlagStep::Done);
    }

    #[test]
    fn a_flag_that_reads_as_cleared_is_still_cleared_by_a_write() {
        let (mut flags, others) = (Flags::new(Millis::ZERO), vec![MemberId::new("a")]);
        flags.read(&others[0], FlagRead { set: false, confirmed: true });
        assert_eq!(flags.next(at(9), &others, Term(1)), FlagStep::Clear(others.clone()));
    }

    #[test]
    fn a_flag_that_somebody_else_sets_again_is_cleared_again() {
        let (mut flags, others) = (Flags::new(Millis::ZERO), vec![MemberId::new("a")]);
        flags.cleared(at(0), &others[0], Term(1), true);
        flags.read(&others[0], FlagRead { set: true, confirmed: false });
        assert_eq!(flags.next(at(9), &others, Term(1)), FlagStep::Clear(others.clone()));
    }

    #[test]
    fn clearing_for_a_newer_term_does_not_begin_the_wait_anew() {
        let (mut flags, others) = (Flags::new(Millis(1_000)), vec![MemberId::new("a")]);
        flags.cleared(at(0), &others[0], Term(1), false);
        assert_eq!(flags.next(at(1_500), &others, Term(2)), FlagStep::Clear(others.clone()));
        flags.cleared(at(1_500), &others[0], Term(2), false);
        assert_eq!(flags.next(at(1_500), &others, Term(2)), FlagStep::Done);
    }

    #[derive(Clone, Debug)]
    enum Event {
        Read { set: bool, confirmed: bool },
        Cleared { term: u64, gone: bool },
        Setting,
        Pass(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (any::<bool>(), any::<bool>()).prop_map(|(set, confirmed)| Event::Read { set, confirmed }),
            (0_u64..4, any::<bool>()).prop_map(|(term, gone)| Event::Cleared { term, gone }),
            Just(Event::Setting),
            (0_u64..900).prop_map(Event::Pass),
        ]
    }

    proptest! {
        /// Whatever is read and written: a member is out of the way only after a write of ours for that term, with nothing since that
        /// may have set its flag, and after the delay or a confirmation.
        #[test]
        fn nobody_is_out_of_the_way_before_its_flag_is(events in prop::collection::vec((any::<bool>(), event()), 0..40)) {
            let (delay, others, term) = (Millis(1_000), members(), Term(2));
            let mut flags = Flags::new(delay);
            let mut now = at(0);
            // By the plain rule: since when each is cleared without a break, for which term, and whether confirmed.
            let mut plain: BTreeMap<MemberId, Option<(Time, u64, bool)>> = others.iter().map(|m| (m.clone(), None)).collect();
            for (first, event) in events {
                let member = &others[usize::from(first)];
                let state = plain.get_mut(member).unwrap();
                match event {
                    Event::Read { set, confirmed } => {
                        flags.read(member, FlagRead { set, confirmed });
                        *state = if set { None } else { state.map(|(at, term, was)| (at, term, was || confirmed)) };
                    }
                    Event::Cleared { term, gone } => {
                        flags.cleared(now, member, Term(term), gone);
                        *state = Some(state.map_or((now, term, gone), |(at, _, was)| (at, term, was || gone)));
                    }
                    Event::Setting => {
                        flags.setting(member);
                        *state = None;
                    }
                    Event::Pass(ms) => now = now + Millis(ms),
                }
                let quiet = |state: &Option<(Time, u64, bool)>| {
                    state.is_some_and(|(at, cleared, confirmed)| cleared >= term.0 && (confirmed || now >= at + delay))
                };
                let done = flags.next(now, &others, term) == FlagStep::Done;
                prop_assert_eq!(done, plain.values().all(quiet));
            }
        }
    }
}
