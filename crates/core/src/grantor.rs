//! The grantor's half of the echo lease: how long a holder may still run.

use serde::{Deserialize, Serialize};

use crate::ids::{MemberId, Term};
use crate::time::{Millis, RateBound, Time};

/// What one grantor has promised, and until when another member must wait.
///
/// The bound needs no knowledge of whether the last grant arrived: it counts from the instant the
/// echoed nonce was *received*, which is never before the agent made it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grantor {
    rate: RateBound,
    promise: Promise,
}

/// The state of a grantor's word.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Promise {
    /// A predecessor may have granted until the take-over, to nobody but whom its record names.
    Inherited { holder: Option<(MemberId, Term)>, quiet_after: Time },
    /// `member` was granted `term`.
    Given { member: MemberId, term: Term, quiet_after: Time },
    /// Nobody runs by this grantor's word.
    Free(Free),
}

/// Why nobody else can be running.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Free {
    /// The holder said that it has stopped.
    Released {
        /// Who.
        member: MemberId,
        /// Which term.
        term: Term,
    },
    /// An operator vouched for it.
    Fenced,
    /// The lease has run out.
    Lapsed,
}

/// Whether another member may be granted a new term.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Yes.
    Free(Free),
    /// Not before this instant.
    MayRunUntil(Time),
}

impl Grantor {
    /// A grantor that has just taken over: the recorded holder may have been granted until this very moment.
    ///
    /// `ttl` is the longest that a predecessor may have granted, by its record.
    pub fn take_over(now: Time, holder: Option<(MemberId, Term)>, ttl: Millis, rate: RateBound) -> Self {
        let quiet_after = now + rate.stretch(ttl);
        Self { rate, promise: Promise::Inherited { holder, quiet_after } }
    }

    /// A grantor of a pool in which nobody can be running: every member has said so, or enough time has passed.
    pub fn free(rate: RateBound) -> Self {
        Self { rate, promise: Promise::Free(Free::Lapsed) }
    }

    /// Notes that a nonce received at `heard_at` is about to be echoed to `member`. Call it before sending.
    ///
    /// # Panics
    ///
    /// If somebody else may still run: a grantor that would break its word must not go on.
    pub fn promise(&mut self, now: Time, member: &MemberId, term: Term, heard_at: Time, ttl: Millis) {
        assert!(self.may_grant(now, member, term), "a second holder would be granted");
        let end = heard_at + self.rate.stretch(ttl);
        let quiet_after = self.quiet_after().map_or(end, |before| before.max(end));
        self.promise = Promise::Given { member: member.clone(), term, quiet_after };
    }

    /// Whether `member` may be granted `term`: it has that term already, or nobody can be running.
    pub fn may_grant(&self, now: Time, member: &MemberId, term: Term) -> bool {
        match (self.given(), &self.promise) {
            (Some((m, t)), _) if m == member => term >= t,
            (Some((_, t)), _) if term <= t => false,
            (_, Promise::Free(Free::Released { term: t, .. })) => term > *t,
            _ => matches!(self.standing(now), Standing::Free(_)),
        }
    }

    /// Notes that `member` has released `term` in answer to our own request.
    ///
    /// Of anybody but the one who may be running it proves nothing and changes nothing.
    pub fn released(&mut self, member: &MemberId, term: Term) {
        if self.given().is_some_and(|(m, t)| m == member && term >= t) {
            self.promise = Promise::Free(Free::Released { member: member.clone(), term });
        }
    }

    /// Notes an operator's word that the holder is not running.
    pub fn fenced(&mut self) {
        self.promise = Promise::Free(Free::Fenced);
    }

    /// Notes that the record names a new holder: an operator's word was about the one before.
    pub fn moved(&mut self) {
        if self.promise == Promise::Free(Free::Fenced) {
            self.promise = Promise::Free(Free::Lapsed);
        }
    }

    /// Whether another member may be granted a new term now.
    pub fn standing(&self, now: Time) -> Standing {
        match &self.promise {
            Promise::Free(free) => Standing::Free(free.clone()),
            Promise::Inherited { quiet_after, .. } | Promise::Given { quiet_after, .. } if now >= *quiet_after => {
                Standing::Free(Free::Lapsed)
            }
            Promise::Inherited { quiet_after, .. } | Promise::Given { quiet_after, .. } => {
                Standing::MayRunUntil(*quiet_after)
            }
        }
    }

    /// Who may be running, and which term: by our own word, or by a predecessor's record.
    pub fn given(&self) -> Option<(&MemberId, Term)> {
        match &self.promise {
            Promise::Given { member, term, .. } | Promise::Inherited { holder: Some((member, term)), .. } => {
                Some((member, *term))
            }
            Promise::Inherited { holder: None, .. } | Promise::Free(_) => None,
        }
    }

    /// The instant after which the last promise is surely over.
    pub fn quiet_after(&self) -> Option<Time> {
        match &self.promise {
            Promise::Inherited { quiet_after, .. } | Promise::Given { quiet_after, .. } => Some(*quiet_after),
            Promise::Free(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: RateBound = RateBound(1_000);
    const TTL: Millis = Millis(1_000);

    fn a() -> MemberId {
        MemberId::new("a")
    }

    fn b() -> MemberId {
        MemberId::new("b")
    }

    fn at(ms: u64) -> Time {
        Time::from_ms(ms)
    }

    #[test]
    fn the_wait_counts_from_the_newest_nonce_echoed() {
        let mut grantor = Grantor::take_over(at(0), Some((a(), Term(1))), TTL, RATE);
        grantor.promise(at(500), &a(), Term(1), at(400), TTL);
        grantor.promise(at(600), &a(), Term(1), at(300), TTL);
        assert_eq!(grantor.standing(at(1_401)), Standing::MayRunUntil(at(1_402)));
        assert_eq!(grantor.standing(at(1_402)), Standing::Free(Free::Lapsed));
    }

    #[test]
    fn nobody_else_before_release_or_lapse() {
        let mut grantor = Grantor::take_over(at(0), Some((a(), Term(1))), TTL, RATE);
        assert!(!grantor.may_grant(at(900), &b(), Term(2)));
        grantor.released(&b(), Term(9));
        assert!(!grantor.may_grant(at(900), &b(), Term(2)));
        grantor.released(&a(), Term(1));
        assert!(grantor.may_grant(at(900), &b(), Term(2)));
        assert!(!grantor.may_grant(at(900), &a(), Term(1)), "a released term is never granted again");
    }

    #[test]
    fn an_unknown_past_is_waited_for() {
        let mut grantor = Grantor::take_over(at(0), None, TTL, RATE);
        grantor.released(&a(), Term(7));
        assert!(!grantor.may_grant(at(1_001), &a(), Term(8)));
        assert!(grantor.may_grant(at(1_002), &a(), Term(8)));
    }

    #[test]
    #[should_panic(expected = "a second holder")]
    fn a_promise_to_a_second_holder_ends_the_process() {
        let mut grantor = Grantor::take_over(at(0), Some((a(), Term(1))), TTL, RATE);
        grantor.promise(at(5), &b(), Term(2), at(5), TTL);
    }
}
